"""Sparse constants: the stored elements of a tensor, level by level, as TFLite's sparsity encoding nests them.

The levels are the axes in an order of their own, then the axes of the blocks. A dense level holds every index, a sparse one
those that it lists per element of the level above (compressed sparse rows).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array


@dataclass(frozen=True, eq=False)
class Level:
    """`size` of a dense level; `segments` and `indices` of a sparse one."""

    size: int
    segments: Array | None = None
    indices: Array | None = None


@dataclass(frozen=True, eq=False)
class Sparsity:
    """How a constant's elements are stored.

    Attributes:
        order: which axis each level is; the number of axes and above: an axis of the blocks.
        blocks: the axis that each axis of the blocks belongs to.
        levels: outermost first.
    """

    order: tuple[int, ...]
    blocks: tuple[int, ...]
    levels: tuple[Level, ...]

    def dense(self, values: Array, shape: tuple[int, ...]) -> Array:
        """The whole tensor, zeros where nothing is stored.

        Raises:
            ValueError: the encoding contradicts the shape or itself.
        """
        steps = self._steps(shape)
        at, limit = np.zeros(1, np.int64), math.prod(shape)
        for level, step in zip(self.levels, steps, strict=True):
            if level.segments is None or level.indices is None:
                if level.size < 1 or len(at) * level.size > limit:
                    raise ValueError("a dense level is too long")
                at = (at[:, None] + np.arange(level.size) * step).ravel()
                continue
            counts = np.diff(level.segments)
            if len(counts) != len(at) or (counts < 0).any() or level.segments[0] != 0 or level.segments[-1] != len(level.indices):
                raise ValueError("segments of a sparse level")
            at = np.repeat(at, counts) + level.indices * step
        if len(at) != len(values) or (len(at) and not (at.min() >= 0 and at.max() < limit)):
            raise ValueError(f"{len(values)} values for {len(at)} places")
        result = np.zeros(limit, values.dtype)
        result[at] = values
        return result.reshape(shape)

    def _steps(self, shape: tuple[int, ...]) -> list[int]:
        """What an index of each level adds to the position of an element."""
        rank = len(shape)
        if sorted(self.order) != list(range(rank + len(self.blocks))) or len(self.levels) != len(self.order):
            raise ValueError("order of the levels")
        if any(not 0 <= axis < rank for axis in self.blocks):
            raise ValueError("axes of the blocks")
        strides = [math.prod(shape[i + 1 :]) for i in range(rank)]
        size = dict(zip(self.order, (level.size for level in self.levels), strict=True))
        if any(size[rank + k] < 1 for k in range(len(self.blocks))):
            raise ValueError("a level of the blocks is not dense")
        long = [math.prod(size[rank + k] for k, axis in enumerate(self.blocks) if axis == i) for i in range(rank)]
        return [strides[i] * long[i] if i < rank else strides[self.blocks[i - rank]] for i in self.order]
