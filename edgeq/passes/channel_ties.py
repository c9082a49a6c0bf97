"""How operators relate the channels (last axis) of their inputs to those of their output: `traits.channels` on a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeq.ir import Graph, Node, Op
from edgeq.traits import Tie, channel_count


def channels(graph: Graph, name: str) -> int:
    """Length of the last axis; 1 for a scalar."""
    return channel_count(graph.type(name).shape)


def ties(graph: Graph, node: Node) -> Sequence[Tie] | None:
    """The relation between input and output channels; None where all of both must stay."""
    if node.op.traits.channels is None:
        return None
    shapes = [None if t.is_constant else t.type.shape for t in graph.node_inputs(node)]
    return node.op.traits.channels(node.op, shapes, graph.type(node.outputs[0]).shape)


def narrowed(op: Op, count: int) -> Op:
    """The operator's attributes for an output of `count` channels."""
    for attribute in op.traits.counts:
        op = replace(op, **{attribute: (*getattr(op, attribute)[:-1], count)})
    return op
