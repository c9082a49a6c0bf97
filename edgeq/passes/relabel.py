"""How operators look when their tensors are laid out otherwise: attributes, reductions and fully connected weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.ir import Array, Op
from edgeq.passes.moves import Label, Move, Shape, normal, view
from edgeq.traits import Axes


def is_pointwise(op: Op) -> bool:
    """Whether an operator works element by element."""
    return op.traits.elementwise


def is_transparent(op: Op) -> bool:
    """Whether an operator can work in several layouts."""
    return is_pointwise(op) or (op.traits.axes is not None and not op.traits.axes.reduced)


def is_reduction(op: Op) -> bool:
    """Whether an operator can step in front of a move: see `sink`."""
    return op.traits.axes is not None and bool(op.traits.axes.reduced)


@dataclass(frozen=True)
class Bijection:
    """A layout that need not keep axes apart; only for operators that work element by element, on tensors of one shape."""

    to: Move

    def shape(self, shape: Shape) -> Shape | None:
        found = self.move(shape)
        return found.target if found else None

    def move(self, shape: Shape) -> Move | None:
        if shape == self.to.source:
            return self.to
        return view(shape, (1,) * len(self.to.target)) if all(n == 1 for n in shape) else None


Layout = Label | Bijection


def relabel(op: Op, shapes: Sequence[Shape], output: Shape, layout: Layout) -> Op | None:
    """The operator on tensors in another layout, or None where it cannot work there.

    Args:
        op: a transparent one.
        shapes: of the inputs that are laid out again (not its parameters), in the old layout.
        output: shape of the output in the old layout.
    """
    if any(layout.shape(s) is None for s in (*shapes, output)):
        return None
    if is_pointwise(op):
        return op
    axes = op.traits.axes
    if isinstance(layout, Bijection) or axes is None or len(output) != len(shapes[0]):
        return None
    if axes.last:
        return op if layout.axes[-1] == len(shapes[0]) - 1 else None
    return _with_axes(op, axes, layout)


def _with_axes(op: Op, axes: Axes, layout: Label) -> Op | None:
    """The operator with its attributes in another order of axes; None where an axis that it names has none."""
    changed: dict[str, Any] = {}
    for attribute in axes.single:
        changed[attribute] = layout.axis(getattr(op, attribute))
        if changed[attribute] is None:
            return None
    for attribute, fill in axes.per_axis:
        values = getattr(op, attribute)
        changed[attribute] = tuple(fill if a < 0 else values[a] for a in layout.axes)
    return replace(op, **changed)


def sink(op: Any, shape: Shape, move: Move) -> tuple[Op, Shape, Move] | None:
    """A reduction moved in front of the move that its input went through.

    Args:
        op: one that `is_reduction` on a tensor of `shape`, which is ``move.target``.

    Returns:
        the reduction of ``move.source``, its output's shape, and the move from there to the old output; None where a
        source axis would be reduced in part.
    """
    atoms = move.atoms()
    if atoms is None:
        return None
    reduced = {a for axis in op.axes for a in atoms.target[axis]}
    axes = []
    for axis, group in enumerate(atoms.source):
        if group and reduced.issuperset(group):
            axes.append(axis)
        elif not reduced.isdisjoint(group):
            return None
    if not axes:
        return None

    def remaining(full: Shape, gone: Sequence[int]) -> Shape:
        return tuple(1 if a in gone else n for a, n in enumerate(full) if op.keepdims or a not in gone)

    new, target = remaining(move.source, axes), remaining(shape, op.axes)
    ones = [a for a, n in enumerate(move.source) if n == 1]
    for more in (ones, ones[1:]):  # reducing axes of length 1 as well may save a reshape
        if new != target and remaining(move.source, [*axes, *more]) == target:
            axes, new = sorted([*axes, *more]), target
    before = [a for group in atoms.source for a in group if a not in reduced]
    after = [a for group in atoms.target for a in group if a not in reduced]
    back = normal(new, atoms.sizes, before, after, target)
    return replace(op, axes=tuple(axes)), new, back


def input_order(move: Move) -> Array | None:
    """For a fully connected layer behind a move: which element of the unmoved row each of its columns meets.

    None unless the move keeps the rows apart: ``x[..., k] == s.reshape(x.shape)[..., order[k]]``.
    """
    atoms = move.atoms()
    if atoms is None:
        return None
    source = [a for group in atoms.source for a in group]
    lead = [a for group in atoms.target[:-1] for a in group]
    if source[: len(lead)] != lead:
        return None
    size = (move.target[-1],)
    return normal(size, atoms.sizes, source[len(lead) :], atoms.target[-1], size).apply(np.arange(size[0]))


def output_order(move: Move) -> Array | None:
    """For a move behind a fully connected layer: the order of output channels that makes it a view.

    None unless the move keeps the rows apart.
    """
    order = input_order(move.inverse())
    return None if order is None else np.argsort(order)
