"""How operators look when their tensors are laid out otherwise: attributes, reductions and fully connected weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.ir import Array, Op
from edgeq.ops.table import _Table
from edgeq.passes.moves import Label, Move, Shape, normal, view

CASTS = ("quantize", "dequantize", "requantize")
BINARY = ("add", "sub", "mul", "div", "minimum", "maximum")
LAST_AXIS = ("softmax", "log_softmax", "prelu")  # work along the last axis
REDUCE = ("mean", "reduce_sum", "reduce_max", "reduce_min")
AXES = ("concat", "slice", "pad", "gather")


def is_pointwise(op: Op) -> bool:
    """Whether an operator works element by element."""
    return isinstance(op, _Table) or op.kind() in (*CASTS, *BINARY)


def is_transparent(op: Op) -> bool:
    """Whether an operator can work in several layouts."""
    return is_pointwise(op) or op.kind() in (*LAST_AXIS, *AXES)


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
        shapes: of the inputs that are laid out anew (not its parameters), in the old layout.
        output: shape of the output in the old layout.
    """
    kind = op.kind()
    if any(layout.shape(s) is None for s in (*shapes, output)):
        return None
    if is_pointwise(op):
        return op
    if isinstance(layout, Bijection):
        return None
    if kind in LAST_AXIS:
        return op if layout.axes[-1] == len(shapes[0]) - 1 else None
    return _with_axes(op, shapes[0], layout)


def _with_axes(op: Any, shape: Shape, layout: Label) -> Op | None:
    """Concat, slice, pad and gather with their attributes in another order of axes."""

    def permute(values: Sequence[Any], fill: Any) -> tuple[Any, ...]:
        return tuple(fill if a < 0 else values[a] for a in layout.axes)

    result: Op | None = None
    match op.kind():
        case "concat":
            axis = layout.axis(op.axis)
            result = None if axis is None else replace(op, axis=axis)
        case "gather":
            axis = layout.axis(op.axis)
            result = None if axis is None or len(op.index_shape) != 1 else replace(op, axis=axis)
        case "slice":
            result = replace(op, begin=permute(op.begin, 0), size=permute(op.size, 1), stride=permute(op.stride, 1))
        case "pad":
            result = replace(op, pads=permute(op.pads, (0, 0)))
    return result


def sink(op: Any, shape: Shape, move: Move) -> tuple[Op, Shape, Move] | None:
    """A reduction moved in front of the move that its input went through.

    Args:
        op: one of `REDUCE` on a tensor of `shape`, which is ``move.target``.

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
