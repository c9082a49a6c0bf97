"""Logarithm of the softmax over the last axis: ``x - max - ln(sum exp(x - max))``, which keeps what a softmax of 1/256 rounds away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import floats, half, numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.traits import Axes, Traits

ONE = 19  # fraction bits of an exponential; their sum has 12 integer bits
PARTS = 6  # bits of a mantissa that choose an entry of the table of logarithms; BETWEEN more interpolate
BETWEEN = 8
SHIFTS = range(16, 0, -1)  # fraction bits of a result before it is rounded


def result(params: Params, below: Array, total: Array) -> Array:
    """The int8 result, as int64, of elements so far `below` their row's largest; `total`: of exponentials. Falls in both."""
    zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of the 32-bit sum
    digits = ((total << zeros) - (1 << 31)) >> (31 - PARTS - BETWEEN)
    first, rest = digits >> BETWEEN, digits & ((1 << BETWEEN) - 1)
    table = params.logarithms.astype(np.int64)
    between = ((table[first + 1] - table[first]) * rest + (1 << BETWEEN - 1)) >> BETWEEN
    logarithm = params.octave * (31 - ONE - zeros) + table[first] + between
    return np.asarray(np.clip((params.start - logarithm - params.scale * below) >> params.shift, -128, 127))


def bounds(params: Params, low: Array, high: Array) -> tuple[Array, Array]:
    """Of results: by how far elements can lie below their row's largest, and by sums of one exponential up to as many as there are."""
    one = np.full((*low.shape[:-1], 1), 1 << ONE, np.int64)
    down, up = high.max(-1, keepdims=True) - low, np.maximum(low.max(-1, keepdims=True) - high, 0)
    return result(params, down, one * params.depth), result(params, up, one)


@dataclass(frozen=True)
class LogSoftmax(Op):
    """x ``[..., C]`` -> the logarithm of its softmax along the last axis.

    On int8 both roundings sum up exponentials from a table by the difference to the row's largest element. The logarithm of the sum is
    its number of octaves times ln 2 plus a table of 64 parts of an octave, with a straight line in between (error below 2^-15).
    """

    traits: ClassVar[Traits] = Traits("normal", axes=Axes(last=True), bounds=bounds)

    def infer(self, *types: TensorType) -> TensorType:
        if not types[0].shape:
            raise EdgeqError("log-softmax of a scalar")
        return types[0]

    def real(self, *x: Array) -> Array:
        shifted = x[0].astype(np.float64) - x[0].max(-1, keepdims=True)
        return np.asarray(shifted - reals.log(reals.exp(shifted).sum(-1, keepdims=True)), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        require_int8(where, self, x, output)
        depth = x.shape[-1]
        numerics.check_accumulator(where, np.array([(depth + 1) << ONE]))
        step, out = float(np.float32(x.scale)), float(np.float32(output.scale))
        exponentials = np.floor(np.ldexp(reals.exp(-step * np.arange(256)), ONE) + 0.5).astype(np.int32)
        parts = reals.log(1 + np.arange((1 << PARTS) + 1) / (1 << PARTS)) / out
        shift = next((s for s in SHIFTS if (255 * step + 13 * reals.LN2) / out * 2**s < 2**29), 0)
        if not shift:
            raise EdgeqError(f"the output scale {out:g} is too fine for the input's, {step:g}", where=where, fix="check the scales")
        scale, octave = (math.floor(math.ldexp(r / out, shift) + 0.5) for r in (step, reals.LN2))
        start = (output.zero_point << shift) + (1 << shift - 1)
        scalars = {"rows": x.size // depth, "depth": depth, "scale": scale, "octave": octave, "start": start, "shift": shift}
        logarithms = np.floor(np.ldexp(parts, shift) + 0.5).astype(np.int32)
        return Params(law, scalars, {"exponentials": exponentials, "logarithms": logarithms})

    def reference(self, params: Params, *x: Array) -> Array:
        data = x[0].astype(np.int64)
        below = data.max(-1, keepdims=True) - data
        return result(params, below, params.exponentials.astype(np.int64)[below].sum(-1, keepdims=True)).astype(np.int8)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        depth = output.shape[-1]
        return half_params({"rows": output.size // depth, "depth": depth})

    def reference_half(self, params: Params, *x: Array) -> Array:
        largest = half.of_order(half.order(x[0]).max(-1, keepdims=True))
        with np.errstate(all="ignore"):
            below = half.to_float(x[0]) - half.to_float(largest)
            return half.from_float(below - floats.log(half.running_sum(floats.exp(floats.number(below)))[..., None]))
