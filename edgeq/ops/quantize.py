"""Quantize and Dequantize: real numbers to int8 and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType


def _expect(where: str, found: TensorType, dtype: DType) -> None:
    if found.dtype is not dtype or (dtype is DType.INT8 and (found.q is None or len(found.q.scale) != 1)):
        raise EdgeqError(f"{found} is not {dtype.value}" + (" with one scale" if dtype is DType.INT8 else ""), where=where)


@dataclass(frozen=True)
class Quantize(Op):
    """x float32 -> int8 in the output's scale."""

    def infer(self, *types: TensorType) -> TensorType:
        return replace(types[0], dtype=DType.INT8, q=None)

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        _expect(where, inputs[0].type, DType.FLOAT32)
        _expect(where, output, DType.INT8)
        factor = numerics.quantize_factor(law, output.scale)
        if not (np.isfinite(factor) and factor > 0):
            raise EdgeqError(f"scale {output.scale} is out of the range of float32", where=where)
        return Params(law, {"size": output.size, "zero": output.zero_point}, {"factor": np.array([factor], np.float32)})

    def reference(self, params: Params, *x: Array) -> Array:
        scale = params.factor[0]
        with np.errstate(all="ignore"):
            steps = x[0] * scale if params.law == "single" else x[0] / scale
        return np.asarray(np.clip(numerics.round_float(steps, params.law == "single") + params.zero, -128, 127), np.int8)


@dataclass(frozen=True)
class Dequantize(Op):
    """x int8 -> float32."""

    def infer(self, *types: TensorType) -> TensorType:
        return replace(types[0], dtype=DType.FLOAT32, q=None)

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        _expect(where, x, DType.INT8)
        _expect(where, output, DType.FLOAT32)
        return Params(law, {"size": output.size, "zero": x.zero_point}, {"scale": np.array([x.scale], np.float32)})

    def reference(self, params: Params, *x: Array) -> Array:
        return numerics.dequantize(x[0], params.scale[0], params.zero)
