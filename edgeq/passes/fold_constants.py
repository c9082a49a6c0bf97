"""Computes what depends on constants alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph, Node, Tensor
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import Names

MAX_ELEMENTS = 2**26
MAX_MACS = 2**30


def fold_constants(graph: Graph) -> Graph:
    """Replace nodes whose inputs are all constant by their result; what is too large or not finite stays a node."""
    tensors = dict(graph.tensors)
    names = Names(graph)
    nodes = []
    for node in graph.nodes:
        inputs = tuple(tensors[n] for n in node.inputs)
        output = node.outputs[0]
        copied = isinstance(node.op, Reshape) and output in graph.outputs
        result = None if copied or len(node.outputs) > 1 or not all(t.is_constant for t in inputs) else _compute(graph, node, inputs)
        if result is None:
            nodes.append(node)
        elif output in graph.outputs:
            source = names.fresh(f"{output}_value")
            tensors[source] = Tensor(source, graph.type(output), result)
            nodes.append(replace(node, op=Reshape(graph.type(output).shape), inputs=(source,)))
        else:
            tensors[output] = Tensor(output, graph.type(output), result)
    return graph if tensors == graph.tensors else graph.with_nodes(nodes, tensors.values())


def _compute(graph: Graph, node: Node, inputs: tuple[Tensor, ...]) -> Array | None:
    """The node's value; None where it should not be computed here."""
    output = graph.type(node.outputs[0])
    if output.size > MAX_ELEMENTS or node.op.macs(*(t.type for t in inputs)) > MAX_MACS:
        return None
    data = [t.data for t in inputs if t.data is not None]
    if output.q is None and all(t.type.q is None for t in inputs):
        with np.errstate(all="ignore"):
            result = node.op.real(*(a if i in node.op.parameters else a[None] for i, a in enumerate(data)))
    else:
        params = node.op.bound(graph.law, node.name, inputs, output)
        (result,) = node.op.compute(params, *(a[None] for i, a in enumerate(data) if i not in node.op.parameters))
    result = np.ascontiguousarray(result, output.dtype.numpy).reshape(output.shape)
    return result if result.dtype.kind != "f" or np.isfinite(result).all() else None
