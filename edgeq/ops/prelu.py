"""Parametric ReLU: a slope for negative values per channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import reach, require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.table import ratio
from edgeq.ops.traits import Axes, Traits, same


@dataclass(frozen=True)
class Prelu(Op):
    """x ``[..., C]``, constant slope ``[C]`` (float32, or int8 per tensor) -> x where positive, else slope * x."""

    traits: ClassVar[Traits] = Traits(axes=Axes(last=True), channels=same, monotone="knee")

    parameters: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *types: TensorType) -> TensorType:
        x, slope = types
        if not x.shape or slope.shape != (x.shape[-1],):
            raise EdgeqError(f"slopes {slope} do not fit {x}", why="one per channel, the last axis, is needed")
        return x

    def real(self, *x: Array) -> Array:
        return np.where(x[0] >= 0, x[0], x[0] * x[1]).astype(np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, slope = inputs
        require_int8(where, self, x.type, output)
        shared = {
            "channels": x.type.shape[-1], "pixels": x.type.size // x.type.shape[-1],
            "in_zero": x.type.zero_point, "out_zero": output.zero_point,
        }  # fmt: skip
        find = _single if law == "single" else _tflm
        own = find(where, x.type, slope, output)
        return Params(law, {**shared, **own.scalars}, own.tables)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, slope = inputs
        if slope.data is None or slope.type.dtype is not DType.FLOAT16:
            raise EdgeqError(f"slopes {slope.type} on halves are not constant halves", where=where)
        return half_params({"channels": x.type.shape[-1], "pixels": x.type.size // x.type.shape[-1]}, {"slopes": slope.data})

    def reference_half(self, params: Params, *x: Array) -> Array:
        value = half.to_float(x[0])
        return half.from_float(np.where(value > 0, value, half.to_float(params.slopes) * value))

    def reference(self, params: Params, *x: Array) -> Array:
        p, centred = params, x[0].astype(np.int64) - params.in_zero
        if p.law == "single":
            y = (centred * np.where(centred >= 0, p.multiplier, p.slopes.astype(np.int64)) + (1 << p.shift - 1)) >> p.shift
        else:
            positive = numerics.requantize_tflm(centred, p.multiplier, -p.shift)
            negative = numerics.requantize_tflm(centred * p.slopes, p.slope_multiplier, -p.slope_shift)
            y = np.where(centred >= 0, positive, negative)
        return np.asarray(np.clip(y + p.out_zero, -128, 127), np.int8)


def _single(where: str, x: TensorType, slope: Tensor, output: TensorType) -> Params:
    """One rounding: ``(centred * M + 2^(s-1)) >> s``, M of the slope where negative; s the largest for which it fits int32."""
    assert slope.data is not None
    slopes = slope.data.astype(np.float64)
    if slope.type.q is not None:
        slopes = (slopes - slope.type.zero_point) * float(np.float32(slope.type.scale))
    factor = ratio(x.scale, output.scale)
    largest = max(1.0, float(np.abs(slopes).max())) * factor
    for shift in range(30, 0, -1):
        if (math.ldexp(largest, shift) + 1) * reach(x) + (1 << shift - 1) <= numerics.INT32_MAX:
            multipliers = np.floor(np.ldexp(slopes * factor, shift) + 0.5).astype(np.int32)
            scalars = {"multiplier": math.floor(math.ldexp(factor, shift) + 0.5), "shift": shift, "left": 0}
            return Params("single", scalars, {"slopes": multipliers})
    raise EdgeqError(f"the output scale {output.scale} is too fine for the input", where=where, fix="check the scales")


def _tflm(where: str, x: TensorType, slope: Tensor, output: TensorType) -> Params:
    """TFLM's two multipliers, one for x and one for slope times x."""
    assert slope.data is not None
    if slope.type.q is None or len(slope.type.q.scale) != 1:
        raise EdgeqError("the slopes must be int8 with one scale", where=where, why="rounding tflm")
    slopes = slope.data.astype(np.int32) - slope.type.zero_point
    (m, s), (ms, ss) = (
        numerics.quantize_multiplier(ratio(x.scale, output.scale)),
        numerics.quantize_multiplier(ratio(x.scale, slope.type.scale, output.scale)),
    )
    for bound, shift in ((reach(x), s), (reach(x) * int(np.abs(slopes).max()), ss)):
        numerics.check_accumulator(where, np.array([(bound << max(shift, 0)) + 512]))
    scalars = {"multiplier": m, "shift": -s, "slope_multiplier": ms, "slope_shift": -ss, "left": int(max(s, ss) >= 0)}
    return Params("tflm", scalars, {"slopes": slopes.astype(np.int32)})
