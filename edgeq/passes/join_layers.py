"""Two linear layers in a row become one where that has no more weights: then it takes no more products, either.

Where it has more, as behind factors of low rank, both stay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq import matrices
from edgeq.ir import Array, DType, Graph, Node, Op
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import NO_CLAMP
from edgeq.passes.rewrite import Names, constant, repeated, use_counts


@repeated
def join_layers(graph: Graph) -> Graph | None:
    """Fully connected layers and convolutions, of which one looks at single pixels; nothing else may read what is between them."""
    uses, producers, names = use_counts(graph), graph.producers(), Names(graph)
    for node in graph.nodes:
        before = producers.get(node.inputs[0])
        if before is None or uses[node.inputs[0]] != 1 or type(before.op) is not type(node.op) or _clamp(before) != NO_CLAMP:
            continue
        layers = _weights(graph, before), _weights(graph, node)
        if layers[0] is None or layers[1] is None or _grow(layers[0][0], layers[1][0]):
            continue
        joined = _joined(before, node, *layers[0], *layers[1])
        if joined is None:
            continue
        op, weights, bias = joined
        made = [constant(names.fresh(f"{node.outputs[0]}/{n}"), a.astype(np.float32)) for n, a in (("weights", weights), ("bias", bias))]
        new = replace(node, op=op, inputs=(before.inputs[0], *(t.name for t in made)))
        return graph.with_nodes([new if n is node else n for n in graph.nodes if n is not before], made)
    return None


def _weights(graph: Graph, node: Node) -> tuple[Array, Array] | None:
    """Constant float weights and bias of a layer without groups, float64."""
    if not isinstance(node.op, FullyConnected | Conv2d) or getattr(node.op, "groups", 1) != 1:
        return None
    w, b = (graph.tensors[n] for n in node.inputs[1:3])
    if w.data is None or b.data is None or w.type.dtype is not DType.FLOAT32:
        return None
    return w.data.astype(np.float64), b.data.astype(np.float64)


def _grow(first: Array, second: Array) -> bool:
    """Whether what does the work of both has more weights: known before it is made, for it may be very large."""
    return bool(second.size // second.shape[-1] * (first.size // len(first)) > first.size + second.size)


def _clamp(node: Node) -> tuple[float, float]:
    return getattr(node.op, "clamp", NO_CLAMP)


def _pointwise(node: Node, w: Array) -> bool:
    """Whether each result is of one pixel, and each pixel has one."""
    op = node.op
    return isinstance(op, FullyConnected) or (isinstance(op, Conv2d) and w.shape[1:3] == op.stride == (1, 1) and not any(op.pads))


def _product(a: Array, b: Array) -> Array:
    """Sums of products over the last axis of `a` and the first one of `b`; the same on every computer."""
    flat = matrices.matmul(a.reshape(-1, a.shape[-1]), b.reshape(len(b), -1), fine=True)
    return flat.reshape(*a.shape[:-1], *b.shape[1:])


def _joined(before: Node, node: Node, first: Array, start: Array, second: Array, term: Array) -> tuple[Op, Array, Array] | None:
    """The operator, weights and bias that do both; None where there are none."""
    axes = tuple(range(1, second.ndim - 1))
    bias = _product(second.sum(axes), start) + term
    if _pointwise(node, second):
        weights = _product(second.reshape(len(second), -1), first)
        return replace(before.op, clamp=_clamp(node)), weights, bias  # type: ignore[call-arg]
    if _pointwise(before, first) and (not any(node.op.pads) or not start.any()):  # type: ignore[attr-defined]
        return node.op, _product(second, first.reshape(len(first), -1)), bias
    return None
