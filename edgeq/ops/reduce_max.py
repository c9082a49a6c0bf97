"""Largest and smallest value along axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops.linear import require_same_scale
from edgeq.ops.reduce import _Reduction
from edgeq.ops.traits import SHARED, Traits


@dataclass(frozen=True)
class ReduceMax(_Reduction):
    """The largest value along `axes`; one scale at both ends."""

    traits: ClassVar[Traits] = replace(_Reduction.traits, same_scale=SHARED)

    def real(self, *x: Array) -> Array:
        result: Array = x[0].max(self.vector_axes(), keepdims=self.keepdims)
        return result

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        require_same_scale(law, where, inputs[0].type, output)
        nest = self.nest(inputs[0].type)
        return Params(law, nest.scalars, nest.tables)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        nest = self.nest(inputs[0].type)
        return Params(half.LAW, nest.scalars, nest.tables)

    def reference_half(self, params: Params, *x: Array) -> Array:
        return half.of_order(self.real(half.order(x[0])))

    def reference(self, params: Params, *x: Array) -> Array:
        return self.real(*x)


@dataclass(frozen=True)
class ReduceMin(ReduceMax):
    """The smallest value along `axes`; one scale at both ends."""

    def real(self, *x: Array) -> Array:
        result: Array = np.min(x[0], self.vector_axes(), keepdims=self.keepdims)
        return result
