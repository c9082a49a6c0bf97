"""Moves a clamp (ReLU, ReLU6, ...) into the operator that computes its input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import DType, Graph, Node
from edgeq.ops import linear
from edgeq.ops.clamp import Clamp
from edgeq.ops.linear import clamp_limits
from edgeq.ops.table import INPUTS
from edgeq.passes.rewrite import is_quantized, same_values, use_counts


def composed(first: linear.Clamp, second: linear.Clamp) -> linear.Clamp:
    """The limits of one clamp after another."""
    low, high = (min(max(end, second[0]), second[1]) for end in first)
    return low, high


def fuse_activations(graph: Graph) -> Graph:
    """Fuse clamps of float graphs; of quantized graphs those that give the same bytes."""
    uses = use_counts(graph)
    producers: dict[str, Node] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        source = node.inputs[0]
        before = producers.get(source)
        fused = None
        if isinstance(node.op, Clamp) and before is not None and hasattr(before.op, "clamp") and uses[source] == 1:
            fused = _fused(graph, before, node)
        if fused is not None and before is not None:
            nodes[nodes.index(before)] = node = fused
        else:
            nodes.append(node)
        producers[node.outputs[0]] = node
    return graph if len(nodes) == len(graph.nodes) else graph.with_nodes(nodes)


def _fused(graph: Graph, before: Node, node: Node) -> Node | None:
    """The producer with the clamp in it; None where that would change a byte."""
    assert isinstance(node.op, Clamp)
    first: linear.Clamp = before.op.clamp  # type: ignore[attr-defined]
    clamp = composed(first, node.op.clamp)
    if is_quantized(graph, node):
        inner, outer = graph.type(before.outputs[0]), graph.type(node.outputs[0])
        if not same_values(inner, outer) or inner.dtype is not DType.INT8 or isinstance(before.op, Clamp):
            return None
        low, high = clamp_limits(first, inner)
        reached = INPUTS[low + 128 : high + 129]
        table = node.op.bind(graph.law, node.name, graph.node_inputs(node), outer).values
        if not np.array_equal(table[reached + 128], np.clip(reached, *clamp_limits(clamp, outer))):
            return None
    return replace(before, op=replace(before.op, clamp=clamp), outputs=node.outputs)  # type: ignore[call-arg]
