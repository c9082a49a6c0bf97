"""Quantize and Dequantize: real numbers, float32 or halves, to int8 or int16 and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.traits import Traits

REALS = (DType.FLOAT32, DType.FLOAT16)
INTEGERS = (DType.INT8, DType.INT16)


def _expect(where: str, stored: TensorType, real: TensorType) -> None:
    if stored.dtype not in INTEGERS or stored.q is None or len(stored.q.scale) != 1:
        raise EdgeqError(f"{stored} is not s8 or s16 with one scale", where=where)
    if real.dtype not in REALS:
        raise EdgeqError(f"{real} is neither f32 nor f16", where=where)


@dataclass(frozen=True)
class Quantize(Op):
    """x float32 or float16 -> int8 or int16 in the output's scale."""

    traits: ClassVar[Traits] = Traits("cast", casts=True, elementwise=True)

    def infer(self, *types: TensorType) -> TensorType:
        return replace(types[0], dtype=DType.INT8, q=None)

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        _expect(where, output, inputs[0].type)
        factor = numerics.quantize_factor(law, output.scale)
        if not (np.isfinite(factor) and factor > 0):
            raise EdgeqError(f"scale {output.scale} is out of the range of float32", where=where)
        scalars = {"size": output.size, "zero": output.zero_point, "bytes": output.dtype.bytes}
        return Params(law, scalars, {"factor": np.array([factor], np.float32)})

    def reference(self, params: Params, *x: Array) -> Array:
        scale = params.factor[0]
        data = np.asarray(x[0], np.float32)
        with np.errstate(all="ignore"):
            steps = data * scale if params.law == "single" else data / scale
        info = np.iinfo(np.int8 if params.bytes == 1 else np.int16)
        return np.asarray(np.clip(numerics.round_float(steps, params.law == "single") + params.zero, info.min, info.max), info.dtype)


@dataclass(frozen=True)
class Dequantize(Op):
    """x int8 or int16 -> float32, or float16 where that is the output's type."""

    traits: ClassVar[Traits] = Traits("cast", casts=True, elementwise=True)

    def infer(self, *types: TensorType) -> TensorType:
        return replace(types[0], dtype=DType.FLOAT32, q=None)

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        _expect(where, x, output)
        scalars = {"size": output.size, "zero": x.zero_point, "half": int(output.dtype is DType.FLOAT16)}
        return Params(law, scalars, {"scale": np.array([x.scale], np.float32)})

    def reference(self, params: Params, *x: Array) -> Array:
        real = numerics.dequantize(x[0], params.scale[0], params.zero)
        return half.from_float(real) if params.half else real
