"""A float graph between quantizing and dequantizing stand-ins -> the int8 graph that it describes.

Every float tensor gets the scale of the QuantizeLinear behind it or the DequantizeLinear before it; operators that
only move or select values hand a scale on. Where two scales meet, a requantize node stands. A graph in which a tensor has
no scale after all that stays float and has those that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeq.frontends.onnx.affine import fold_into_layers, join_pairs
from edgeq.frontends.onnx.casts import FromInteger, ToInteger
from edgeq.frontends.onnx.constants import Constants
from edgeq.frontends.onnx.values import Stored
from edgeq.ir import DType, Graph, Node, Op, QParams, Tensor, TensorType
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.ops.requantize import Requantize
from edgeq.ops.reshape import Reshape
from edgeq.passes.compose import compose
from edgeq.passes.remove_dead import remove_dead


def absorb(graph: Graph, stored: Mapping[str, Stored]) -> Graph:
    """Remove the stand-ins; the graph itself where it has none.

    Args:
        stored: constant -> the integers that it was dequantized from.

    Raises:
        EdgeqError: weights are quantized in a way that no kernel reads.
    """
    if all(t.type.dtype is DType.FLOAT32 for t in graph.tensors.values()):
        return graph
    held = dict(stored)
    folded = join_pairs(fold_into_layers(remove_dead(compose(graph)), held))
    known = scales(folded)
    whole = all(n in known for n in (*folded.inputs, *(n.outputs[0] for n in folded.nodes))) and all(map(_plain, folded.nodes))
    return _Absorber(folded, held, known).run() if whole else bearing(graph)


def _plain(node: Node) -> bool:
    """Whether the scales of its first input, its output and one tensor of weights say all of its arithmetic: not of a recurrent layer."""
    return len(node.outputs) == 1 and len([i for i in node.op.parameters if i not in node.op.traits.real]) <= 2


def bearing(graph: Graph) -> Graph:
    """A graph of which parts have scales and parts have not, as a float one: behind every tensor that has a scale it is rounded to it."""
    tensors = {n: t if t.is_constant else replace(t, type=TensorType(t.type.shape)) for n, t in graph.tensors.items()}
    nodes: list[Node] = []
    renames: dict[str, str] = {}
    for name in graph.inputs:
        if (q := graph.type(name).q) is not None:
            renames[name] = f"{name}.rounded"
            while renames[name] in tensors:
                renames[name] += "'"
            tensors[renames[name]] = Tensor(renames[name], TensorType(graph.type(name).shape))
            nodes.append(Node(f"{name}/round", FakeQuantize(scale=q.scale[0], zero_point=q.zero_point), (name,), (renames[name],)))
    for node in graph.nodes:
        op = node.op
        if isinstance(op, ToInteger):
            op = FakeQuantize(scale=op.q.scale[0], zero_point=op.q.zero_point)
        elif isinstance(op, FromInteger):
            op = Reshape(graph.type(node.outputs[0]).shape)
        nodes.append(replace(node, op=op, inputs=tuple(renames.get(n, n) for n in node.inputs)))
    return replace(graph, tensors=tensors, nodes=()).with_nodes(nodes)


def scales(graph: Graph) -> dict[str, QParams]:
    """Scale and zero point of every activation that the stand-ins or natural ranges tell."""
    found = {n: t.type.q for n, t in graph.tensors.items() if t.type.q is not None and not t.is_constant}
    for node in graph.nodes:
        if isinstance(node.op, FromInteger) and node.inputs[0] in found:
            found[node.outputs[0]] = found[node.inputs[0]]
    consumers = graph.consumers()
    activations = [*graph.inputs, *(n.outputs[0] for n in graph.nodes)]
    for name in reversed(activations):
        if name not in found and (wish := _wish(consumers[name], found)):
            found[name] = wish
    for node in graph.nodes:
        output, natural = node.outputs[0], node.op.traits.natural
        if output in found:
            continue
        if _same_range(node) and node.inputs[0] in found:
            found[output] = found[node.inputs[0]]
        elif natural is not None:
            found[output] = QParams((natural.scale,), natural.zero_point)
    return found


def _same_range(node: Node) -> bool:
    """Whether its input's scale serves its output: a clamp's serves what it clamps as well, saturating loses nothing."""
    return node.op.traits.keeps_scale("single") or node.op.traits.saturates


def _wish(readers: list[Node], found: Mapping[str, QParams]) -> QParams | None:
    """What the readers of a float tensor want: the finest scale that it is quantized to, else one behind a mere move."""
    wishes = [n.op.q for n in readers if isinstance(n.op, ToInteger)]
    if not wishes:
        wishes = [found[n.outputs[0]] for n in readers if _same_range(n) and n.outputs[0] in found]
    return min(wishes, key=lambda q: q.scale[0], default=None)


class _Absorber:
    def __init__(self, graph: Graph, stored: Mapping[str, Stored], scales: Mapping[str, QParams]) -> None:
        self.graph, self.scales = graph, scales
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.alias: dict[str, str] = {}
        self.constants = Constants(graph, stored, self.tensors)

    def run(self) -> Graph:
        for name in self.graph.inputs:
            self._add(name, self.graph.type(name).shape, self.scales[name])
        for node in self.graph.nodes:
            if isinstance(node.op, FromInteger):
                self.alias[node.outputs[0]] = self._at(node.inputs[0])
            elif isinstance(node.op, ToInteger):
                self._to_integer(node, node.op.q)
            else:
                self._compute(node)
        renames = self._outputs()

        def final(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(renames.get(n, n) for n in names)

        nodes = [replace(n, inputs=final(n.inputs), outputs=final(n.outputs)) for n in self.nodes]
        tensors = [replace(t, name=renames.get(t.name, t.name)) for t in self.tensors.values()]
        return replace(self.graph, nodes=(), tensors={}, law="single").with_nodes(nodes, tensors)

    def _at(self, name: str) -> str:
        """The tensor that now holds `name`."""
        return self.alias.get(name, name)

    def _fresh(self, name: str) -> str:
        while name in self.tensors or name in self.graph.tensors:
            name += ".s8"
        return name

    def _add(self, name: str, shape: tuple[int, ...], q: QParams) -> None:
        self.tensors[name] = Tensor(name, TensorType(shape, DType.INT8, q))

    def _node(self, op: Op, inputs: tuple[str, ...], output: str, name: str, q: QParams) -> None:
        self.nodes.append(Node(name, op, inputs, (output,)))
        self._add(output, op.infer(*(self.tensors[i].type for i in inputs)).shape, q)

    def _to_integer(self, node: Node, q: QParams) -> None:
        source = self._at(node.inputs[0])
        if self.tensors[source].type.q == q:
            self.alias[node.outputs[0]] = source
        else:
            self._node(Requantize(), (source,), node.outputs[0], node.name, q)

    def _compute(self, node: Node) -> None:
        """An operator in int8, with a requantize node behind it where it cannot give the scale that is wanted."""
        output, wanted = node.outputs[0], self.scales[node.outputs[0]]
        inputs = self._inputs(node)
        first, natural = self.tensors[inputs[0]].type.q, node.op.traits.natural
        own = wanted
        if node.op.traits.keeps_scale("single") and first is not None:
            own = first
        elif natural is not None and natural.when == "demanded":
            own = QParams((natural.scale,), natural.zero_point)
        if own == wanted:
            self._node(node.op, inputs, output, node.name, wanted)
            return
        inner = self._fresh(f"{output}.unscaled")
        self._node(node.op, inputs, inner, node.name, own)
        self._node(Requantize(), (inner,), output, f"{node.name}/requantize", wanted)

    def _inputs(self, node: Node) -> tuple[str, ...]:
        """The node's inputs, constants in integers."""
        names = list(map(self._at, node.inputs))
        for i in node.op.traits.real:
            names[i] = self.constants.floats(node, node.inputs[i])
        weights = [n for i, n in enumerate(node.inputs) if i in node.op.parameters and i not in node.op.traits.real]
        if len(weights) == 2:
            x = self.tensors[names[0]].type
            names[1], names[2] = self.constants.weights(node, weights[0], weights[1], x)
        elif weights:
            names[1] = self.constants.slope(node, weights[0])
        for i, name in enumerate(node.inputs):
            if i not in node.op.parameters and self.graph.tensors[name].is_constant:
                names[i] = self.constants.operand(name)
        return tuple(names)

    def _outputs(self) -> dict[str, str]:
        """Graph outputs under their names; returns tensor -> final name."""
        renames: dict[str, str] = {}
        for name in self.graph.outputs:
            held = self._at(name)
            if held == name:
                continue
            if held in self.graph.inputs or held in self.graph.outputs or held in renames:
                q = self.tensors[held].type.q
                assert q is not None
                self._node(Reshape(self.graph.type(name).shape), (held,), name, f"{name}/copy", q)
            else:
                renames[held] = name
        return renames
