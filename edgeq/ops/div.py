"""Division of two int8 tensors by TFLM's arithmetic, with broadcasting: reciprocals of 0 to 255 are a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, TensorType
from edgeq.ops.elementwise import _Binary, require_tflm
from edgeq.ops.linear import clamp_limits
from edgeq.ops.traits import Traits

MOST_SHIFT = 22  # the sign bits that any centred int8 has to spare


@dataclass(frozen=True)
class Div(_Binary):
    """a / b; 0 is taken for the smallest divisor above it. Law ``tflm`` alone: in float it is a product with a reciprocal.

    Where TFLM shifts by more bits than an int32 has, undefined in C, the quotient is nearer to 0 than 1/2: it is 0 here.
    """

    traits: ClassVar[Traits] = replace(_Binary.traits, affine=None)
    bind_half = Op.bind_half  # none

    def combine(self, a: Array, b: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(a / np.where(b == 0, np.finfo(np.float32).tiny, b))

    def constants(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        require_tflm(law, where, self)
        multiplier, shift = numerics.quantize_multiplier(float(np.float32(a.scale) / (np.float32(b.scale) * np.float32(output.scale))))
        if shift > MOST_SHIFT:
            raise EdgeqError(f"the output's scale {output.scale:g} is too fine for this quotient", where=where)
        low, high = clamp_limits(self.clamp, output)
        scalars = {"a_zero": a.zero_point, "b_zero": b.zero_point, "out_offset": output.zero_point, "act_min": low, "act_max": high}
        divisors = np.maximum(np.arange(256), 1)
        over: Array = np.frexp(divisors)[1].astype(np.int64) - 1  # floor(log2)
        inverse = numerics.one_over_one_plus_x((divisors.astype(np.int64) << (31 - over)) - (1 << 31))
        tables: dict[str, Array] = {"inverse": inverse.astype(np.int32), "over": over.astype(np.int8)}
        return Params(law, {**scalars, "multiplier": multiplier, "right": -shift}, tables)

    def reference(self, params: Params, *x: Array) -> Array:
        p = params
        a, b = (np.asarray(v, np.int64) for v in x)
        a, b = np.broadcast_arrays(a - p.a_zero, b - p.b_zero)
        a, b = np.where(b < 0, -a, a), np.abs(b)
        spare = 32 - np.frexp((2 * (a ^ (a >> 63)) + 1).astype(np.float64))[1].astype(np.int64)
        quotient = numerics.saturating_rounding_doubling_high_mul(a << spare, p.inverse[b])
        right = p.right + p.over[b].astype(np.int64) + spare
        y = numerics.rounding_divide_by_pot(numerics.saturating_rounding_doubling_high_mul(quotient, p.multiplier), right)
        return np.asarray(np.clip(y + p.out_offset, p.act_min, p.act_max), np.int8)
