"""Which layers are so small that their weights stay in int8 where others have fewer bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgeq.ir import Graph, Node
from edgeq.quantize.statistics import Channels

SMALL = 0.06  # of all weights: what these layers hold together; with the others in four bits weights take 0.53 of int8's


def small(graph: Graph, seen: Mapping[str, Channels], layers: Iterable[Node]) -> list[str]:
    """The smallest layers, which hold at most `SMALL` of the weights of all: mostly the first ones, the last one, and depthwise ones.

    Fewer bits save next to nothing there, and cost as much noise as in any layer, and instructions for every output. Layers that share
    weights stay together.

    Args:
        graph: float.
        seen: of activations, on calibration data.
    """
    sharing: dict[tuple[str, ...], list[Node]] = {}
    for node in layers:
        sharing.setdefault(tuple(node.inputs[p] for p in node.op.traits.weights), []).append(node)
    sizes = {names: max(living(graph, seen, n) for n in nodes) for names, nodes in sharing.items()}
    found, left = list[str](), SMALL * sum(sizes.values())
    for names in sorted(sizes, key=sizes.__getitem__):
        left -= sizes[names]
        if left < 0:
            break
        found += [n.name for n in sharing[names]]
    return found


def living(graph: Graph, seen: Mapping[str, Channels], node: Node) -> float:
    """The weights of a layer that are left once channels are dropped which never vary."""
    size, linear = float(sum(graph.type(node.inputs[p]).size for p in node.op.traits.weights)), node.op.traits.linear
    if linear is None:
        return size
    shape = graph.type(node.inputs[1]).shape
    ends = [(node.outputs[0], shape[linear.axis]), *([] if linear.depthwise else [(node.inputs[0], shape[-1])])]
    for name, channels in ends:
        own = seen.get(name)
        if own is not None and len(own.low) == channels:
            size *= float((own.low < own.high).mean())
    return size
