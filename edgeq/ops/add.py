"""Addition and subtraction of two tensors, with broadcasting and a fused clamp."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, TensorType
from edgeq.ops.elementwise import _Binary, reach
from edgeq.ops.linear import clamp_limits
from edgeq.ops.traits import Traits

LEFT_SHIFT = {1: 20, 2: 15}  # law tflm: fraction bits of the offset inputs, by their bytes


@dataclass(frozen=True)
class Add(_Binary):
    """a + b."""

    traits: ClassVar[Traits] = replace(
        _Binary.traits, signs=(1, 1), monotone="increasing", homogeneous=True, affine=lambda c, first: (0 * c + 1, c),
        file_words=True,
    )  # fmt: skip

    sign: ClassVar[int] = 1

    def combine(self, a: Array, b: Array) -> Array:
        return np.asarray(a + self.sign * b)

    def attributes(self) -> dict[str, int]:
        return {"sign": self.sign}

    def constants(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        low, high = clamp_limits(self.clamp, output)
        stage = {"out_zero": output.zero_point, "act_min": low, "act_max": high, "sign": self.sign}
        find = _single if law == "single" else _tflm
        return Params(law, {"a_half": 0, "b_half": 0, **find(where, a, b, output, self.sign), **stage})

    def reference(self, params: Params, *x: Array) -> Array:
        a, b = (np.asarray(v, np.int64) for v in x)
        p = params
        if p.law == "single":
            y = (a * p.a_multiplier + b * p.b_multiplier + p.offset) >> p.shift
        else:
            left = LEFT_SHIFT[x[0].dtype.itemsize]
            scaled_a = numerics.requantize_tflm((a - p.a_zero) << left, (p.a_high << 11) + p.a_low, -p.a_shift)
            scaled_b = numerics.requantize_tflm((b - p.b_zero) << left, (p.b_high << 11) + p.b_low, -p.b_shift)
            y = numerics.requantize_tflm(scaled_a + p.sign * scaled_b, p.multiplier, -p.shift)
        return np.asarray(np.clip(y + p.out_zero, p.act_min, p.act_max), x[0].dtype)


@dataclass(frozen=True)
class Sub(Add):
    """a - b."""

    traits: ClassVar[Traits] = replace(
        Add.traits, signs=(1, -1), monotone="difference", affine=lambda c, first: (0 * c - 1, c) if first else (0 * c + 1, -c)
    )

    sign: ClassVar[int] = -1

    def kernel_op(self) -> str:
        return "add"


def _single(where: str, a: TensorType, b: TensorType, output: TensorType, sign: int) -> dict[str, int]:
    """One rounding: ``((qa - za) * Ma + (qb - zb) * Mb + 2^(s-1)) >> s``, s the largest for which it fits int32."""
    out = float(np.float32(output.scale))
    ratios = [float(np.float32(t.scale)) / out for t in (a, b)]
    reaches = [reach(t) for t in (a, b)]
    for shift in range(30, 0, -1):
        m = [math.floor(math.ldexp(r, shift) + 0.5) for r in ratios]
        if m[0] * reaches[0] + m[1] * reaches[1] + (1 << shift - 1) <= numerics.INT32_MAX:
            m[1] *= sign
            offset = (1 << shift - 1) - m[0] * a.zero_point - m[1] * b.zero_point
            return {"a_multiplier": m[0], "b_multiplier": m[1], "offset": offset, "shift": shift}
    raise EdgeqError(f"the output scale {out} is too fine for the inputs", where=where, why=f"ratios {ratios}", fix="check the scales")


def _tflm(where: str, a: TensorType, b: TensorType, output: TensorType, sign: int) -> dict[str, int]:
    """Both inputs in units of twice the larger scale with `LEFT_SHIFT` fraction bits, added, rescaled to the output.

    The multiplier of an input is ``high * 2^11 + low``; ``half`` tells that it is exactly 1/2, that of the larger scale.
    """
    twice = 2 * float(max(np.float32(a.scale), np.float32(b.scale)))
    ratios = [float(np.float32(t.scale)) / twice for t in (a, b)]
    ratios.append(twice / ((1 << LEFT_SHIFT[a.dtype.bytes]) * float(np.float32(output.scale))))
    (ma, sa), (mb, sb), (m, s) = (numerics.quantize_multiplier(r) for r in ratios)
    if s >= 0:
        raise EdgeqError(f"the output scale {output.scale} is too fine for the inputs", where=where, fix="check the scales")
    return {
        "a_zero": a.zero_point, "a_high": ma >> 11, "a_low": ma & 2047, "a_shift": -sa, "a_half": int(sa == 0),
        "b_zero": b.zero_point, "b_high": mb >> 11, "b_low": mb & 2047, "b_shift": -sb, "b_half": int(sb == 0),
        "multiplier": m, "shift": -s,
    }  # fmt: skip
