"""Interval analysis of quantized graphs: for every element of every integer tensor the values that it can take.

Bounds go through the operators' own integer arithmetic, rounding and saturation included, so that they
are exact where an operator is monotone and one-sided nowhere: what lies outside cannot happen, for any
input. The only assumption is that a graph input stays within its dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Params, TensorType
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import apply_output_stage, centred, exact_matmul
from edgeq.ops.windows import patches

FLOATS = (DType.FLOAT32, DType.FLOAT16)
ELEMENTS = 2**22  # of a matrix whose products are bounded at once


@dataclass(frozen=True, eq=False)
class Interval:
    """Inclusive bounds, int64 arrays of the tensor's shape."""

    low: Array
    high: Array

    @property
    def is_constant(self) -> Array:
        """Per element, whether only one value is possible."""
        result: Array = self.low == self.high
        return result


def full(t: TensorType) -> Interval:
    """Everything that the dtype can hold."""
    info = np.iinfo(t.dtype.numpy)
    return Interval(np.full(t.shape, info.min, np.int64), np.full(t.shape, info.max, np.int64))


def intervals(graph: Graph) -> dict[str, Interval]:
    """Bounds of every integer tensor of a quantized graph but for weights; float tensors and halves are left out."""
    known: dict[str, Interval] = {}
    read = {n for node in graph.nodes for i, n in enumerate(node.inputs) if i not in node.op.parameters}
    for name, tensor in graph.tensors.items():
        if name in read and tensor.data is not None and tensor.type.dtype not in FLOATS:
            data = tensor.data.astype(np.int64)
            known[name] = Interval(data, data)
    for name in graph.inputs:
        if graph.type(name).dtype not in FLOATS:
            known[name] = full(graph.type(name))
    for node in graph.nodes:
        known |= {n: full(graph.type(n)) for n in node.outputs[1:] if graph.type(n).dtype not in FLOATS}
        output = graph.type(node.outputs[0])
        if output.dtype not in FLOATS:
            known[node.outputs[0]] = _step(graph, node, known) or full(output)
    return known


def _step(graph: Graph, node: Node, known: Mapping[str, Interval]) -> Interval | None:
    """The output's bounds; None where nothing is known of the operator."""
    traits = node.op.traits
    x = [n for i, n in enumerate(node.inputs) if i not in node.op.parameters]
    moving = [n for n in (*x, *node.outputs) if not graph.tensors[n].is_constant]
    if not all(n in known for n in x) or any(graph.type(n).dtype is not DType.INT8 for n in moving):
        return None
    params = node.op.bind(graph.law, node.name, graph.node_inputs(node), graph.type(node.outputs[0]))
    if traits.linear is not None:
        return _linear(graph, node, params, known[x[0]])
    if traits.bounds is not None:
        return Interval(*traits.bounds(params, known[x[0]].low, known[x[0]].high))

    def run(*values: Array) -> Array:
        arrays = [v.astype(graph.type(n).dtype.numpy) for n, v in zip(x, values, strict=True)]
        bare = [graph.tensors[n].is_constant for n in x]  # a constant has no vectors axis beside activations
        given = [a if fixed and not all(bare) else a[None] for a, fixed in zip(arrays, bare, strict=True)]
        y = node.op.reference(params, *given).astype(np.int64)
        return y.reshape(graph.type(node.outputs[0]).shape)

    low, high = [known[n].low for n in x], [known[n].high for n in x]
    match traits.monotone:
        case "increasing":
            return Interval(run(*low), run(*high))
        case "difference":
            return Interval(run(low[0], high[1]), run(high[0], low[1]))
        case "corners":
            corners = np.stack([run(a, b) for a in (low[0], high[0]) for b in (low[1], high[1])])
            return Interval(corners.min(0), corners.max(0))
        case "table":
            return _lookup(params.values.astype(np.int64), known[x[0]])
        case "knee":
            return _knee(run, known[x[0]], graph.type(x[0]).zero_point)
        case _:
            return None


def _lookup(values: Array, x: Interval) -> Interval:
    """Extremes of a table of 256 values over ``[low, high]``."""
    least, greatest = np.empty((256, 256), np.int64), np.empty((256, 256), np.int64)
    for first in range(256):
        least[first, first:] = np.minimum.accumulate(values[first:])
        greatest[first, first:] = np.maximum.accumulate(values[first:])
    return Interval(least[x.low + 128, x.high + 128], greatest[x.low + 128, x.high + 128])


