"""Gather: slices along one axis, by constant indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import TensorType
from edgeq.ops.loops import Shape
from edgeq.ops.move import Axis, _Move, size_limit
from edgeq.ops.traits import Axes, Sliding, Traits, along


def _slides(op: Any, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """An axis that it takes nothing from."""
    if axis == op.axis:
        return None
    return Sliding(axis if axis < op.axis else axis + len(op.index_shape) - 1, lambda *rows: op)


@dataclass(frozen=True)
class Gather(_Move):
    """x -> its slices `indices` along `axis`, which becomes the axes `index_shape`. Negative indices count from the end."""

    traits: ClassVar[Traits] = replace(_Move.traits, axes=Axes(single=("axis",)), channels=along("axis"), slides=_slides)

    indices: tuple[int, ...]
    index_shape: tuple[int, ...]
    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        if not 0 <= self.axis < len(shape) or math.prod(self.index_shape) != len(self.indices):
            raise EdgeqError(f"indices of shape {list(self.index_shape)} along axis {self.axis} do not fit {types[0]}")
        n = shape[self.axis]
        if any(not -n <= i < n for i in self.indices):
            raise EdgeqError(f"an index lies outside axis {self.axis} of {types[0]}")
        result = (*shape[: self.axis], *self.index_shape, *shape[self.axis + 1 :])
        size_limit(result)
        return replace(types[0], shape=result)

    def axes(self, shape: Shape) -> list[Axis]:
        order: list[Axis] = [(i, np.arange(n)) for i, n in enumerate(shape)]
        order[self.axis] = (self.axis, np.array(self.indices, np.int64) % shape[self.axis])
        return order
