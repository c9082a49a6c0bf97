"""Slice: a regular part of a tensor, forwards or backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import TensorType
from edgeq.ops.loops import Shape
from edgeq.ops.move import Axis, _Move
from edgeq.ops.traits import Axes, Sliding, Traits, whole


def _keeps_last(op: Any, x: Shape) -> bool:
    """Whether the last axis is taken whole."""
    return bool(op.begin[-1] == 0 and op.stride[-1] == 1 and op.size[-1] == x[-1])


def _slides(op: Slice, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """Rows that follow each other forwards."""
    if op.stride[axis] < 0:
        return None

    def of(rows: int, *_: int) -> Slice:
        begin, size = list(op.begin), list(op.size)
        begin[axis], size[axis] = 0, rows
        return replace(op, begin=tuple(begin), size=tuple(size))

    return Sliding(axis, of, op.stride[axis], -op.begin[axis])


@dataclass(frozen=True)
class Slice(_Move):
    """x -> per axis `size` elements from `begin` on, `stride` (not 0, may be negative) apart."""

    traits: ClassVar[Traits] = replace(
        _Move.traits,
        axes=Axes(per_axis=(("begin", 0), ("size", 1), ("stride", 1))),
        channels=whole(_keeps_last),
        counts=("size",),
        slides=_slides,
    )

    begin: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        if not len(self.begin) == len(self.size) == len(self.stride) == len(shape):
            raise EdgeqError(f"begin {self.begin}, size {self.size} and stride {self.stride} do not fit {types[0]}")
        for n, begin, size, stride in zip(shape, self.begin, self.size, self.stride, strict=True):
            if size < 1 or stride == 0 or not 0 <= begin < n or not 0 <= begin + (size - 1) * stride < n:
                raise EdgeqError(f"{size} elements from {begin} by {stride} do not lie in {types[0]}")
        return replace(types[0], shape=self.size)

    def axes(self, shape: Shape) -> list[Axis]:
        return [(i, b + s * np.arange(n)) for i, (b, n, s) in enumerate(zip(self.begin, self.size, self.stride, strict=True))]
