"""Turns convolutions that see a single pixel into fully connected layers, whose kernels take more output channels at a time."""

from __future__ import annotations

from dataclasses import replace

from edgeq.ir import Graph, Node, Tensor
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.passes.rewrite import Names, constant


def flatten_convolutions(graph: Graph) -> Graph:
    """1x1 windows on images of one pixel with constant weights; the shapes of input and output stay, the weights are ``[O, C]``."""
    names, made = Names(graph), list[Tensor]()
    nodes = [_flattened(graph, n, names, made) for n in graph.nodes]
    return graph.with_nodes(nodes, made) if made else graph


def _flattened(graph: Graph, node: Node, names: Names, made: list[Tensor]) -> Node:
    op = node.op
    if not isinstance(op, Conv2d) or op.groups != 1 or any(op.pads) or graph.type(node.inputs[0]).shape[1:3] != (1, 1):
        return node
    weights = graph.tensors[node.inputs[1]]
    if weights.data is None or weights.type.shape[1:3] != (1, 1):
        return node
    flat = constant(names.fresh(f"{weights.name}.matrix"), weights.data.reshape(len(weights.data), -1), weights.type.q)
    matrix = replace(flat, format=weights.format)
    made.append(matrix)
    return replace(node, op=FullyConnected(op.clamp, op.accumulate), inputs=(node.inputs[0], matrix.name, node.inputs[2]))
