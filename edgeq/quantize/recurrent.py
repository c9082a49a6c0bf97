"""Recurrent layers: which of their tensors share a scale, which are stored in int16, and their weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeq import half
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.recurrent import GATE, _Recurrent
from edgeq.ops.views import dense
from edgeq.quantize.linear import Moments, moments
from edgeq.simulate import quantize_array, real_array

if TYPE_CHECKING:
    from edgeq.quantize.quantizer import _Walk

LIMIT = 2.0**30  # of a bias: far beyond what saturates a gate
Float = NDArray[np.float64]


def is_recurrent(node: Node) -> bool:
    """Whether a node keeps a state along time."""
    return bool(node.op.traits.states)


def states(node: Node) -> tuple[tuple[str, str], ...]:
    """Pairs (before, after) of a recurrent layer: h, and c of an LSTM. Both ends have one type."""
    return tuple((node.inputs[before], node.outputs[after]) for before, after in node.op.traits.states)


def ties(graph: Graph) -> Iterator[tuple[str, str]]:
    """Pairs of activations that must have one type: states between inferences and within layers."""
    yield from graph.states
    for node in graph.nodes:
        for pair in states(node) if is_recurrent(node) else ():
            if not any(graph.tensors[n].is_constant for n in pair):
                yield pair


def roots(graph: Graph, position: int) -> list[str]:
    """What recurrent layers compute: the outputs at a position, 0 for h and 1 for c."""
    return [n.outputs[position] for n in graph.nodes if is_recurrent(n) and len(n.outputs) > position]


def quantize_layer(
    walk: _Walk, node: Node, real: list[Array], outputs: tuple[Array, ...], narrow: tuple[int, ...] = (1, 2)
) -> tuple[str, ...]:
    """Quantize a recurrent layer's constants and file them.

    Weights are fitted to the stored inputs, and to the float states as they are stored. On halves those of h may stay so.

    Args:
        real: the float inputs.
        outputs: the float outputs.
        narrow: positions of the weights that become int8; the others stay halves.

    Returns:
        The names of all inputs.
    """
    op: Any = node.op
    layer = walk.precision.layers[node.name]
    names = list(node.inputs)
    x_type, h_type = walk.type(node.inputs[0]), walk.type(node.outputs[0])
    halves = x_type.dtype is DType.FLOAT16
    stored_x = real_array(walk.stored[node.inputs[0]], x_type)
    h = _before(op, real[3 + op.biases], outputs[0])
    stored_h = real_array(_stored(h, h_type), h_type)
    errors, scales = [], []
    for position, t, exact, stored in ((1, x_type, real[0], stored_x), (2, h_type, h, stored_h)):
        if position not in narrow:
            names[position] = walk.halved(node, position)
            errors.append(np.zeros(len(real[position])))
            continue
        w = real[position]
        v = dense(op, exact.shape[1:], w.shape, (*exact.shape[1:-1], len(w)))
        matrix = v.matrix(w).astype(np.float64)
        rows = walk.usable(walk.grid.scales(layer.weight_scale, matrix), 2.0**20 if halves else t.scale / GATE.scale)
        seen: Moments = moments(v, stored, exact)
        q = walk.integers(node.inputs[position], layer.rounding, matrix, rows, seen)
        kind = QParams(tuple(rows[0].tolist()), 0, 0)
        names[position] = walk.add(Tensor(node.inputs[position], TensorType(w.shape, DType.INT8, kind), q[0].astype(np.int8)))
        errors.append(matrix[0] @ seen.mean_f[0] - (q[0] * rows[0][:, None]) @ seen.mean_q[0])
        scales.append(rows[0] if halves else t.scale * rows[0])
    if op.biases == 1:
        errors = [errors[0] + errors[1]]
    for i, error in enumerate(errors):
        bias = real[3 + i].astype(np.float64) + (error if layer.bias_correction else 0.0)
        if halves:
            names[3 + i] = walk.add(Tensor(node.inputs[3 + i], TensorType(bias.shape), bias.astype(np.float32)))
            continue
        integers = np.clip(np.rint(bias / scales[i]), -LIMIT, LIMIT).astype(np.int32)
        names[3 + i] = walk.add(Tensor(node.inputs[3 + i], TensorType(bias.shape, DType.INT32), integers))
    for i, (before, after) in enumerate(states(node)):
        data = walk.graph.tensors[before].data
        if data is not None:
            t = walk.type(after)
            names[3 + op.biases + i] = walk.add(Tensor(before, TensorType(data.shape, t.dtype, t.q), _stored(data, t)))
    return tuple(names)


def _stored(a: Array, t: TensorType) -> Array:
    return half.from_float(a) if t.dtype is DType.FLOAT16 else quantize_array(a, t.scale, t.zero_point, t.dtype.numpy)


def _before(op: _Recurrent, h0: Array, y: Array) -> Array:
    """The states that the rows of ``y [V, T, H]`` were computed from, in the order of the rows."""
    first = np.broadcast_to(h0.reshape(-1, 1, y.shape[2]), (len(y), 1, y.shape[2]))
    return np.concatenate([y[:, 1:], first] if op.reverse else [first, y[:, :-1]], axis=1)
