"""A fully connected layer whose results are only read in parts becomes a layer per part: q, k and v of an attention, or gates.

Nothing is copied then, and each part has a scale of its own where the graph is quantized later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.passes.origins import is_move
from edgeq.passes.places import Moves, moves
from edgeq.passes.rewrite import Names, select

LARGEST = 1 << 20  # results of a layer whose parts are followed


@dataclass(frozen=True)
class Part:
    """What a slice has of a layer's results: some of its channels ``[n]``, and the moves that bring a layer of those into its order."""

    channels: Array
    chain: Moves


def split_fully_connected(graph: Graph) -> Graph:
    """Replace every such layer; parts must not overlap, and hold the same results of every row."""
    consumers = graph.consumers()
    for node in graph.nodes:
        if isinstance(node.op, FullyConnected) and graph.type(node.outputs[0]).size <= LARGEST:
            parts = _parts(graph, consumers, node)
            if parts:
                return split_fully_connected(_replaced(graph, node, parts))
    return graph


def _parts(graph: Graph, consumers: dict[str, list[Node]], node: Node) -> dict[str, Part]:
    """Per slice's output the channels that it holds; empty where some reader takes another form or parts overlap."""
    y = graph.type(node.outputs[0])
    found: dict[str, Part] = {}
    pending = [(node.outputs[0], np.arange(y.size).reshape(1, *y.shape))]
    while pending:
        name, places = pending.pop()
        if name in graph.outputs:
            return {}
        for reader in consumers[name]:
            if is_move(reader):
                pending.append((reader.outputs[0], reader.op.real(places)))
                continue
            part = _part(reader.op.real(places)[0], y) if isinstance(reader.op, Slice) else None
            if part is None:
                return {}
            found[reader.outputs[0]] = part
    every = np.concatenate([p.channels for p in found.values()]) if found else np.zeros(0, int)
    whole = any(len(p.channels) == y.shape[-1] for p in found.values())
    return found if every.size and len(np.unique(every)) == every.size and not whole else {}


def _part(places: Array, y: TensorType) -> Part | None:
    """What lies at `places`; None where it is not the same channels of every row."""
    rows, count = y.size // y.shape[-1], y.shape[-1]
    channels = np.unique(places % count)
    if places.size != rows * len(channels):
        return None
    chain = moves(places // count * len(channels) + np.searchsorted(channels, places % count), (*y.shape[:-1], len(channels)))
    return None if chain is None else Part(channels, chain)


def _replaced(graph: Graph, node: Node, parts: dict[str, Part]) -> Graph:
    """The graph with a layer per part, each seen as the slice that it stands for."""
    names, producers, y = Names(graph), graph.producers(), graph.type(node.outputs[0])
    x, weights, bias = node.inputs
    new: dict[str, list[Node]] = {}
    tensors: list[Tensor] = []
    for name, part in parts.items():
        own = [select(graph.tensors[n], names.fresh(f"{n}_part"), part.channels, 0) for n in (weights, bias)]
        origin, at, t = producers[name].name, names.fresh(f"{name}_rows"), replace(y, shape=(*y.shape[:-1], len(part.channels)))
        new[origin] = [replace(node, name=at, inputs=(x, *(c.name for c in own)), outputs=(at,))]
        tensors += [*own, Tensor(at, t)]
        for i, op in enumerate(part.chain or (Reshape(t.shape),)):
            last, t = i >= len(part.chain) - 1, op.infer(t)
            result = name if last else names.fresh(f"{name}_moved")
            new[origin].append(Node(origin if last else result, op, (at,), (result,)))
            tensors += [] if last else [Tensor(result, t)]
            at = result
    return graph.with_nodes((m for n in graph.nodes for m in new.get(n.name, [n])), tensors)
