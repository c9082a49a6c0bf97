"""Gradients of a float graph, operator by operator, found from the operators' traits and float meanings.

No operator has a derivative of its own: a linear one is its matrix, transposed; an elementwise one is differed; one that selects values
(moves, the largest of a window) is asked which; one that averages is asked for its matrix. What is none of these is refused by name.
Products are those of `matrices`, so that gradients are the same on every computer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node
from edgeq.matrices import matmul
from edgeq.ops.linear import NO_CLAMP
from edgeq.quantize.floating import real_step
from edgeq.traits import View

DIFFERENCE = 2.0**-8  # of the root mean square, by which an elementwise operator's input is moved
CLOSE = 1e-3  # of the largest value, by which a linear operator's matrix may miss its results
LARGEST = 2**24  # whole numbers that float32 tells apart


def backward(
    graph: Graph, values: Mapping[str, Array], output: str, gradient: Array, layers: Collection[str] = (),
    more: Mapping[str, Array] | None = None,
) -> dict[str, Array]:  # fmt: skip
    """The gradient of a number with regard to every graph input, from those with regard to some activations.

    Args:
        values: of every activation that leads to `output`, ``[V, *shape]`` float32.
        gradient: ``[V, *shape]`` of `output`.
        layers: linear nodes, whose weights and biases are asked for as well.
        more: gradients of other activations, likewise.

    Returns:
        Per input float64 ``[V, *shape]``; zeros where nothing depends on it. Per constant of `layers` its gradient in its own shape.

    Raises:
        EdgeqError: an operator on the way has no gradient here.
    """
    found: dict[str, Array] = dict(more or {})
    found[output] = found.get(output, 0.0) + np.asarray(gradient, np.float64)
    constants: dict[str, Array] = {}
    for node in reversed(graph.nodes):
        upstream = [found.pop(n, None) for n in node.outputs]
        if upstream[0] is None:
            continue
        if len(node.outputs) > 1:
            raise _unknown(node)
        x = [values[n] if (d := graph.tensors[n].data) is None else d for n in node.inputs]
        if node.name in layers:
            constants |= zip(node.inputs[1:3], _constants(node, x, values[node.outputs[0]], upstream[0]), strict=True)
        moving = [i for i, n in enumerate(node.inputs) if not graph.tensors[n].is_constant]
        for i in moving:
            part = _gradient(node, x, i, values[node.outputs[0]], upstream[0])
            name = node.inputs[i]
            found[name] = found[name] + part if name in found else part
    return {**{n: found.get(n, np.zeros(values[n].shape)) for n in graph.inputs}, **constants}


def logits(graph: Graph, name: str) -> str:
    """What a softmax at the end of a graph is taken of; the tensor itself where there is none."""
    makers, found = graph.producers(), name
    while (node := makers.get(found)) is not None and (node.op.traits.view or node.op.traits.near is not None):
        found = node.inputs[0]
        if node.op.traits.near is not None:
            return found
    return name


def _unknown(node: Node) -> EdgeqError:
    why = "it is neither linear, elementwise nor a choice of values"
    fix = "give --calib real inputs, and leave out methods that need gradients"
    return EdgeqError(f"{node.op.kind()} has no gradient here", where=node.name, why=why, fix=fix)


def _gradient(node: Node, x: list[Array], at: int, y: Array, g: Array) -> Array:
    """With regard to input `at` of a node, from that of its output."""
    if node.op.traits.linear is not None and at == 0:
        return _linear(node, x, y, g)
    if node.op.traits.elementwise:
        return _elementwise(node, x, at, g)
    found = _selected(node, x, at, y, g) if len(x) == 1 or _puts_together(node) else None
    found = _averaged(node, x, y, g) if found is None and len(x) == 1 else found
    if found is None:
        raise _unknown(node)
    return found


def _puts_together(node: Node) -> bool:
    """Whether values of all inputs end up in the output as they are, wherever those of others lie."""
    return node.op.traits.moves or node.op.traits.merges


def _inside(node: Node, y: Array, g: Array) -> Array:
    """The gradient before a clamp: what is cut off does not move."""
    low, high = getattr(node.op, "clamp", NO_CLAMP)
    return np.where((y > low) & (y < high), g, 0.0)


def _unclamped(op: Any) -> Any:
    return replace(op, clamp=NO_CLAMP) if hasattr(op, "clamp") else op


def _scattered(source: Array, values: Array, size: int) -> Array:
    """Sums ``[V, size]`` of values ``[V, n]`` by where they come from, ``[n]`` or ``[V, n]``: 0 is nowhere, k is element k - 1."""
    rows = np.broadcast_to(source, values.shape)
    return np.stack([np.bincount(s, v, size + 1)[1:] for s, v in zip(rows, values, strict=True)])


def _view(node: Node, x: list[Array], y: Array, g: Array) -> tuple[View, Array, Array]:
    """A linear operator as products, its matrix, and the gradient of their sums, ``[G, R, O / G]``."""
    linear, (a, w) = node.op.traits.linear, x[:2]
    assert linear is not None
    view = linear.view(node.op, a.shape[1:], w.shape, y.shape[1:])
    matrix = view.matrix(w).astype(np.float64)
    groups, outputs, _ = matrix.shape
    return view, matrix, _inside(node, y, g).reshape(-1, groups, outputs).transpose(1, 0, 2)


def _constants(node: Node, x: list[Array], y: Array, g: Array) -> tuple[Array, Array]:
    """Of a layer's weights and bias."""
    view, _, rows = _view(node, x, y, g)
    sums = matmul(rows.swapaxes(1, 2), view.rows(x[0]).astype(np.float64))
    return view.weights(sums), view.channels(rows.sum(1))


