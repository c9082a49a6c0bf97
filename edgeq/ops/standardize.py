"""Samples of sensors -> what a network was trained on: a factor and an offset for each channel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.traits import Traits

PARTS = 8  # bits behind the point of offsets, in steps of the result
LARGEST, MOST_SHIFT = 15, 38  # log2 of a step of the samples in steps of the result; bits of a factor behind its point


@dataclass(frozen=True)
class Standardize(Op):
    """x int16 without a scale ``[..., C]``, constant factors and offsets float32 ``[C]`` -> x * factor + offset, with a scale.

    The result is int8 or int16, rounded once, halves up, and limited.
    """

    traits: ClassVar[Traits] = Traits()

    parameters: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *types: TensorType) -> TensorType:
        x, factor, offset = types
        if not x.shape or factor.shape != x.shape[-1:] or offset.shape != factor.shape or x.dtype is not DType.INT16:
            raise EdgeqError(f"factors {factor} and offsets {offset} of samples {x}")
        return replace(x, q=None)

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0] * x[1] + x[2], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        factors, offsets = (np.asarray(t.data, np.float64) for t in inputs[1:])
        if output.dtype not in (DType.INT8, DType.INT16) or output.q is None or inputs[0].type.q is not None:
            raise EdgeqError(f"samples {inputs[0].type} as {output} are not computed", where=where, fix="give int8 or int16 a scale")
        ratios = factors / output.scale
        octave = math.frexp(float(np.abs(ratios).max()))[1]
        if octave > LARGEST or not np.isfinite(ratios).all():
            why = f"one step of a sample is {np.abs(ratios).max():g} steps of {output}"
            raise EdgeqError("samples do not fit the network's input", where=where, why=why, fix="check scale and std of the channels")
        shift = min(MOST_SHIFT, 30 - octave)
        end = 2 ** (8 * output.dtype.bytes - 1)
        scalars = {
            "rows": inputs[0].type.size // len(factors), "channels": len(factors), "shift": shift, "more": shift - PARTS,
            "zero": output.zero_point, "least": -end, "most": end - 1,
        }  # fmt: skip
        steps = np.clip(np.rint(offsets / output.scale * 2**PARTS), -(2**24), 2**24)
        return Params(law, scalars, {"factors": np.rint(ratios * 2.0**shift).astype(np.int32), "offsets": steps.astype(np.int32)})

    def reference(self, params: Params, *x: Array) -> Array:
        p = params
        total = x[0].astype(np.int64) * p.factors.astype(np.int64) + (p.offsets.astype(np.int64) << p.more) + (1 << p.shift - 1)
        return np.asarray(np.clip((total >> p.shift) + p.zero, p.least, p.most), np.int16 if p.most > 127 else np.int8)
