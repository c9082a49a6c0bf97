"""Writes an LSTM of one step into a graph, in place of the nodes that spelled it out."""

from __future__ import annotations

from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.lstm import Lstm
from edgeq.ops.lstm_cell import LstmCell
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import Names, constant

GATES = 4


class Writer:
    """Takes the place of the nodes that make the new cell state and the new h, which may be one."""

    def __init__(self, graph: Graph, c_node: Node, h_node: Node) -> None:
        self.graph, self.c_node, self.h_node = graph, c_node, h_node
        self.h, self.c = h_node.outputs[0], c_node.outputs[-1]
        self.units = graph.type(self.h).size
        self.names = Names(graph)
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []

    def layer(self, x: str, h: str, c: str, w: Array, r: Array, b: Array) -> Graph:
        """As an Lstm: ``w [4H, I]``, ``r [4H, H]``, ``b [4H]``."""
        named = [self._constant(n, a) for n, a in (("weights", w), ("recurrent", r), ("bias", b))]
        row = (1, self.units)
        return self._written(Lstm(), (self._shaped(x, (1, w.shape[1])), *named, self._shaped(h, row), self._shaped(c, row)))

    def cell(self, x: str, h: str, bias: Array, c: str) -> Graph:
        """As an LstmCell: x and h what the layers before give, bias ``[4H]``."""
        gates = (1, GATES * self.units)
        return self._written(
            LstmCell(), (self._shaped(x, gates), self._constant("bias", bias), self._shaped(h, gates), self._shaped(c, (1, self.units)))
        )

    def _constant(self, what: str, data: Array) -> str:
        tensor = constant(self.names.fresh(f"{self.h}/{what}"), data)
        self.tensors.append(tensor)
        return tensor.name

    def _shaped(self, source: str, shape: tuple[int, ...]) -> str:
        """`source` in another shape."""
        if self.graph.type(source).shape == shape:
            return source
        name = self.names.fresh(f"{source}/row")
        self.tensors.append(Tensor(name, TensorType(shape)))
        self.nodes.append(Node(f"{name}/reshape", Reshape(shape), (source,), (name,)))
        return name

    def _written(self, op: Op, operands: tuple[str, ...]) -> Graph:
        row, wanted = (1, self.units), (self.h, self.c)
        made = tuple(n if self.graph.type(n).shape == row else self.names.fresh(f"{n}/row") for n in wanted)
        self.tensors += [Tensor(n, TensorType(row)) for n in made if n not in self.graph.tensors]
        self.nodes.append(Node(self.h_node.name, op, operands, made))
        for own, name in zip(made, wanted, strict=True):
            if own != name:
                self.nodes.append(Node(f"{name}/reshape", Reshape(self.graph.type(name).shape), (own,), (name,)))
        nodes = self.graph.nodes
        at = nodes.index(self.c_node)
        rest = [n for n in nodes[at + 1 :] if n is not self.h_node]
        return self.graph.with_nodes([*nodes[:at], *self.nodes, *rest], self.tensors)