def _knee(run: Callable[..., Array], x: Interval, zero_point: int) -> Interval:
    """Monotone on either side of zero: the extremes lie at the ends or where the sides meet."""
    points = (x.low, np.clip(zero_point - 1, x.low, x.high), np.clip(zero_point, x.low, x.high), x.high)
    values = np.stack([run(p) for p in points])
    return Interval(values.min(0), values.max(0))


def _linear(graph: Graph, node: Node, params: Params, x: Interval) -> Interval:
    """Exact extremes of every accumulator, then the output stage, which is increasing."""
    output = graph.type(node.outputs[0])
    if isinstance(node.op, Conv2d):
        low, high = _conv(node.op, params, x)
    elif isinstance(node.op, DepthwiseConv2d):
        low, high = _depthwise(node.op, params, x)
    elif isinstance(node.op, FullyConnected):
        low, high = _products(x.low, x.high, centred(params).T)
    else:
        low, high = _any_taps(centred(params), x, graph.type(node.inputs[0]).zero_point, getattr(node.op, "groups", 1))
    return Interval(*(apply_output_stage(params, np.broadcast_to(a + params.bias, output.shape)).astype(np.int64) for a in (low, high)))


def _products(low: Array, high: Array, w: Array) -> tuple[Array, Array]:
    """Extremes of ``x @ w`` for x in [low, high]; w ``[K, N]``, some columns at a time."""
    step = max(1, ELEMENTS // max(1, len(w)))
    parts = [_extremes(low, high, w[:, first : first + step].astype(np.int64)) for first in range(0, w.shape[1], step)]
    return np.concatenate([p[0] for p in parts], axis=-1), np.concatenate([p[1] for p in parts], axis=-1)


def _extremes(low: Array, high: Array, w: Array) -> tuple[Array, Array]:
    bound = float(np.abs(w).sum(0).max()) * max(1, int(np.abs(low).max()), int(np.abs(high).max()))
    up, down = np.maximum(w, 0), np.minimum(w, 0)

    def dot(a: Array, b: Array) -> Array:
        return exact_matmul(a, b, bound)

    return dot(low, up) + dot(high, down), dot(high, up) + dot(low, down)


def _conv(op: Conv2d, params: Params, x: Interval) -> tuple[Array, Array]:
    w = centred(params)
    kernel = (w.shape[1], w.shape[2])
    windows = [patches(a, kernel, op.stride, op.dilation, op.pads, params.in_zero) for a in (x.low, x.high)]
    inner, outer = w.shape[3], w.shape[0] // op.groups
    parts = []
    for g in range(op.groups):
        low, high = (a[..., g * inner : (g + 1) * inner].reshape(*a.shape[:3], -1) for a in windows)
        parts.append(_products(low, high, w[g * outer : (g + 1) * outer].reshape(outer, -1).T))
    return np.concatenate([p[0] for p in parts], axis=-1), np.concatenate([p[1] for p in parts], axis=-1)


def _depthwise(op: DepthwiseConv2d, params: Params, x: Interval) -> tuple[Array, Array]:
    w = centred(params)[0].astype(np.int64)
    windows = [patches(a, (w.shape[0], w.shape[1]), op.stride, op.dilation, op.pads, params.in_zero) for a in (x.low, x.high)]
    low, high = (np.repeat(a, params.multiple, axis=-1) for a in windows)
    up, down = np.maximum(w, 0), np.minimum(w, 0)
    return (low * up + high * down).sum((3, 4)), (high * up + low * down).sum((3, 4))


def _any_taps(w: Array, x: Interval, zero_point: int, groups: int) -> tuple[Array, Array]:
    """Extremes over every subset of the taps, as a transposed convolution uses them, of x - zero point. One value per channel."""
    channels = tuple(range(x.low.ndim - 1))
    low = np.minimum(x.low.min(channels), zero_point) - zero_point
    high = np.maximum(x.high.max(channels), zero_point) - zero_point
    outer, inner = w.shape[0] // groups, w.shape[3]
    w = w.astype(np.int64).reshape(groups, outer, -1, inner)
    low, high = (a.reshape(groups, 1, 1, inner) for a in (low, high))
    up, down = np.maximum(w, 0), np.minimum(w, 0)
    return (low * up + high * down).sum((2, 3)).ravel(), (high * up + low * down).sum((2, 3)).ravel()
