"""A state that is joined of several tensors becomes several states, so that each has a type of its own: h int8, c int16."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Tensor
from edgeq.ops.concat import Concat
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import Names

MOST = 2**22  # elements of a state that are followed


@dataclass(frozen=True)
class Part:
    """A tensor that is part of a state: it holds the elements at `places` of it, in order."""

    name: str
    places: Array


def split_states(graph: Graph) -> Graph:
    """Split every state whose next value is a concatenation of tensors, each of which is read by itself.

    The graph itself where there is none. The new states are named after the old one, with a number.
    """
    states: list[tuple[str, str]] = []
    first = graph
    for pair in graph.states:
        parts = list(_parts(graph, pair[1]))
        small = graph.type(pair[1]).dtype is DType.FLOAT32 and graph.type(pair[1]).size <= MOST
        readers = _readers(graph, pair[0], parts) if len(parts) > 1 and small else None
        if readers is None:
            states.append(pair)
            continue
        graph, pairs = _split(graph, pair, parts, readers)
        states += pairs
    return graph if graph is first else replace(graph, states=tuple(states))


def _parts(graph: Graph, name: str) -> Iterator[Part]:
    """The tensors that a tensor is concatenated of, through moves of the whole."""
    producers = graph.producers()
    shape = graph.type(name).shape
    pending = [(name, np.arange(graph.type(name).size).reshape(shape))]
    while pending:
        name, places = pending.pop()
        node = producers.get(name)
        if node is not None and isinstance(node.op, Concat):
            edges = np.cumsum([graph.type(i).shape[node.op.axis] for i in node.inputs])[:-1]
            pending += list(zip(node.inputs, np.split(places, edges, node.op.axis), strict=True))[::-1]
        elif node is not None and _joins(graph, node.inputs[0]) and node.op.traits.moves:
            source = graph.type(node.inputs[0])
            order = node.op.real(np.arange(source.size).reshape(1, *source.shape))[0].ravel()
            back = np.empty(source.size, np.int64)
            if len(order) != source.size or len(np.unique(order)) != source.size:
                yield Part(name, places.ravel())
                continue
            back[order] = places.ravel()
            pending.append((node.inputs[0], back.reshape(source.shape)))
        else:
            yield Part(name, places.ravel())


def _joins(graph: Graph, name: str) -> bool:
    """Whether a tensor is a concatenation, moved as a whole or not."""
    producers = graph.producers()
    while (node := producers.get(name)) is not None and node.op.traits.moves and len(node.inputs) == 1:
        name = node.inputs[0]
    return node is not None and isinstance(node.op, Concat)


def _readers(graph: Graph, name: str, parts: list[Part]) -> dict[str, int] | None:
    """Tensors that are nothing but one part of a state, and which: all reading of the state goes through them. None where it does not."""
    if name in graph.outputs or any(graph.tensors[p.name].is_constant or p.name in graph.inputs for p in parts):
        return None
    consumers = graph.consumers()
    found: dict[str, int] = {}
    pending = [(name, np.arange(graph.type(name).size).reshape(graph.type(name).shape))]
    while pending:
        name, places = pending.pop()
        for node in consumers[name]:
            if not node.op.traits.moves or len(node.inputs) != 1 or node.outputs[0] in graph.outputs:
                return None
            moved = node.op.real(places[None])[0].astype(np.int64)
            own = [k for k, p in enumerate(parts) if np.array_equal(p.places, moved.ravel())]
            if own:
                found[node.outputs[0]] = own[0]
            else:
                pending.append((node.outputs[0], moved))
    return found


def _split(graph: Graph, pair: tuple[str, str], parts: list[Part], readers: dict[str, int]) -> tuple[Graph, list[tuple[str, str]]]:
    """The graph with one state per part, and the states."""
    names = Names(graph)
    inputs = {k: names.fresh(f"{pair[0]}.{k}") for k in sorted(set(readers.values()))}
    tensors = [Tensor(n, graph.type(parts[k].name)) for k, n in inputs.items()]
    nodes: list[Node] = []
    for node in graph.nodes:
        at = readers.get(node.outputs[0])
        if at is None:
            nodes.append(node)
        else:
            nodes.append(replace(node, op=Reshape(graph.type(node.outputs[0]).shape), inputs=(inputs[at],)))
    states, outputs = [], {}
    for k, name in inputs.items():
        own = names.fresh(f"{pair[1]}.{k}")
        tensors.append(Tensor(own, graph.type(parts[k].name)))
        outputs[own] = parts[k].name
        nodes.append(Node(own, Reshape(graph.type(own if own in graph.tensors else parts[k].name).shape), (parts[k].name,), (own,)))
        states.append((name, own))
    given = [x for n in graph.inputs for x in (inputs.values() if n == pair[0] else [n])]
    results = [x for n in graph.outputs for x in (outputs if n == pair[1] else [n])]
    kept = tuple(s for s in graph.states if s != pair)
    bare = replace(graph, inputs=tuple(given), outputs=tuple(results), states=kept)
    return bare.with_nodes(_needed(bare, nodes), tensors), states


def _needed(graph: Graph, nodes: list[Node]) -> list[Node]:
    """Nodes without those that only served the joined state."""
    wanted = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]
