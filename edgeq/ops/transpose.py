"""Transpose: the axes in another order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import TensorType
from edgeq.ops.loops import Shape
from edgeq.ops.move import Axis, _Move
from edgeq.ops.traits import Sliding, Traits, whole


@dataclass(frozen=True)
class Transpose(_Move):
    """x -> x with axis ``perm[i]`` as axis i."""

    traits: ClassVar[Traits] = replace(
        _Move.traits,
        channels=whole(lambda op, x: bool(op.perm[-1] == len(x) - 1)),
        slides=lambda op, shapes, axis: Sliding(op.perm.index(axis), lambda *rows: op),
    )

    perm: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        if sorted(self.perm) != list(range(len(shape))):
            raise EdgeqError(f"{list(self.perm)} is no permutation of the axes of {types[0]}")
        return replace(types[0], shape=tuple(shape[p] for p in self.perm))

    def axes(self, shape: Shape) -> list[Axis]:
        return [(p, np.arange(shape[p])) for p in self.perm]
