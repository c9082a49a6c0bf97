"""Finds an LSTM cell that an exporter has spelled out in primitive nodes, whatever its matrices are made of.

``c = sigmoid(f) c' + sigmoid(i) tanh(g)``, ``h = sigmoid(o) tanh(c)``, where i, f, g and o are affine in two tensors. The
affine part may be any mesh of matrix products, moves, sums and constant factors (a tensor train, say): it is folded into
one dense matrix per tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.activations import Sigmoid, Tanh
from edgeq.ops.add import Add
from edgeq.ops.concat import Concat
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.lstm import Lstm
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import Names, constant, repeated

MAX_ELEMENTS = 2**24  # of a folded matrix, and of an activation while it is folded
GATES = 4


@dataclass(frozen=True)
class _Cell:
    """The nodes that make c and h, and the tensors around them: the pre-activations in the order i, f, g, o."""

    c_node: Node
    h_node: Node
    c: str
    gates: tuple[str, str, str, str]


@repeated
def recognise_lstm(graph: Graph) -> Graph | None:
    """Replace every cell that is found by an Lstm of one step; the nodes before it die if nothing else reads them."""
    for cell in _cells(graph):
        replaced = _replace(graph, cell)
        if replaced is not None:
            return replaced
    return None


# The pattern


def _operands(producers: dict[str, Node], name: str, kind: type[Op]) -> tuple[str, ...] | None:
    """The inputs of the node of a class that computes `name`; None where another does. A fused clamp does not match."""
    node = producers.get(name)
    if node is None or type(node.op) is not kind or getattr(node.op, "clamp", NO_CLAMP) != NO_CLAMP:
        return None
    return node.inputs


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


# The affine part


class _Region:
    """What computes some tensors from others by affine nodes alone, followed back as far as they go."""

    def __init__(self, graph: Graph, targets: Sequence[str]) -> None:
        self.graph, self.targets = graph, targets
        producers = graph.producers()
        inside: set[str] = set()
        self.leaves: dict[str, None] = {}
        pending = list(targets)
        while pending:
            name = pending.pop()
            if name in inside or graph.tensors[name].is_constant:
                continue
            node = producers.get(name)
            if node is None or not self._is_affine(node):
                self.leaves[name] = None
                continue
            inside.add(name)
            pending += node.inputs
        self.nodes = [n for n in graph.nodes if n.outputs[0] in inside]

    def _is_affine(self, node: Node) -> bool:
        if getattr(node.op, "clamp", NO_CLAMP) != NO_CLAMP:
            return False
        fixed = [self.graph.tensors[n].is_constant for n in node.inputs]
        if isinstance(node.op, FullyConnected):
            return all(fixed[1:])
        return any(fixed) if isinstance(node.op, Mul) else node.op.traits.moves or isinstance(node.op, Add | Concat)

    def narrowest(self, leaf: str) -> str:
        """The smallest tensor on the way from a leaf to where it meets others or branches; the last of several."""
        best = name = leaf
        while True:
            readers = [n for n in self.nodes if name in n.inputs]
            if len(readers) != 1 or name in self.targets or not (readers[0].op.traits.moves or isinstance(readers[0].op, FullyConnected)):
                return best
            name = readers[0].outputs[0]
            if self.graph.type(name).size <= self.graph.type(best).size:
                best = name

    def _run(self, known: dict[str, Array], vectors: int) -> dict[str, Array]:
        """All that follows from `known` values ``[V, *shape]``."""
        values: dict[str, Array] = dict(known)
        for node in self.nodes:
            if node.outputs[0] in values or not any(n in values for n in node.inputs):
                continue
            x = []
            for name in node.inputs:
                data = self.graph.tensors[name].data
                x.append(values[name] if name in values else data if data is not None else self.rest[name].repeat(vectors, axis=0))
            values[node.outputs[0]] = node.op.real(*x)
        return values

    def solve(self, leaves: Sequence[str]) -> tuple[list[Array], Array]:
        """Per leaf the dense ``[targets, size of the leaf]``, and the targets where all leaves are zero; float32."""
        self.rest: dict[str, Array] = {}
        self.rest = self._run({n: np.zeros((1, *self.graph.type(n).shape), np.float32) for n in leaves}, 1)
        bias = self._targets(self.rest)[0]
        return [self._matrix(n, bias) for n in leaves], bias

    def _targets(self, values: dict[str, Array]) -> Array:
        vectors = max(len(values[n]) for n in self.targets if n in values)
        found = [values[n] if n in values else self.rest[n].repeat(vectors, axis=0) for n in self.targets]
        return np.concatenate([v.reshape(vectors, -1) for v in found], axis=1)

    def _matrix(self, leaf: str, bias: Array) -> Array:
        size = self.graph.type(leaf).size
        step = max(1, MAX_ELEMENTS // max(self.graph.type(n.outputs[0]).size for n in self.nodes))
        columns = []
        for start in range(0, size, step):
            units = np.eye(size, dtype=np.float32)[start : start + step]
            columns.append(self._targets(self._run({leaf: units.reshape(-1, *self.graph.type(leaf).shape)}, len(units))) - bias)
        return np.ascontiguousarray(np.concatenate(columns).T, np.float32)


def _replace(graph: Graph, cell: _Cell) -> Graph | None:
    """The graph with the cell as an Lstm; None where its affine part does not fit one."""
    h_name, c_name = cell.h_node.outputs[0], cell.c_node.outputs[0]
    types = [graph.type(n) for n in (*cell.gates, cell.c, c_name, h_name)]
    units = types[0].size
    if any(t.size != units or t != TensorType(t.shape) for t in types):
        return None
    region = _Region(graph, cell.gates)
    if len(region.leaves) != 2 or not region.nodes:
        return None
    found = {region.narrowest(n): n for n in region.leaves}
    states = [n for n in found if graph.type(n).size == units]
    if len(found) != 2 or not states:
        return None
    h = min(states, key=lambda n: found[n] not in graph.inputs)  # the state is fed from outside, if either is
    x = next(n for n in found if n != h)
    inputs = graph.type(x).size
    if GATES * units * max(inputs, units) > MAX_ELEMENTS:
        return None
    (w, r), b = region.solve([x, h])

    names = Names(graph)
    parameters = [constant(names.fresh(f"{h_name}/{n}"), a) for n, a in (("weights", w), ("recurrent", r), ("bias", b))]
    tensors: list[Tensor] = [*parameters]
    nodes: list[Node] = []

    def shaped(source: str, shape: tuple[int, ...], name: str = "") -> str:
        """`source` in another shape."""
        if graph.tensors.get(source, tensors[-1]).type.shape == shape:
            return source
        name = name or names.fresh(f"{source}/row")
        tensors.append(Tensor(name, TensorType(shape)))
        nodes.append(Node(f"{name}/reshape", Reshape(shape), (source,), (name,)))
        return name

    operands = (shaped(x, (1, inputs)), *(p.name for p in parameters), shaped(h, (1, units)), shaped(cell.c, (1, units)))
    row = (1, units)
    outputs = tuple(n if graph.type(n).shape == row else names.fresh(f"{n}/row") for n in (h_name, c_name))
    tensors += [Tensor(n, TensorType(row)) for n in outputs if n not in graph.tensors]
    nodes.append(Node(cell.h_node.name, Lstm(), operands, outputs))
    for made, wanted in zip(outputs, (h_name, c_name), strict=True):
        if made != wanted:
            nodes.append(Node(f"{wanted}/reshape", Reshape(graph.type(wanted).shape), (made,), (wanted,)))
    at = graph.nodes.index(cell.c_node)
    rest = [n for n in graph.nodes[at + 1 :] if n is not cell.h_node]
    return graph.with_nodes([*graph.nodes[:at], *nodes, *rest], tensors)
