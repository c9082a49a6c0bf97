"""The algebra of data movement: any chain of reshapes and transposes as one reshape, transpose, reshape.

A `Move` splits a row-major array into atoms, permutes them and sees the result under another shape.
Moves compose and invert; one whose permutation is the identity is a view and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgeq.ir import Array

Shape = tuple[int, ...]


def refine(a: Sequence[int], b: Sequence[int]) -> Shape | None:
    """The coarsest factorisation of a row-major extent that both `a` and `b` are groupings of; None where there is none.

    Factors of 1 vanish: ``refine((6, 4), (2, 12)) == (2, 3, 4)``, ``refine((2, 3), (3, 2)) is None``.
    """
    strides = {1}
    for sizes in (a, b):
        stride = 1
        for size in reversed(sizes):
            stride *= size
            strides.add(stride)
    ordered = sorted(strides, reverse=True)
    factors = []
    for high, low in pairwise(ordered):
        if high % low:
            return None
        factors.append(high // low)
    return tuple(factors)


def _cut(factors: Sequence[int], sizes: Iterable[int]) -> list[list[int]]:
    """Indices of the factors that make up each of `sizes`, in order; a size of 1 gets none."""
    groups, position = [], 0
    for size in sizes:
        group, product = [], 1
        while product < size:
            product *= factors[position]
            group.append(position)
            position += 1
        groups.append(group)
    return groups


@dataclass(frozen=True)
class Atoms:
    """A move seen axis by axis.

    Attributes:
        sizes: of every atom, none of them 1.
        source: per source axis the atoms that it consists of, outermost first.
        target: per target axis likewise.
    """

    sizes: Shape
    source: tuple[tuple[int, ...], ...]
    target: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Move:
    """``y = x.reshape(split).transpose(perm).reshape(target)``, in normal form (see `normal`)."""

    source: Shape
    split: Shape
    perm: tuple[int, ...]
    target: Shape

    @property
    def is_view(self) -> bool:
        """Whether the elements keep their order, so that nothing has to be copied."""
        return len(self.perm) < 2

    @property
    def is_identity(self) -> bool:
        return self.is_view and self.source == self.target

    @property
    def size(self) -> int:
        return math.prod(self.source)

    def inverse(self) -> Move:
        perm = tuple(int(i) for i in np.argsort(self.perm))
        return Move(self.target, tuple(self.split[i] for i in self.perm), perm, self.source)

    def then(self, other: Move) -> Move | None:
        """This move followed by `other`; None where the two split the extent in ways that do not nest."""
        assert self.target == other.source, (self, other)
        middle = refine([self.split[i] for i in self.perm], other.split)
        if middle is None:
            return None
        first = _cut(middle, (self.split[i] for i in self.perm))
        second = _cut(middle, other.split)
        at = {axis: k for k, axis in enumerate(self.perm)}
        before = [m for axis in range(len(self.split)) for m in first[at[axis]]]
        after = [m for axis in other.perm for m in second[axis]]
        return normal(self.source, middle, before, after, other.target)

    def apply(self, x: Array) -> Array:
        """Move a constant's elements; a new contiguous array."""
        return np.array(x.reshape(self.split).transpose(self.perm).reshape(self.target), order="C")

    def atoms(self) -> Atoms | None:
        """The axes of both ends as lists of common atoms; None where an end cuts through in ways that do not nest."""
        sizes = refine(self.split, self.source)
        if sizes is None:
            return None
        groups = _cut(sizes, self.split)
        order = [i for axis in self.perm for i in groups[axis]]
        fine = refine([sizes[i] for i in order], self.target)
        if fine is None:
            return None
        parts = dict(zip(order, _cut(fine, (sizes[i] for i in order)), strict=True))
        source = tuple(tuple(p for i in axis for p in parts[i]) for axis in _cut(sizes, self.source))
        return Atoms(fine, source, tuple(map(tuple, _cut(fine, self.target))))


def normal(source: Shape, sizes: Sequence[int], before: Sequence[int], after: Sequence[int], target: Shape) -> Move:
    """The move that takes atoms from the order `before` to the order `after`, neighbours that stay neighbours merged.

    Args:
        sizes: of the atoms, by their number; atoms of size 1 must not occur in the orders.
    """
    follows = dict(pairwise(after))
    runs: list[list[int]] = []
    for atom in before:
        if runs and follows.get(runs[-1][-1]) == atom:
            runs[-1].append(atom)
        else:
            runs.append([atom])
    heads = {run[0]: i for i, run in enumerate(runs)}
    split = tuple(math.prod(sizes[a] for a in run) for run in runs)
    return Move(source, split, tuple(heads[a] for a in after if a in heads), target)


def view(source: Shape, target: Shape) -> Move:
    """A reshape."""
    size = math.prod(source)
    return Move(source, (size,) if size > 1 else (), (0,) if size > 1 else (), target)


def transpose(source: Shape, perm: Sequence[int]) -> Move:
    """A transpose: axis k of the result is axis ``perm[k]`` of the source."""
    moving = [a for a in perm if source[a] > 1]
    return normal(source, source, sorted(moving), moving, tuple(source[a] for a in perm))


@dataclass(frozen=True)
class Label:
    """Another order of axes, for tensors of any lengths.

    Axis k of the new layout is axis ``axes[k]`` of the old, or where that is -1 a new axis of length 1. Old axes that do
    not occur must have length 1.
    """

    axes: tuple[int, ...]

    def shape(self, shape: Shape) -> Shape | None:
        """The new shape; None where an axis of another length than 1 would vanish."""
        if any(a >= len(shape) for a in self.axes) or any(n != 1 and i not in self.axes for i, n in enumerate(shape)):
            return None
        return tuple(1 if a < 0 else shape[a] for a in self.axes)

    def move(self, shape: Shape) -> Move | None:
        target = self.shape(shape)
        if target is None:
            return None
        moving = [a for a in self.axes if a >= 0 and shape[a] > 1]
        return normal(shape, shape, sorted(moving), moving, target)

    def axis(self, old: int) -> int | None:
        """Where an old axis lies now."""
        return self.axes.index(old) if old in self.axes else None


def label(move: Move) -> Label | None:
    """The order of axes that a move amounts to, if each target axis is one source axis or of length 1.

    Axes of length 1 keep their order among themselves.
    """
    atoms = move.atoms()
    if atoms is None:
        return None
    whole = {group: axis for axis, group in enumerate(atoms.source) if group}
    ones = [axis for axis, group in enumerate(atoms.source) if not group]
    axes = []
    for group in atoms.target:
        if not group:
            axes.append(ones.pop(0) if ones else -1)
        elif group in whole:
            axes.append(whole[group])
        else:
            return None
    return Label(tuple(axes))
