"""Rescale: the same values in another scale, zero point and integer type (TFLM's QUANTIZE between integers)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.table import ratio
from edgeq.ops.traits import Traits, same

INTEGERS = (DType.INT8, DType.INT16, DType.INT32)


@dataclass(frozen=True)
class Rescale(Op):
    """x int8, int16 or int32 -> int8, int16 or int32 in the output's scale, saturated; in both laws as TFLM does it."""

    traits: ClassVar[Traits] = Traits("cast", elementwise=True, channels=same, monotone="increasing", words=True, casts=True)

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        known = x.dtype in INTEGERS and output.dtype in INTEGERS and (x.dtype, output.dtype) != (DType.INT32, DType.INT32)
        if not known or any(t.q is None or len(t.q.scale) != 1 for t in (x, output)):
            raise EdgeqError(f"{x} is not rescaled to {output}", where=where)
        factor = ratio(x.scale, output.scale)
        multiplier, shift = numerics.quantize_multiplier(factor)
        reach = 2 ** (8 * x.dtype.bytes - 1) - (x.dtype is DType.INT32) + abs(x.zero_point)
        spare = int(output.dtype is DType.INT32)  # where `eq_requantize_tflm` must not limit x
        limits = 0 if output.dtype is DType.INT32 else 2 ** (8 * output.dtype.bytes)  # eq_clamp takes differences with them
        largest = int(reach * factor) + 2 + abs(output.zero_point) + limits
        numerics.check_accumulator(where, np.array([reach << max(shift, 0) + spare, largest]))
        scalars = {"size": output.size, "in_zero": x.zero_point, "out_offset": output.zero_point, "bytes": output.dtype.bytes}
        return Params(law, {**scalars, "multiplier": multiplier, "shift": -shift})

    def reference(self, params: Params, *x: Array) -> Array:
        end = 2 ** (8 * params.bytes - 1)
        y = numerics.requantize_tflm(x[0].astype(np.int64) - params.in_zero, params.multiplier, -params.shift) + params.out_offset
        return np.asarray(np.clip(y, -end, end - 1), f"i{params.bytes}")
