"""How operators relate the channels (last axis) of their inputs to those of their output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edgeq.ir import Array, Graph, Node, Op
from edgeq.ops.table import _Table


class Tie(NamedTuple):
    """Entry for entry, channel ``source[i]`` of input `position` exists if and only if channel ``target[i]`` of the output does."""

    position: int
    source: Array
    target: Array


def channels(graph: Graph, name: str) -> int:
    """Length of the last axis; 1 for a scalar."""
    shape = graph.type(name).shape
    return shape[-1] if shape else 1


def _same(graph: Graph, node: Node) -> list[Tie]:
    """Channel c of every activation input is channel c of the output; an input of one channel that is broadcast is not tied."""
    count = channels(graph, node.outputs[0])
    every = np.arange(count)
    return [Tie(i, every, every) for i, n in enumerate(node.inputs) if not graph.tensors[n].is_constant and channels(graph, n) == count]


def _along(attribute: str) -> Callable[[Graph, Node], list[Tie] | None]:
    """Ties of an operator that leaves the last axis alone, unless `attribute` names that axis."""

    def ties(graph: Graph, node: Node) -> list[Tie] | None:
        axes = getattr(node.op, attribute)
        last = len(graph.type(node.inputs[0]).shape) - 1
        return None if last < 0 or last in np.ravel(axes) else _same(graph, node)

    return ties


def _concat(graph: Graph, node: Node) -> list[Tie] | None:
    if any(graph.tensors[n].is_constant for n in node.inputs):
        return None
    if node.op.axis != len(graph.type(node.outputs[0]).shape) - 1:  # type: ignore[attr-defined]
        return _same(graph, node)
    ties, start = [], 0
    for i, name in enumerate(node.inputs):
        own = np.arange(channels(graph, name))
        ties.append(Tie(i, own, start + own))
        start += len(own)
    return ties


def _reshape(graph: Graph, node: Node) -> list[Tie] | None:
    """Trailing axes merged into the last one, or the last one split: channels repeat with the shorter period."""
    source, target = channels(graph, node.inputs[0]), channels(graph, node.outputs[0])
    longer = max(source, target)
    if longer % min(source, target) or graph.tensors[node.inputs[0]].is_constant:
        return None
    every = np.arange(longer)
    return [Tie(0, every % source, every % target)]


def _pad(graph: Graph, node: Node) -> list[Tie] | None:
    return _same(graph, node) if node.op.pads[-1] == (0, 0) else None  # type: ignore[attr-defined]


def _slice(graph: Graph, node: Node) -> list[Tie] | None:
    op = node.op
    whole = op.begin[-1] == 0 and op.stride[-1] == 1 and op.size[-1] == channels(graph, node.inputs[0])  # type: ignore[attr-defined]
    return _same(graph, node) if whole else None


def _transpose(graph: Graph, node: Node) -> list[Tie] | None:
    perm = node.op.perm  # type: ignore[attr-defined]
    return _same(graph, node) if perm and perm[-1] == len(perm) - 1 else None


def _depthwise(graph: Graph, node: Node) -> list[Tie] | None:
    count = channels(graph, node.outputs[0])
    every = np.arange(count)
    return [Tie(0, every // (count // channels(graph, node.inputs[0])), every)]


RULES: dict[str, Callable[[Graph, Node], list[Tie] | None]] = {
    **dict.fromkeys(("add", "sub", "mul", "minimum", "maximum", "prelu", "average_pool2d", "max_pool2d"), _same),
    **dict.fromkeys(("resize_nearest", "resize_bilinear"), _same),
    **dict.fromkeys(("mean", "reduce_sum", "reduce_max", "reduce_min"), _along("axes")),
    "concat": _concat, "depthwise_conv2d": _depthwise, "gather": _along("axis"), "pad": _pad, "reshape": _reshape,
    "slice": _slice, "transpose": _transpose,
}  # fmt: skip


def ties(graph: Graph, node: Node) -> list[Tie] | None:
    """The relation between input and output channels; None where all of both must stay."""
    if isinstance(node.op, _Table):
        return _same(graph, node)
    rule = RULES.get(node.op.kind())
    return rule(graph, node) if rule else None


def narrowed(op: Op, count: int) -> Op:
    """The operator's attributes for an output of `count` channels."""
    for attribute in {"reshape": ("shape",), "slice": ("size",)}.get(op.kind(), ()):
        op = replace(op, **{attribute: (*getattr(op, attribute)[:-1], count)})
    return op
