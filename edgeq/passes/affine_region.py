"""What computes some tensors from others by affine nodes alone: any mesh of matrix products, moves, sums and constant factors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.ops.add import Add
from edgeq.ops.concat import Concat
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.mul import Mul

MAX_ELEMENTS = 2**24  # of a folded matrix, and of an activation while it is folded
PER_MOVE = 4  # multiply-accumulates that moving an element is worth


class Region:
    """The affine nodes that compute some tensors, followed back as far as they go.

    Attributes:
        leaves: the tensors that they start from.
        nodes: in the graph's order.
    """

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

    def reached(self, name: str) -> set[str]:
        """The leaves that a tensor depends on."""
        before = {n.outputs[0]: n.inputs for n in self.nodes}
        found, pending = set(), [name]
        while pending:
            at = pending.pop()
            found |= {at} & self.leaves.keys()
            pending += before.pop(at, ())
        return found

    def of_size(self, leaf: str, size: int) -> str | None:
        """A leaf of a size, else the narrowest tensor behind it if that has the size."""
        return next((n for n in (leaf, self.narrowest(leaf)) if self.graph.type(n).size == size), None)

    def upto(self, name: str) -> list[Node]:
        """The nodes that a tensor is computed by."""
        wanted, found = {name}, []
        for node in reversed(self.nodes):
            if node.outputs[0] in wanted:
                wanted |= set(node.inputs)
                found.append(node)
        return found


def parameters(graph: Graph, nodes: Sequence[Node]) -> int:
    """How many weights there are in nodes."""
    names = {n.inputs[i] for n in nodes for i in n.op.traits.weights}
    return sum(graph.type(n).size for n in names)


def work(graph: Graph, nodes: Sequence[Node]) -> int:
    """Multiply-accumulates of nodes; what moves elements counts `PER_MOVE` for each."""
    total = 0
    for node in nodes:
        moved = node.op.traits.moves and not node.op.traits.view
        total += node.op.macs(*(graph.type(n) for n in node.inputs)) + moved * PER_MOVE * graph.type(node.outputs[0]).size
    return total
