"""Joins two reshapes, transposes, slices or pads in a row into one."""

from __future__ import annotations

from dataclasses import replace

from edgeq.ir import Graph, Node, Op
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.transpose import Transpose
from edgeq.passes.rewrite import same_values, use_counts


def combine_moves(graph: Graph) -> Graph:
    """Join moves whose intermediate nothing else reads; reshapes, which cost nothing, in any case."""
    uses = use_counts(graph)
    producers: dict[str, Node] = {}
    nodes = []
    for node in graph.nodes:
        before = producers.get(node.inputs[0])
        if before is not None and same_values(graph.type(before.inputs[0]), graph.type(node.outputs[0])):
            alone = uses[node.inputs[0]] == 1 or isinstance(node.op, Reshape)
            joined = _joined(before.op, node.op) if alone else None
            if joined is not None:
                node = replace(node, op=joined, inputs=before.inputs)
        producers[node.outputs[0]] = node
        nodes.append(node)
    return graph if tuple(nodes) == graph.nodes else graph.with_nodes(nodes)


def _joined(first: Op, second: Op) -> Op | None:
    """One operator that does both, None where there is none."""
    match first, second:
        case Reshape(), Reshape():
            return second
        case Transpose(), Transpose():
            return Transpose(tuple(first.perm[p] for p in second.perm))
        case Slice(), Slice():
            begin = tuple(b + s * c for b, s, c in zip(first.begin, first.stride, second.begin, strict=True))
            stride = tuple(s * t for s, t in zip(first.stride, second.stride, strict=True))
            return Slice(begin, second.size, stride)
        case Pad(mode="constant"), Pad(mode="constant") if (first.value or 0.0) == (second.value or 0.0):
            return replace(second, pads=tuple((a + c, b + d) for (a, b), (c, d) in zip(first.pads, second.pads, strict=True)))
    return None