def _linear(node: Node, x: list[Array], y: Array, g: Array) -> Array:
    a = x[0]
    view, matrix, rows = _view(node, x, y, g)
    groups, _, columns = matrix.shape
    parts = matmul(rows, matrix).reshape(groups, len(a), -1, columns).transpose(1, 0, 2, 3)
    size = a[0].size
    source = view.rows(np.arange(1.0, size + 1).reshape(1, *a.shape[1:])).astype(np.int64)
    return _scattered(source.reshape(-1), parts.reshape(len(a), -1), size).reshape(a.shape)


def _elementwise(node: Node, x: list[Array], at: int, g: Array) -> Array:
    a = x[at].astype(np.float64)
    step = max(float(np.sqrt(np.mean(a**2))), 1e-6) * DIFFERENCE
    ends = [real_step(node, [*x[:at], (a + s).astype(np.float32), *x[at + 1 :]])[0].astype(np.float64) for s in (step, -step)]
    slopes = g * (ends[0] - ends[1]) / (2 * step)
    extra = slopes.ndim - a.ndim
    slopes = slopes.reshape(len(a), -1, *slopes.shape[extra + 1 :]).sum(1) if extra else slopes
    axes = tuple(i for i in range(1, a.ndim) if a.shape[i] == 1 < slopes.shape[i])
    return np.asarray(slopes.sum(axes, keepdims=True) if axes else slopes)


def _selected(node: Node, x: list[Array], at: int, y: Array, g: Array) -> Array | None:
    """Of an operator each of whose results is one of its values: it is given their ranks instead."""
    count, size = len(x[at]), x[at][0].size
    if size >= LARGEST:
        return None
    order = np.argsort(x[at].reshape(count, -1), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, size + 1)[None].repeat(count, 0), 1)
    others = [ranks.reshape(a.shape) if i == at else np.zeros(a.shape) for i, a in enumerate(x)]
    moved = replace(node, op=_unclamped(node.op))
    found = real_step(moved, [a.astype(np.float32) for a in others])[0].reshape(count, -1)
    chosen = np.clip(np.rint(found), 0, size).astype(np.int64)
    if not _puts_together(node):
        real = real_step(moved, x)[0].reshape(count, -1)
        values = np.take_along_axis(x[at].reshape(count, -1), np.take_along_axis(order, np.maximum(chosen - 1, 0), 1), 1)
        if (found != chosen).any() or (chosen == 0).any() or not np.array_equal(values, real):
            return None
    source = np.where(chosen > 0, np.take_along_axis(order, np.maximum(chosen - 1, 0), 1) + 1, 0)
    return _scattered(source, _inside(node, y, g).reshape(count, -1), size).reshape(x[at].shape)


def _averaged(node: Node, x: list[Array], y: Array, g: Array) -> Array | None:
    """Of a linear operator that works channel by channel (last axis): its matrix is what it makes of one place after the other."""
    (a,) = x
    shape, channels = a.shape[1:-1], a.shape[-1]
    places = int(np.prod(shape))
    if a.ndim < 3 or places**2 >= LARGEST or y.shape[-1] != channels:
        return None
    ones = np.eye(places, dtype=np.float32).reshape(places, *shape, 1)
    moved = replace(node, op=_unclamped(node.op))
    matrix = real_step(moved, [ones])[0].reshape(places, -1).astype(np.float64)
    real = real_step(moved, [a])[0].reshape(len(a), -1, channels)
    again = matmul(a.reshape(len(a), places, channels).swapaxes(1, 2), matrix, True).swapaxes(1, 2)
    if real.shape != again.shape or np.abs(real - again).max() > CLOSE * max(float(np.abs(real).max()), 1e-30):
        return None
    rows = _inside(node, y, g).reshape(len(a), -1, channels)
    return np.asarray(matmul(rows.swapaxes(1, 2), matrix.T, True).swapaxes(1, 2)).reshape(a.shape)
