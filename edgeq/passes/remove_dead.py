"""Removes nodes that no graph output depends on, and unused tensors."""

from __future__ import annotations

from edgeq.ir import Graph


def remove_dead(graph: Graph) -> Graph:
    """Keep what the outputs are computed from. Graph inputs stay, used or not: they are the interface."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    smaller = graph.with_nodes(reversed(kept))
    return graph if len(kept) == len(graph.nodes) and smaller.tensors.keys() == graph.tensors.keys() else smaller
