"""Removes nodes whose output equals their input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import DType, Graph, Node
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.pad import Pad
from edgeq.ops.reduce import _Reduction
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.table import INPUTS, _Table
from edgeq.ops.transpose import Transpose
from edgeq.passes.rewrite import is_quantized, rename, same_values


def is_identity(graph: Graph, node: Node) -> bool:
    """Whether the output holds the input's elements in the input's order, perhaps under another shape."""
    x, y = graph.type(node.inputs[0]), graph.type(node.outputs[0])
    op = node.op
    if x.size != y.size or not same_values(x, y):
        return False
    if isinstance(op, Transpose):
        order = [p for p in op.perm if x.shape[p] > 1]
        return order == sorted(order)
    if isinstance(op, AveragePool2d | MaxPool2d):
        return op.kernel == (1, 1) and op.stride == (1, 1) and op.clamp == NO_CLAMP
    if isinstance(op, _Reduction):
        return all(x.shape[a] == 1 for a in op.axes)
    if isinstance(op, Slice):
        return all(s > 0 or n == 1 for s, n in zip(op.stride, op.size, strict=True))
    if isinstance(op, _Table) and x.dtype is DType.INT8 and is_quantized(graph, node):
        values = op.bind(graph.law, node.name, graph.node_inputs(node), y).values
        return bool(np.array_equal(values, INPUTS))
    if isinstance(op, Clamp):
        return op.clamp == NO_CLAMP
    return isinstance(op, Reshape | Pad) or (isinstance(op, Concat) and len(node.inputs) == 1)


def remove_identities(graph: Graph) -> Graph:
    """Bypass identities; one that changes the shape becomes a reshape, one between two of the caller's buffers a copy."""
    bypassed: dict[str, str] = {}
    nodes: list[Node] = []
    for original in graph.nodes:
        (node,) = rename([original], bypassed)
        if not is_identity(graph, node):
            nodes.append(node)
            continue
        source, output = node.inputs[0], node.outputs[0]
        shape = graph.type(output).shape
        if graph.type(source).shape == shape and output not in graph.outputs:
            bypassed[output] = source
            continue
        own = any(source in n.outputs for n in nodes) and source not in graph.outputs
        if graph.type(source).shape == shape and own:
            nodes = [replace(n, outputs=tuple(output if o == source else o for o in n.outputs)) for n in rename(nodes, {source: output})]
            bypassed[source] = output
        else:
            nodes.append(node if isinstance(node.op, Reshape) else replace(node, op=Reshape(shape), inputs=(source,)))
    return graph if tuple(nodes) == graph.nodes else graph.with_nodes(nodes)
