"""Where tensors come from once chains of reshapes and transposes are taken together, and who reads them."""

from __future__ import annotations

from edgeq.ir import Graph, Node
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose
from edgeq.passes.moves import Move, transpose, view
from edgeq.passes.relabel import input_order, is_reduction, sink


def is_move(node: Node) -> bool:
    return isinstance(node.op, Reshape | Transpose)


class Origins:
    """Where every tensor comes from once chains of moves are taken together, and who reads it.

    Attributes:
        real: the nodes that are no moves.
        readers: per tensor the real nodes that read it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.real = [n for n in graph.nodes if not is_move(n)]
        self.readers: dict[str, list[Node]] = {}
        for node in self.real:
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(node)
        self._origin: dict[str, tuple[str, Move]] = {}
        for node in graph.nodes:
            self._origin[node.outputs[0]] = self._find(node)
        self.leaves: dict[str, list[str]] = {}  # root -> tensors with readers that are moved forms of it
        for name in dict.fromkeys([*self.readers, *graph.outputs]):
            self.leaves.setdefault(self.origin(name)[0], []).append(name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.type(name).shape

    def origin(self, name: str) -> tuple[str, Move]:
        """The tensor that an operator, not a move, computes and the move from it to `name`."""
        if name not in self._origin:
            self._origin[name] = (name, view(self.shape(name), self.shape(name)))
        return self._origin[name]

    def _find(self, node: Node) -> tuple[str, Move]:
        name, shape = node.inputs[0], self.shape(node.inputs[0])
        if isinstance(node.op, Transpose):
            own = transpose(shape, node.op.perm)
        elif isinstance(node.op, Reshape):
            own = view(shape, node.op.shape)
        else:
            return node.outputs[0], view(self.shape(node.outputs[0]), self.shape(node.outputs[0]))
        root, move = self.origin(name)
        whole = move.then(own)
        return (root, whole) if whole else (name, own)

    def is_free(self, name: str, move: Move, besides: frozenset[str] = frozenset()) -> bool:
        """Whether all readers of `name`, which is its root moved by `move`, take the move upon themselves.

        Nodes that compute one of `besides` are left out of account.
        """
        if name in self.graph.outputs:
            return False
        for node in self.readers[name]:
            if node.outputs[0] in besides:
                continue
            if isinstance(node.op, FullyConnected) and node.inputs[0] == name and input_order(move) is not None:
                continue
            if not (is_reduction(node.op) and sink(node.op, self.shape(name), move)):
                return False
        return True
