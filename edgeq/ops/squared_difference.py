"""Squared difference of two int8 or int16 tensors by TFLM's arithmetic, with broadcasting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.ir import Array, Op, Params, TensorType
from edgeq.ops.elementwise import _Binary, reach, require_tflm
from edgeq.ops.linear import clamp_limits
from edgeq.ops.traits import Traits

LEFT = {1: 7, 2: 0}  # bits by which both inputs are raised before they are brought to one scale, by their bytes


@dataclass(frozen=True)
class SquaredDifference(_Binary):
    """(a - b) squared. Law ``tflm`` alone: in float it is a subtraction and a square."""

    traits: ClassVar[Traits] = replace(_Binary.traits, affine=None, file_words=True)
    bind_half = Op.bind_half  # none

    def combine(self, a: Array, b: Array) -> Array:
        return np.asarray((a - b) ** 2)

    def constants(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        require_tflm(law, where, self)
        s_a, s_b, s_y = (float(np.float32(t.scale)) for t in (a, b, output))
        twice, left = 2 * max(s_a, s_b), LEFT[a.dtype.bytes]
        scalars: dict[str, int | str] = {"a_zero": a.zero_point, "b_zero": b.zero_point, "out_offset": output.zero_point}
        for name, ratio in (("a", s_a / twice), ("b", s_b / twice), ("y", twice * twice / ((1 << 2 * left) * s_y))):
            multiplier, shift = numerics.quantize_multiplier(ratio)
            scalars |= {f"{name}_multiplier": multiplier, f"{name}_right": -shift}
            most = ((reach(a) + reach(b) << left) // 2) ** 2 if name == "y" else 0
            numerics.check_accumulator(where, np.array([most << max(shift, 0)]))
        low, high = clamp_limits(self.clamp, output)
        return Params(law, {**scalars, "act_min": low, "act_max": high})

    def reference(self, params: Params, *x: Array) -> Array:
        p, left = params, LEFT[x[0].dtype.itemsize]
        a, b = (np.asarray(v, np.int64) for v in x)
        a = numerics.requantize_tflm((a - p.a_zero) << left, p.a_multiplier, -p.a_right)
        b = numerics.requantize_tflm((b - p.b_zero) << left, p.b_multiplier, -p.b_right)
        y = numerics.requantize_tflm((a - b) ** 2, p.y_multiplier, -p.y_right) + p.out_offset
        return np.asarray(np.clip(y, p.act_min, p.act_max), x[0].dtype)
