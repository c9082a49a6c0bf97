"""Reshape: the same elements in row-major order under another shape. Also squeeze, flatten, expand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.move import same_values
from edgeq.ops.traits import SHARED, Traits, merged


@dataclass(frozen=True)
class Reshape(Op):
    """x -> the same elements with shape `shape`. Lowered to a view wherever that is possible."""

    traits: ClassVar[Traits] = Traits(
        "move", same_scale=SHARED, moves=True, view=True, channels=merged, counts=("shape",), homogeneous=True, monotone="increasing",
        words=True,
    )  # fmt: skip

    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        if math.prod(self.shape) != types[0].size:
            raise EdgeqError(f"{types[0]} cannot be reshaped to {list(self.shape)}")
        return replace(types[0], shape=self.shape)

    def real(self, *x: Array) -> Array:
        return x[0].reshape(x[0].shape[0], *self.shape)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        same_values(law, where, inputs, output)
        return Params(law, {"size": output.size})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.real(*x)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return self.bind(half.LAW, where, inputs, output)

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference(params, *x)
