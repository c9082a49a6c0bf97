"""What activations cannot exceed, whatever the samples: ends of clamps and of natural ranges, and of what only moves or averages these."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgeq.ir import Graph, Node

NONE = (-math.inf, math.inf)
Bounds = tuple[float, float]


def bounds(graph: Graph) -> dict[str, Bounds]:
    """Real values that enclose all that an activation of a float graph can hold; infinite where nothing is known."""
    found: dict[str, Bounds] = {}
    for node in graph.nodes:
        found |= dict.fromkeys(node.outputs, NONE)
        found[node.outputs[0]] = _of_output(node, found)
    return found


def _of_output(node: Node, known: Mapping[str, Bounds]) -> Bounds:
    traits, natural = node.op.traits, node.op.traits.natural
    low, high = getattr(node.op, "clamp", NONE)
    if natural is not None and natural.when != "given":
        low, high = (max(low, (-128 - natural.zero_point) * natural.scale), min(high, (128 - natural.zero_point) * natural.scale))
    if traits.moves or traits.averages or traits.merges or traits.saturates:
        read = [known.get(n, NONE) for i, n in enumerate(node.inputs) if i not in node.op.parameters]
        low, high = max(low, min(b[0] for b in read)), min(high, max(b[1] for b in read))
    return low, high
