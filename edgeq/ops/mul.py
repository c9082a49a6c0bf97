"""Multiplication of two tensors, with broadcasting and a fused clamp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.ir import Array, Params, TensorType
from edgeq.ops.elementwise import _Binary, reach
from edgeq.ops.linear import rescaled, rescaling
from edgeq.ops.table import ratio
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Mul(_Binary):
    """a * b: the product of the centred integers, requantized once."""

    traits: ClassVar[Traits] = replace(_Binary.traits, monotone="corners", affine=lambda c, first: (c, 0 * c), file_words=True)

    def combine(self, a: Array, b: Array) -> Array:
        return np.asarray(a * b)

    def constants(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        multiplier, shift = numerics.quantize_multipliers(np.array([ratio(a.scale, b.scale, output.scale)]))
        stage = rescaling(law, where, multiplier, shift, output, self.clamp, reach(a) * reach(b))
        flat = {name: int(stage.tables[name][0]) for name in ("multiplier", "shift")}
        return Params(law, {**stage.scalars, **flat, "a_zero": a.zero_point, "b_zero": b.zero_point})

    def reference(self, params: Params, *x: Array) -> Array:
        a, b = (np.asarray(v, np.int64) for v in x)
        y = rescaled(params, (a - params.a_zero) * (b - params.b_zero), params.multiplier, params.shift)
        return np.asarray(y, x[0].dtype)
