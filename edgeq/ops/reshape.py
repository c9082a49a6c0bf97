"""Reshape: the same elements in row-major order under another shape. Also squeeze, flatten, expand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops.move import _Moving, same_values
from edgeq.ops.traits import SHARED, Shape, Sliding, Traits, merged


def _slides(op: Any, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """An axis that stays, with as many elements before it."""
    x, before = shapes[0], math.prod(shapes[0][:axis])
    places = [i for i, n in enumerate(op.shape) if n == x[axis] and math.prod(op.shape[:i]) == before]
    if not places:
        return None
    at = places[0]
    return Sliding(at, lambda rows, *_: Reshape((*op.shape[:at], rows, *op.shape[at + 1 :])))


@dataclass(frozen=True)
class Reshape(_Moving):
    """x -> the same elements with shape `shape`. Lowered to a view wherever that is possible."""

    traits: ClassVar[Traits] = Traits(
        "move", same_scale=SHARED, moves=True, view=True, channels=merged, counts=("shape",), homogeneous=True, monotone="increasing",
        words=True, slides=_slides, float32="able",
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
