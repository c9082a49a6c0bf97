"""Factors and terms per channel between a layer and its quantizer (batch normalization, separate biases) go into the layer.

The weights' integers stay what they are: a factor goes into their scales.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.frontends.onnx.values import Stored
from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose


def fold_into_layers(graph: Graph, stored: dict[str, Stored]) -> Graph:
    """Fold every Mul and Add of constants that directly follows a layer, up to transposes and reshapes.

    Args:
        stored: constant -> its integers; changed constants are stored again.
    """
    while (folded := _fold_one(graph, stored)) is not None:
        graph = folded
    return graph


def _fold_one(graph: Graph, stored: dict[str, Stored]) -> Graph | None:
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        if node.op.kind() not in ("mul", "add") or node.op.clamp != NO_CLAMP:  # type: ignore[attr-defined]
            continue
        operand = _operand(graph, node)
        found = _layer_behind(graph, producers, consumers, operand[0]) if operand else None
        if operand is None or found is None:
            continue
        values = _per_channel(graph, found[0], found[1], operand[1])
        if values is not None:
            return _folded(graph, stored, found[0], node, operand[0], values)
    return None


def _layer_behind(graph: Graph, producers: dict[str, Node], consumers: dict[str, list[Node]], name: str) -> tuple[Node, list[Node]] | None:
    """The layer with constant weights that computes a tensor for one reader, and the moves in between."""
    moves: list[Node] = []
    while name in producers and name not in graph.outputs and len(consumers[name]) == 1:
        node = producers[name]
        if isinstance(node.op, Reshape | Transpose):
            moves.insert(0, node)
            name = node.inputs[0]
            continue
        constant = node.op.traits.linear is not None and all(graph.tensors[n].is_constant for n in node.inputs[1:3])
        return (node, moves) if constant and node.op.clamp == NO_CLAMP else None  # type: ignore[attr-defined]
    return None


def _per_channel(graph: Graph, layer: Node, moves: list[Node], fixed: Array) -> Array | None:
    """float64 ``[channels]``: the constant as one value per output channel of the layer; None where it is not that."""
    shape = graph.type(layer.outputs[0]).shape
    channel = np.broadcast_to(np.arange(shape[-1]), shape)
    for node in moves:
        channel = node.op.real(channel[None])[0]
    try:
        spread = np.broadcast_to(fixed, channel.shape).astype(np.float64).ravel()
    except ValueError:
        return None
    order = channel.ravel().astype(np.int64)
    values = np.zeros(shape[-1])
    values[order] = spread
    return values if np.array_equal(values[order], spread) else None


def _folded(graph: Graph, stored: dict[str, Stored], layer: Node, node: Node, source: str, values: Array) -> Graph:
    """The graph without `node`, whose constant is in the layer."""
    names = [_fresh(graph, f"{layer.outputs[0]}.{part}") for part in ("weights", "bias")]
    w, b = (graph.tensors[n].data for n in layer.inputs[1:3])
    assert w is not None and b is not None
    tensors = []
    inputs = list(layer.inputs)
    if node.op.kind() == "mul":
        assert layer.op.traits.linear is not None
        axis = layer.op.traits.linear.axis
        across = [-1 if i == axis else 1 for i in range(w.ndim)]
        tensors.append(_constant(names[0], w * values.reshape(across)))
        held = stored.get(layer.inputs[1])
        if held and (scaled := _scaled(held, values, axis)):
            stored[names[0]] = scaled
        inputs[1], bias = names[0], b * values
    else:
        bias = b + values
    tensors.append(_constant(names[1], bias))
    inputs[2] = names[1]
    output = node.outputs[0]
    nodes = []
    for n in graph.nodes:
        if n is node:
            continue
        n = replace(n, inputs=tuple(inputs)) if n is layer else n
        nodes.append(replace(n, outputs=(output,)) if n.outputs == (source,) else n)
    return graph.with_nodes(nodes, tensors)


def _scaled(held: Stored, values: Array, axis: int) -> Stored | None:
    """Integers with the factors in their scales; a negative factor turns the signs of symmetric ones."""
    fits = held.data.dtype == np.int8 and (held.axis in (None, axis) or len(held.scale) == 1)
    turns = (values < 0).any()
    if not fits or (values == 0).any() or (turns and (held.zero_point != 0 or held.data.min() == -128)):
        return None
    across = [-1 if i == axis else 1 for i in range(held.data.ndim)]
    scale = (np.broadcast_to(held.scale, values.shape) * np.abs(values)).astype(np.float32)
    return Stored((held.data * np.sign(values).astype(np.int8).reshape(across)).astype(np.int8), held.zero_point, scale, axis)


def _constant(name: str, data: Array) -> Tensor:
    return Tensor(name, TensorType(data.shape), np.ascontiguousarray(data, np.float32))


def _fresh(graph: Graph, name: str) -> str:
    while name in graph.tensors:
        name += "'"
    return name


def join_pairs(graph: Graph) -> Graph:
    """A Mul and an Add of constants along one axis become a depthwise convolution with a 1x1 kernel: one scale, not two."""
    producers, consumers = graph.producers(), graph.consumers()
    nodes: list[Node] = []
    tensors: list[Tensor] = []
    for node in graph.nodes:
        pair = _pair(graph, producers, consumers, node)
        if pair is None:
            nodes.append(node)
            continue
        before, source, factor, term, axis = pair
        nodes.remove(before)
        made, new = _depthwise(graph, node, source, factor, term, axis)
        nodes += made
        tensors += new
    return graph.with_nodes(nodes, tensors) if tensors else graph


def _operand(graph: Graph, node: Node) -> tuple[str, Array] | None:
    """The computed input and the constant of a binary node."""
    a, b = graph.node_inputs(node)
    x, fixed = (b, a) if a.is_constant else (a, b)
    if fixed.data is None or x.is_constant or x.type.shape != graph.type(node.outputs[0]).shape:
        return None
    return x.name, fixed.data


Pair = tuple[Node, str, Array, Array, int]


def _pair(graph: Graph, producers: dict[str, Node], consumers: dict[str, list[Node]], node: Node) -> Pair | None:
    """The Mul in front of an Add, its input, factor and term ``[channels]`` and the axis that they run along."""
    found = _operand(graph, node) if node.op.kind() == "add" else None
    before = producers.get(found[0]) if found and len(consumers[found[0]]) == 1 and found[0] not in graph.outputs else None
    inner = _operand(graph, before) if before is not None and before.op.kind() == "mul" else None
    if found is None or before is None or inner is None:
        return None
    shape = graph.type(node.outputs[0]).shape
    axes = {i for c in (found[1], inner[1]) for i, n in enumerate(c.shape) if n > 1}
    if not shape or len(axes) > 1:
        return None
    axis = axes.pop() if axes else len(shape) - 1
    factor, term = (np.broadcast_to(c.ravel(), shape[axis]) for c in (inner[1], found[1]))
    return before, inner[0], factor, term, axis


def _depthwise(graph: Graph, node: Node, source: str, factor: Array, term: Array, axis: int) -> tuple[list[Node], list[Tensor]]:
    """The nodes and tensors that take the place of both: the axis moved last, the convolution, the axis moved back."""
    name, shape = node.outputs[0], graph.type(node.outputs[0]).shape
    last = (*(a for a in range(len(shape)) if a != axis), axis)
    moved = tuple(shape[a] for a in last)
    image = (1, 1, graph.type(name).size // shape[axis], shape[axis])
    back = tuple(np.argsort(last).tolist())
    join = DepthwiseConv2d(clamp=node.op.clamp)  # type: ignore[attr-defined]
    steps: list[Op] = [Transpose(last), Reshape(image), join, Reshape(moved), Transpose(back)]
    w = _constant(_fresh(graph, f"{name}.factor"), factor.reshape(1, 1, 1, -1))
    b = _constant(_fresh(graph, f"{name}.term"), term)
    nodes, tensors = [], [w, b]
    for i, (op, form) in enumerate(zip(steps, (moved, image, image, moved, shape), strict=True)):
        output = name if i == len(steps) - 1 else _fresh(graph, f"{name}.step{i}")
        inputs = (source, w.name, b.name) if isinstance(op, DepthwiseConv2d) else (source,)
        nodes.append(Node(node.name if isinstance(op, DepthwiseConv2d) else f"{node.name}/step{i}", op, inputs, (output,)))
        tensors.append(Tensor(output, TensorType(form)))
        source = output
    return nodes, tensors
