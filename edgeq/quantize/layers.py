"""The constants of layers and of other operators, as they are stored: weights by a rounding, biases that take up their errors."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.formats import PLAIN
from edgeq.ir import Array, DType, Node, QParams, Tensor, TensorType
from edgeq.matrices import Singular
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.recurrent import GATE, _Recurrent
from edgeq.ops.views import dense
from edgeq.quantize.constraints import states
from edgeq.quantize.grid import BIAS, Grid, Scale
from edgeq.quantize.plan import ROWS, LayerPrecision
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import NEAREST, ROUNDINGS
from edgeq.quantize.scales import affine
from edgeq.quantize.storage import INPUTS
from edgeq.quantize.weight_scales import Levels
from edgeq.simulate import quantize_array, real_array
from edgeq.traits import View

if TYPE_CHECKING:
    from edgeq.quantize.walk import Walk

LOG = logging.getLogger("edgeq")
STEP = 16  # samples that a layer is compared on at once
RATIO_MIN = 2.0**-20  # of accumulator to output units: tiny weights get no finer scale, so that their biases fit
HALVES = 2.0**20  # that ratio, where sums are floats
INT8 = np.dtype(np.int8)
Float = NDArray[np.float64]


def operand(tensor: Tensor, scale: Scale | None) -> Tensor:
    """A constant operand in int8, in a scale of its own or in the given one."""
    assert tensor.data is not None
    step, zero_point = scale or affine(float(tensor.data.min()), float(tensor.data.max()))
    data = quantize_array(tensor.data, step, zero_point, INT8)
    return Tensor(tensor.name, TensorType(tensor.type.shape, DType.INT8, QParams((step,), zero_point)), data)


def _usable(scales: Float, ratio: float) -> Float:
    """float32 values, none so small that a bias would not fit int32; channels of zeros get a middling one."""
    return np.where(scales == 0, 2.0**-8 / ratio, np.maximum(scales, RATIO_MIN / ratio)).astype(np.float32).astype(np.float64)


def rows(tensor: Tensor, layer: LayerPrecision, grid: Grid) -> Tensor:
    """A table ``[N, D]`` of which an operator reads rows, in few bits with a scale per row.

    Raises:
        EdgeqError: it has no such format or rounding.
    """
    assert tensor.data is not None
    form, matrix = layer.format, tensor.data.astype(np.float64)
    if layer.weights != ROWS or layer.rounding != NEAREST:
        what = f"rows of '{tensor.name}' in {layer.weights}, rounded {layer.rounding}"
        raise EdgeqError(f"{what}, are not supported", fix=f'write weights = "{ROWS}" and rounding = "{NEAREST}", or delete the entry')
    own = replace(grid, limit=form.levels[-1], asymmetric=False, levels=form.marks)
    scales = np.maximum(own.scales(layer.weight_scale, matrix[None])[0], 1e-30).astype(np.float32)
    data = np.clip(np.rint(matrix / scales[:, None].astype(np.float64)), -own.limit, own.limit).astype(np.int8)
    return Tensor(tensor.name, TensorType(tensor.type.shape, DType.INT8, QParams(tuple(scales.tolist()), 0, 0)), data, form)


def _fit(walk: Walk, name: str, layer: LayerPrecision, view: View, ratio: float, inputs: tuple[Array, Array]) -> tuple[LayerProblem, Float]:
    """The weights `name` as a problem with its final scales, and integers that solve it, ``[G, O, K]``: nearest where the inputs' moments
    do not allow the rounding, which one line says.

    Args:
        ratio: of the sums' units, weights' scale left out, to those of the output.
        inputs: ``[V, *shape]``, as they are stored and as float computes them.
    """
    w = walk.graph.tensors[name].data
    assert w is not None
    matrix = view.matrix(w).astype(np.float64)
    form, grid = layer.format, walk.grid
    if form != PLAIN:
        grid = replace(grid, limit=form.levels[-1], asymmetric=form.asymmetric, levels=form.marks)
    scales = _usable(grid.scales(layer.weight_scale, matrix), ratio)
    levels = form.grid(matrix / scales[..., None], scales[..., None] ** 2) if form != PLAIN else None
    problem = LayerProblem(view.matrix(w), scales, grid.bounds(matrix), view, *inputs, levels)
    del matrix  # of a wide layer the largest array of all
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found, chosen = ROUNDINGS[layer.rounding](problem)
        if np.isfinite(found).all():
            _check_levels(name, layer, found, levels)
            return problem.scaled(_usable(chosen, ratio)), found
        why = "not finite"
    except Singular:
        why = "singular"
    LOG.warning("the inputs' second moments at '%s' are %s: its weights are rounded to %s, not %s", name, why, NEAREST, layer.rounding)
    return problem, ROUNDINGS[NEAREST](problem)[0]


def _check_levels(name: str, layer: LayerPrecision, found: Float, levels: Levels) -> None:
    """That a rounding kept to the integers that there are: one that knows their bounds alone does not.

    Raises:
        EdgeqError: it did not.
    """
    if levels is not None and not np.isin(found, levels).all():
        why = f"{layer.weights} has uneven levels, and rounding {layer.rounding} takes them to lie side by side"
        raise EdgeqError(f"weights '{name}' cannot be rounded so", why=why, fix="--rounding second-order, ada-quant or nearest")


def linear(walk: Walk, node: Node, real: list[Array]) -> tuple[str, str, str]:
    """File a layer's weights and bias; the names of its inputs. A layer on halves keeps its bias in float32.

    Args:
        real: the float inputs.

    Raises:
        EdgeqError: they overflow half precision, in which the layer gets them.
    """
    layer, op, (source, weights, offset) = walk.precision.layers[node.name], node.op, node.inputs
    (x, w, b), t, y = real, walk.type(node.inputs[0]), walk.type(node.outputs[0])
    assert op.traits.linear is not None
    view = op.traits.linear.view(op, t.shape, w.shape, y.shape)
    halves = t.dtype is DType.FLOAT16
    stored = real_array(walk.stored[source], t)
    if halves and not np.isfinite(stored).all():
        what = f"tensor '{source}' reaches {np.abs(x).max():g} on the samples, half precision ends at {half.LARGEST:g}"
        raise EdgeqError(what, where=node.name, fix="quantize with --recipe int8, or scale the model's inputs")
    problem, q = _fit(walk, weights, layer, view, HALVES if halves else t.scale / y.scale, (stored, x))
    bias = b.astype(np.float64)
    if layer.bias_correction:
        approximate = np.multiply(q, problem.scales[..., None], out=np.empty(q.shape, np.float32), dtype=np.float64, casting="same_kind")
        bias = bias + _mean_error(op, x, stored, w, view.weights(approximate))
    flat = view.channels(problem.scales)
    kind = QParams(tuple(flat.tolist()), 0, op.traits.linear.axis)
    name = walk.add(Tensor(weights, TensorType(w.shape, DType.INT8, kind), view.weights(q).astype(np.int8), layer.format))
    if halves:
        return source, name, walk.add(Tensor(offset, TensorType(b.shape), bias.astype(np.float32)))
    # beyond this the output saturates whatever the input is, so that nothing is lost
    steps = 2 ** (8 * t.dtype.bytes)
    sums = np.abs(view.weights(q)).sum(axis=view.others, dtype=np.float64)
    limit = np.minimum(2 * steps * y.scale / (flat * t.scale) + steps * sums, BIAS)
    integers = np.clip(np.rint(bias / (flat * t.scale)), -limit, limit)
    return source, name, walk.add(Tensor(offset, TensorType(b.shape, DType.INT32), integers.astype(np.int32)))


def _mean_error(op: Any, x: Array, stored: Array, w: Array, approximate: Array) -> Float:
    """Per output channel, the mean over the samples of float output minus quantized output, before the clamp."""
    plain = replace(op, clamp=NO_CLAMP)
    zero = np.zeros(w.shape[op.traits.linear.axis], np.float32)
    total: Float = np.zeros(len(zero))
    count = 0
    for start in range(0, len(x), STEP):
        part = slice(start, start + STEP)
        error = plain.real(x[part], w, zero).astype(np.float64) - plain.real(stored[part], approximate, zero)
        total += error.reshape(-1, len(zero)).sum(axis=0)
        count += error.size // len(zero)
    return total / count


def recurrent(walk: Walk, node: Node, real: list[Array], outputs: tuple[Array, ...]) -> tuple[str, ...]:
    """File a recurrent layer's constants; the names of its inputs.

    Weights are fitted to the stored inputs, and to the float states as they are stored. On halves those of h may stay so.

    Args:
        real, outputs: the float inputs and outputs.
    """
    op: Any = node.op
    layer, names = walk.precision.layers[node.name], list(node.inputs)
    x_type, h_type = walk.type(node.inputs[0]), walk.type(node.outputs[0])
    halves = x_type.dtype is DType.FLOAT16
    h = _before(op, real[3 + op.biases], outputs[0])
    read = (
        (1, x_type, (real_array(walk.stored[node.inputs[0]], x_type), real[0])),
        (2, h_type, (real_array(_stored(h, h_type), h_type), h)),
    )
    errors, scales = [], []
    for position, t, inputs in read:
        w, (stored, exact) = real[position], inputs
        if position == 2 and walk.precision.nodes.get(node.name) == INPUTS:
            names[position] = walk.halved(node, position)
            errors.append(np.zeros(len(w)))
            continue
        view = dense(op, exact.shape[1:], w.shape, (*exact.shape[1:-1], len(w)))
        problem, q = _fit(walk, node.inputs[position], layer, view, HALVES if halves else t.scale / GATE.scale, (stored, exact))
        rows, seen = problem.scales[0], problem.moments
        kind = QParams(tuple(rows.tolist()), 0, 0)
        t8, data = TensorType(w.shape, DType.INT8, kind), q[0].astype(np.int8)
        names[position] = walk.add(Tensor(node.inputs[position], t8, data, layer.format))
        errors.append((problem.matrix[0] * seen.mean_f[0]).sum(1) - (q[0] * rows[:, None] * seen.mean_q[0]).sum(1))
        scales.append(rows if halves else t.scale * rows)
    if op.biases == 1:
        errors = [errors[0] + errors[1]]
    for i, error in enumerate(errors):
        bias = real[3 + i].astype(np.float64) + (error if layer.bias_correction else 0.0)
        if halves:
            names[3 + i] = walk.add(Tensor(node.inputs[3 + i], TensorType(bias.shape), bias.astype(np.float32)))
        else:
            integers = np.clip(np.rint(bias / scales[i]), -BIAS, BIAS).astype(np.int32)
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
