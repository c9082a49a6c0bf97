"""Finds an LSTM cell that an exporter has spelled out in primitive nodes, whatever its matrices are made of.

``c = sigmoid(f) c' + sigmoid(i) tanh(g)``, ``h = sigmoid(o) tanh(c)``, where i, f, g and o are affine in two tensors. The
affine part may be any mesh of matrix products, moves, sums and constant factors: it is folded into one dense matrix per
tensor, but for factors (a tensor train, say) that are fewer than the matrix has weights. These stay layers of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array, Graph, Node, Op, TensorType
from edgeq.ops.activations import Sigmoid, Tanh
from edgeq.ops.add import Add
from edgeq.ops.mul import Mul
from edgeq.passes.affine_region import MAX_ELEMENTS, Region, parameters
from edgeq.passes.lstm_writer import GATES, Writer
from edgeq.passes.rewrite import computes, repeated


@dataclass(frozen=True)
class _Cell:
    """The nodes that make c and h, and the tensors around them: the pre-activations in the order i, f, g, o."""

    c_node: Node
    h_node: Node
    c: str
    gates: tuple[str, str, str, str]


@repeated
def recognise_lstm(graph: Graph) -> Graph | None:
    """Replace every cell that is found by an Lstm of one step, or an LstmCell behind factors; what nothing reads any more is dead."""
    for cell in _cells(graph):
        replaced = _replace(graph, cell)
        if replaced is not None:
            return replaced
    return None


# The pattern


def _operands(producers: dict[str, Node], name: str, kind: type[Op]) -> tuple[str, ...] | None:
    """The inputs of the node of a class that computes `name`; None where another does. A fused clamp does not match."""
    node = producers.get(name)
    return node.inputs if node is not None and computes(node, kind) else None


def _cells(graph: Graph) -> Iterator[_Cell]:
    producers = graph.producers()
    readers = graph.consumers()

    def argument(name: str, kind: type[Op]) -> str | None:
        found = _operands(producers, name, kind)
        return found[0] if found else None

    def gated(name: str) -> Iterator[tuple[str, str]]:
        """A product read as sigmoid(first) times second, in both ways."""
        for a, b in ((a, b) for pair in [_operands(producers, name, Mul) or ()] if pair for a, b in (pair, pair[::-1])):
            gate = argument(a, Sigmoid)
            if gate is not None:
                yield gate, b

    for node in graph.nodes:
        terms = _operands(producers, node.outputs[0], Add) if node.op == Add() else None
        for kept, new in (terms, terms[::-1]) if terms else ():
            for f, c in gated(kept):
                for i, fresh in gated(new):
                    g = argument(fresh, Tanh)
                    if g is None or argument(c, Tanh) is not None:
                        continue
                    for tanh in readers[node.outputs[0]]:
                        for product in readers[tanh.outputs[0]] if isinstance(tanh.op, Tanh) else ():
                            for o, other in gated(product.outputs[0]):
                                if other == tanh.outputs[0] and product.op == Mul():
                                    yield _Cell(node, product, c, (i, f, g, o))


# The replacement


def _replace(graph: Graph, cell: _Cell) -> Graph | None:
    """The graph with the cell as one node; None where its affine part does not fit one."""
    h_name, c_name = cell.h_node.outputs[0], cell.c_node.outputs[0]
    types = [graph.type(n) for n in (*cell.gates, cell.c, c_name, h_name)]
    units = types[0].size
    if any(t.size != units or t != TensorType(t.shape) for t in types):
        return None
    region = Region(graph, cell.gates)
    if len(region.leaves) != 2 or not region.nodes:
        return None
    states = {n: at for n in region.leaves if (at := region.of_size(n, units))}
    if not states:
        return None
    fed = min(states, key=lambda n: n not in graph.inputs)  # the state is fed from outside, if either is
    (read,) = region.leaves.keys() - {fed}
    h, x = states[fed], region.narrowest(read)
    inputs = graph.type(x).size
    writer = Writer(graph, cell.c_node, cell.h_node)
    before = [*region.upto(h), *region.upto(x)]
    dense = GATES * units * (inputs + units) + parameters(graph, before)
    terms = _terms(region, cell.gates, read, fed) if parameters(graph, region.nodes) < dense else None
    if terms is not None:
        own, fed_back, bias = terms
        return writer.cell(own, fed_back, bias, cell.c)
    if GATES * units * max(inputs, units) > MAX_ELEMENTS:
        return None
    (w, r), b = region.solve([x, h])
    return writer.layer(x, h, cell.c, w, r, b)


def _terms(region: Region, gates: Sequence[str], x: str, h: str) -> tuple[str, str, Array] | None:
    """What x adds to the gates, what h adds, both one tensor of the gates one after the other, and the bias ``[4H]``; None if they are
    no sum of such."""
    total = _joined(region.graph, gates)
    if total is None:
        return None
    adders = {n.outputs[0]: n.inputs for n in region.nodes if n.op == Add()}
    size = region.graph.type(total).size
    bias, found, pending = np.zeros(size, np.float32), dict[frozenset[str], str](), [total]
    while pending:
        name = pending.pop()
        tensor = region.graph.tensors[name]
        if tensor.data is not None:
            bias += np.broadcast_to(tensor.data, region.graph.type(total).shape).reshape(-1)
        elif name in adders:
            pending += adders[name]
        elif tensor.type.size != size or frozenset(region.reached(name)) in found:
            return None
        else:
            found[frozenset(region.reached(name))] = name
    both = [found.get(frozenset({leaf})) for leaf in (x, h)]
    return (both[0], both[1], bias) if len(found) == 2 and both[0] and both[1] else None


def _joined(graph: Graph, gates: Sequence[str]) -> str | None:
    """The tensor that holds nothing but the gates, one after the other; None where there is none."""
    producers = graph.producers()
    roots, places = set(), []
    for name in gates:
        moves: list[Node] = []
        while name in producers and producers[name].op.traits.moves:
            moves.append(producers[name])
            name = producers[name].inputs[0]
        roots.add(name)
        at = np.arange(graph.type(name).size).reshape(1, *graph.type(name).shape)
        for node in reversed(moves):
            at = node.op.real(at)
        places.append(at.reshape(-1))
    every = np.concatenate(places)
    (root,) = roots if len(roots) == 1 else ("",)
    return root if root and np.array_equal(every, np.arange(graph.type(root).size)) else None
