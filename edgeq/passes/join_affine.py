"""A factor and a term per channel that no layer took become one depthwise convolution with a 1x1 kernel: one rounding, not two."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Op, Tensor
from edgeq.ops.add import Add
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import Names, constant, use_counts


def join_affine(graph: Graph) -> Graph:
    """Join a float Mul by constants along the last axis with the Add of such constants behind it."""
    uses, names, producers = use_counts(graph), Names(graph), graph.producers()
    nodes: list[Node] = []
    tensors: list[Tensor] = []
    for node in graph.nodes:
        term = _per_channel(graph, node, Add)
        before = producers.get(term[0]) if term and uses[term[0]] == 1 else None
        factor = _per_channel(graph, before, Mul)
        if before is not None and factor is not None and before.op.clamp != NO_CLAMP:  # type: ignore[attr-defined]
            factor = None
        if term is None or before is None or factor is None:
            nodes.append(node)
            continue
        made, constants = _depthwise(graph, node, names, factor[0], factor[1], term[1])
        nodes = [n for n in nodes if n is not before] + made
        tensors += constants
    return graph if len(nodes) == len(graph.nodes) and not tensors else graph.with_nodes(nodes, tensors)


def _per_channel(graph: Graph, node: Node | None, kind: type[Op]) -> tuple[str, Array] | None:
    """The computed input and the constant, ``[channels]``, of an elementwise node."""
    if node is None or type(node.op) is not kind or graph.type(node.outputs[0]).dtype is not DType.FLOAT32:
        return None
    a, b = graph.node_inputs(node)
    x, fixed = (b, a) if a.is_constant else (a, b)
    shape = graph.type(node.outputs[0]).shape
    if fixed.data is None or x.is_constant or x.type.shape != shape or not shape or fixed.type.size not in (1, shape[-1]):
        return None
    if fixed.type.size > 1 and fixed.type.shape[-1] != shape[-1]:
        return None
    return x.name, np.broadcast_to(fixed.data.ravel(), shape[-1])


def _depthwise(graph: Graph, node: Node, names: Names, source: str, factor: Array, term: Array) -> tuple[list[Node], list[Tensor]]:
    """The nodes and tensors that take the place of both."""
    output, shape = node.outputs[0], graph.type(node.outputs[0]).shape
    image = shape if len(shape) == 4 else (1, 1, math.prod(shape[:-1]), shape[-1])
    w = constant(names.fresh(f"{output}.factor"), factor.reshape(1, 1, 1, -1).astype(np.float32))
    b = constant(names.fresh(f"{output}.term"), term.astype(np.float32))
    op = DepthwiseConv2d(clamp=node.op.clamp)  # type: ignore[attr-defined]
    if image == shape:
        return [replace(node, op=op, inputs=(source, w.name, b.name))], [w, b]
    x, y = (Tensor(names.fresh(f"{output}.{part}"), replace(graph.type(output), shape=image)) for part in ("image", "affine"))
    nodes = [
        Node(x.name, Reshape(image), (source,), (x.name,)),
        replace(node, op=op, inputs=(x.name, w.name, b.name), outputs=(y.name,)),
        Node(y.name, Reshape(shape), (y.name,), (output,)),
    ]
    return nodes, [w, b, x, y]
