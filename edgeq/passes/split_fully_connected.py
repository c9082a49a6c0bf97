"""A fully connected layer whose results are only read in parts becomes a layer per part: q, k and v of an attention, or gates.

Nothing is copied then, and each part has a scale of its own where the graph is quantized later.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.passes.origins import is_move
from edgeq.passes.rewrite import Names, select

LARGEST = 1 << 20  # results of a layer whose parts are followed


def split_fully_connected(graph: Graph) -> Graph:
    """Replace every such layer; parts must not overlap, and hold the same results of every row."""
    consumers = graph.consumers()
    for node in graph.nodes:
        if isinstance(node.op, FullyConnected) and graph.type(node.outputs[0]).size <= LARGEST:
            parts = _parts(graph, consumers, node)
            if parts:
                return split_fully_connected(_replaced(graph, node, parts))
    return graph


def _parts(graph: Graph, consumers: dict[str, list[Node]], node: Node) -> dict[str, Array]:
    """Per slice's output the channels ``[n]`` that it holds; empty where some reader takes another form or parts overlap."""
    y = graph.type(node.outputs[0])
    found: dict[str, Array] = {}
    pending = [(node.outputs[0], np.arange(y.size).reshape(1, *y.shape))]
    while pending:
        name, places = pending.pop()
        if name in graph.outputs:
            return {}
        for reader in consumers[name]:
            if is_move(reader):
                pending.append((reader.outputs[0], reader.op.real(places)))
                continue
            channels = _channels(reader.op.real(places), y) if isinstance(reader.op, Slice) else None
            if channels is None:
                return {}
            found[reader.outputs[0]] = channels
    every = np.concatenate(list(found.values())) if found else np.zeros(0, int)
    whole = any(len(c) == y.shape[-1] for c in found.values())
    return found if every.size and len(np.unique(every)) == every.size and not whole else {}


def _channels(places: Array, y: TensorType) -> Array | None:
    """The channels whose results lie at `places`, row after row; None where they are no rows of the same channels."""
    rows, count = y.size // y.shape[-1], y.shape[-1]
    if places.size % rows:
        return None
    by_row = places.reshape(rows, -1)
    return by_row[0] if (by_row == np.arange(rows)[:, None] * count + by_row[0]).all() and by_row[0].max() < count else None


def _replaced(graph: Graph, node: Node, parts: dict[str, Array]) -> Graph:
    """The graph with a layer per part, each seen under the shape of the slice that it stands for."""
    names, producers, y = Names(graph), graph.producers(), graph.type(node.outputs[0])
    x, weights, bias = node.inputs
    new: dict[str, list[Node]] = {}
    tensors: list[Tensor] = []
    for name, channels in parts.items():
        own = [select(graph.tensors[n], names.fresh(f"{n}_part"), channels, 0) for n in (weights, bias)]
        result = names.fresh(f"{name}_rows")
        tensors += [*own, Tensor(result, replace(y, shape=(*y.shape[:-1], len(channels))))]
        layer = replace(node, name=result, inputs=(x, *(t.name for t in own)), outputs=(result,))
        view = Node(producers[name].name, Reshape(graph.type(name).shape), (result,), (name,))
        new[producers[name].name] = [layer, view]
    return graph.with_nodes((m for n in graph.nodes for m in new.get(n.name, [n])), tensors)
