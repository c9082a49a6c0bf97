"""The traits of operators (`edgeq.traits`), and the relations between channels that many operators share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeq.traits import Axes, Channels, Linear, Natural, Product, Rows, Shape, Slides, Sliding, Tie, Traits, View, channel_count

__all__ = [
    "LAWS", "SHARED", "TFLM", "Axes", "Channels", "Linear", "Natural", "Product", "Rows", "Shape", "Slides", "Sliding", "Tie", "Traits",
    "View", "along", "channel_count", "last_alone", "merged", "same", "sliding", "whole",
]  # fmt: skip

LAWS = frozenset(("single", "tflm"))
TFLM = frozenset(("tflm",))
SHARED = LAWS  # output and first input have one scale under every law


def same(op: Any, inputs: Sequence[Shape | None], output: Shape) -> list[Tie]:
    """Channel c of every activation input is channel c of the output; an input of one channel that is broadcast is not tied."""
    count = channel_count(output)
    channels = np.arange(count)
    return [Tie(i, channels, channels) for i, s in enumerate(inputs) if s is not None and channel_count(s) == count]


def along(attribute: str) -> Channels:
    """Ties of an operator that leaves the last axis alone, unless `attribute` names that axis."""

    def ties(op: Any, inputs: Sequence[Shape | None], output: Shape) -> list[Tie] | None:
        last = len(inputs[0] or ()) - 1
        return None if last < 0 or last in np.ravel(getattr(op, attribute)) else same(op, inputs, output)

    return ties


def whole(leaves: Callable[[Any, Shape], bool]) -> Channels:
    """Ties of an operator that leaves the last axis alone where `leaves` (of the operator and its input's shape) says so."""

    def ties(op: Any, inputs: Sequence[Shape | None], output: Shape) -> list[Tie] | None:
        return same(op, inputs, output) if inputs[0] and leaves(op, inputs[0]) else None

    return ties


def merged(op: Any, inputs: Sequence[Shape | None], output: Shape) -> list[Tie] | None:
    """Trailing axes merged into the last one, or the last one split: channels repeat with the shorter period."""
    if inputs[0] is None:
        return None
    source, target = channel_count(inputs[0]), channel_count(output)
    longer = max(source, target)
    if longer % min(source, target):
        return None
    channels = np.arange(longer)
    return [Tie(0, channels % source, channels % target)]


def sliding(op: Any, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """How an operator computes rows along an axis of its inputs, by its traits; None where its rows depend on where they lie."""
    t = op.traits
    if t.slides:
        found: Sliding | None = t.slides(op, shapes, axis)
        return found
    if t.elementwise:
        return Sliding(axis, lambda *rows: op)
    if t.axes is None or t.axes.per_axis:
        return None
    if t.axes.reduced:
        reduced = getattr(op, t.axes.reduced)
        return None if axis in reduced else Sliding(axis if op.keepdims else axis - sum(a < axis for a in reduced), lambda *rows: op)
    works = {getattr(op, name) for name in t.axes.single} | ({len(shapes[0]) - 1} if t.axes.last else set())
    return None if axis in works else Sliding(axis, lambda *rows: op)


def last_alone(op: Any, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """Of an operator that works along the last axis, each row for itself."""
    return None if axis == len(shapes[0]) - 1 else Sliding(axis, lambda *rows: op)
