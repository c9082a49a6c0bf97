"""What the reductions share: axes merged into as few loops as possible, and the shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, TensorType
from edgeq.ops.traits import Axes, Traits, along


def loops(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[dict[str, int], Array]:
    """Kept and reduced axes of a contiguous array, neighbours of one kind merged, lengths of 1 dropped.

    Returns:
        scalars ``kept`` and ``reduced`` (numbers of loops, at least 1 each) and ``along`` (the count of the last kept loop where its
        elements are neighbours, else 0); and int32 ``[kept + reduced, 2]``, per
        loop its count and stride in elements: the kept ones from the outermost, then the reduced ones.
    """
    strides = [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]
    loops: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    for is_reduced, group in groupby([i for i, n in enumerate(shape) if n > 1], key=lambda i: i in axes):
        members = list(group)
        loops[is_reduced].append((int(np.prod([shape[i] for i in members], dtype=np.int64)), strides[members[-1]]))
    kept, reduced = loops[False] or [(1, 1)], loops[True] or [(1, 1)]
    along = kept[-1][0] if kept[-1][1] == 1 else 0
    return {"kept": len(kept), "reduced": len(reduced), "along": along}, np.array(kept + reduced, np.int32)


@dataclass(frozen=True)
class _Reduction(Op):
    """x -> x reduced along `axes` (sorted, not negative), which stay as length 1 where `keepdims`."""

    traits: ClassVar[Traits] = Traits("pool", axes=Axes(reduced="axes"), channels=along("axes"), monotone="increasing")

    axes: tuple[int, ...]
    keepdims: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        if not self.axes or list(self.axes) != sorted(set(self.axes)) or self.axes[0] < 0 or self.axes[-1] >= len(shape):
            raise EdgeqError(f"axes {list(self.axes)} do not fit input {types[0]}")
        kept = [1 if i in self.axes else n for i, n in enumerate(shape) if self.keepdims or i not in self.axes]
        return replace(types[0], shape=tuple(kept))

    def vector_axes(self) -> tuple[int, ...]:
        """The axes of an array that has the leading vectors axis."""
        return tuple(a + 1 for a in self.axes)

    def count(self, x: TensorType) -> int:
        """Elements that one result is made of."""
        return int(np.prod([x.shape[a] for a in self.axes], dtype=np.int64))

    def nest(self, x: TensorType) -> Params:
        """The loops as parameters."""
        scalars, table = loops(x.shape, self.axes)
        return Params("", scalars, {"loops": table})
