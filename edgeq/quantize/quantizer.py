"""Float graph -> int8 graph, node by node: every layer is fitted to what the quantized layers before it really give."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq import half
from edgeq.evaluate import ancestors
from edgeq.formats import PLAIN
from edgeq.formats.votes import ChannelVotes
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType, check
from edgeq.ops.linear import NO_CLAMP, clamp_limits
from edgeq.ops.weights import with_formats
from edgeq.quantize import recurrent
from edgeq.quantize.decide import Decision, decide
from edgeq.quantize.floating import Progress, real_step
from edgeq.quantize.halving import half_constant
from edgeq.quantize.linear import Moments, moments, view
from edgeq.quantize.options import Options
from edgeq.quantize.precision import Precision
from edgeq.quantize.ranges import Ranges
from edgeq.quantize.sharing import Scale, affine
from edgeq.quantize.storage import HALF, INPUTS
from edgeq.quantize.weights import Grid
from edgeq.simulate import quantize_array, real_array

LOG = logging.getLogger("edgeq")
MEMORY = 2**30  # bytes of activations that the walk may hold
STEP = 16  # samples that a layer is compared on at once
BIAS = 2.0**30  # of a bias in the scale of sums
RATIO_MIN = 2.0**-20  # of accumulator to output units: tiny weights get no finer scale, so that their biases fit
INT8 = np.dtype(np.int8)
Float = NDArray[np.float64]


def quantize(
    graph: Graph, data: Mapping[str, Array] | Ranges, options: Options | None = None, precision: Precision | None = None,
    progress: Progress | None = None,
) -> Graph:  # fmt: skip
    """Quantize a float graph to int8.

    Weights are symmetric per output channel, activations affine per tensor, biases int32. Tensors and nodes keep
    their names. Where channels were equalized, a tensor holds channel c divided by 2^exponents[c] (see `equalize`).

    Args:
        graph: float.
        data: calibration samples by input name, or what `calibrate` made of them.
        options: for what `precision` leaves open.
        precision: honoured as it is.
        progress: called with (units done, units in all), for each calibration and for the layers.

    Raises:
        EdgeqError: samples or precision do not fit the graph, or an operator cannot be quantized.
    """
    return quantize_decided(decide(graph, data, options, precision, progress), progress)


def quantize_decided(decision: Decision, progress: Progress | None = None) -> Graph:
    """Quantize by a decision; see `quantize`.

    Args:
        progress: called with (layers done, layers in all).
    """
    graph = decision.graph
    walk = _Walk(graph, decision.precision, decision.options.grid, decision.options.clamp)
    walk.start(_subset(graph, decision.ranges.samples))
    wanted = ancestors(graph, [t for n in graph.nodes if walk.fits(n) for t in n.inputs])
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    nodes = []
    for i, node in enumerate(graph.nodes):
        nodes.append(walk.quantize(node, walk.clamp or not wanted.isdisjoint(node.outputs)))
        for name in set(node.inputs):
            if last[name] == i:
                walk.real.pop(name, None)
                walk.stored.pop(name, None)
        if progress:
            progress(i + 1, len(graph.nodes))
    result = replace(graph, tensors=walk.tensors, law=decision.precision.law, nodes=()).with_nodes(nodes)
    code = decision.options.code
    return check(with_formats(result, code, ChannelVotes() if code.votes else PLAIN) if code else result, "quantize")


def _subset(graph: Graph, samples: Mapping[str, Array]) -> dict[str, Array]:
    """As many samples as the walk may hold, evenly spread."""
    live, peak = set(graph.inputs), 1
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for i, node in enumerate(graph.nodes):
        live.update(node.outputs)
        peak = max(peak, sum(graph.type(n).size for n in live))
        live = {n for n in live if last.get(n, -1) > i}
    count = len(next(iter(samples.values())))
    keep = max(1, min(count, MEMORY // (8 * peak)))
    at = np.arange(keep) * count // keep
    return {n: a[at] for n, a in samples.items()}


@dataclass
class _Walk:
    """One walk through a float graph: tensors made so far, and the float and the stored values of live activations."""

    graph: Graph
    precision: Precision
    grid: Grid
    clamp: bool
    tensors: dict[str, Tensor] = field(default_factory=dict)
    real: dict[str, Array] = field(default_factory=dict)
    stored: dict[str, Array] = field(default_factory=dict)

    def start(self, samples: Mapping[str, Array]) -> None:
        for name in self.graph.inputs:
            t = self.type(name)
            self.tensors[name] = Tensor(name, t)
            self.real[name] = samples[name]
            halves = t.dtype is DType.FLOAT16
            x = samples[name]
            self.stored[name] = half.from_float(x) if halves else quantize_array(x, t.scale, t.zero_point, t.dtype.numpy)

    def scale(self, name: str) -> Scale:
        found = self.precision.tensors[name].scale
        assert found is not None
        return found

    def type(self, name: str) -> TensorType:
        """The stored type of an activation."""
        if self.precision.tensors[name].dtype is DType.FLOAT16:
            return TensorType(self.graph.type(name).shape, DType.FLOAT16)
        scale, zero_point = self.scale(name)
        return TensorType(self.graph.type(name).shape, self.precision.tensors[name].dtype, QParams((scale,), zero_point))

    @staticmethod
    def usable(scales: Float, ratio: float) -> Float:
        """float32 values, none so small that a bias would not fit int32; channels of zeros get a middling one."""
        return np.where(scales == 0, 2.0**-8 / ratio, np.maximum(scales, RATIO_MIN / ratio)).astype(np.float32).astype(np.float64)

    def add(self, tensor: Tensor) -> str:
        """File a constant under its name, or under a new one where another node made something else of it."""
        name, number = tensor.name, 2
        while name in self.tensors or (name != tensor.name and name in self.graph.tensors):
            other = self.tensors.get(name)
            if other and other.data is not None and other.type == tensor.type and np.array_equal(other.data, np.asarray(tensor.data)):
                return name
            name, number = f"{tensor.name}.{number}", number + 1
        self.tensors[name] = replace(tensor, name=name)
        return name

    def halved(self, node: Node, position: int) -> str:
        """File a constant operand in half precision, see `half_constant`."""
        return self.add(half_constant(node, position, self.graph.tensors[node.inputs[position]]))

    def integers(self, name: str, rounding: str, matrix: Float, scales: Float, seen: Moments | None) -> Float:
        """`Grid.integers` of the weights `name`: nearest where the inputs' moments do not allow the rounding, which one line says."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found = self.grid.integers(rounding, matrix, scales, seen)
            if np.isfinite(found).all():
                return found
            why = "not finite"
        except np.linalg.LinAlgError:
            why = "singular"
        LOG.warning("the inputs' second moments at '%s' are %s: its weights are rounded to nearest, not %s", name, why, rounding)
        return self.grid.integers("nearest", matrix, scales, None)

    def fits(self, node: Node) -> bool:
        """Whether a node's weights are fitted to its inputs."""
        return bool(node.op.traits.products) and self.precision.nodes.get(node.name) != HALF

    def quantize(self, node: Node, run: bool) -> Node:
        """Quantize a node's constants.

        Args:
            run: compute the node in both meanings, for layers that are fitted to what follows from it, or for its limits.
        """
        output = node.outputs[0]
        self.tensors |= {n: Tensor(n, self.type(n)) for n in node.outputs}
        constants = {n: data for n in node.inputs if (data := self.graph.tensors[n].data) is not None}
        names = list(node.inputs)
        real: list[Array] = []
        outputs: tuple[Array, ...] = ()
        if run or self.fits(node):
            real = [constants[n] if n in constants else self.real[n] for n in node.inputs]
            outputs = real_step(node, real)
        if self.precision.nodes.get(node.name) == HALF:
            for i, n in enumerate(node.inputs):
                if n in constants:
                    names[i] = self.halved(node, i)
        elif recurrent.is_recurrent(node):
            narrow = (1,) if self.precision.nodes.get(node.name) == INPUTS else (1, 2)
            names = list(recurrent.quantize_layer(self, node, real, outputs, narrow))
        elif node.op.traits.linear is not None:
            names[1:3] = _layer(self, node, real)
        else:
            for i, n in enumerate(node.inputs):
                if i in node.op.traits.real:
                    names[i] = self.add(self.graph.tensors[n])
                elif n in constants:
                    scale = self.scale(output) if node.op.traits.merges else None
                    names[i] = self.add(_constant(self.graph.tensors[n], scale))
        quantized = replace(node, inputs=tuple(names))
        if run:
            self.real |= zip(node.outputs, outputs, strict=True)
            self.stored |= zip(node.outputs, self.run(quantized), strict=True)
        return self.clamped(quantized) if self.clamp and hasattr(node.op, "clamp") else quantized

    def clamped(self, node: Node) -> Node:
        """With limits of its output where the samples end: what it computes of them is the same."""
        t, values = self.type(node.outputs[0]), self.stored[node.outputs[0]]
        if t.dtype is DType.FLOAT16:
            return node
        op: Any = node.op
        ends, own = (int(values.min()), int(values.max())), clamp_limits(op.clamp, t)
        reals = (float(np.float32((end - t.zero_point) * t.scale)) for end in ends)
        limits = tuple(kept if end == limit else real for kept, end, limit, real in zip(op.clamp, ends, own, reals, strict=True))
        return replace(node, op=replace(op, clamp=limits))

    def run(self, node: Node) -> tuple[Array, ...]:
        """The stored outputs of a quantized node."""
        inputs = tuple(self.tensors[n] for n in node.inputs)
        params = node.op.bound(self.precision.law, node.name, inputs, self.type(node.outputs[0]))
        operands = (i for i in range(len(inputs)) if i not in node.op.parameters)
        return node.op.compute(params, *(self.stored[node.inputs[i]] if (d := inputs[i].data) is None else d for i in operands))


def _constant(tensor: Tensor, scale: Scale | None) -> Tensor:
    """A constant operand in int8, in a scale of its own or in the given one."""
    assert tensor.data is not None
    step, zero_point = scale or affine(float(tensor.data.min()), float(tensor.data.max()))
    data = quantize_array(tensor.data, step, zero_point, INT8)
    return Tensor(tensor.name, TensorType(tensor.type.shape, DType.INT8, QParams((step,), zero_point)), data)


def _layer(walk: _Walk, node: Node, real: list[Array]) -> tuple[str, str]:
    """Quantize a layer's weights and bias; file both and return their names. A layer on halves keeps its bias in float32."""
    layer, op = walk.precision.layers[node.name], node.op
    x, w, b = real
    t, y = walk.type(node.inputs[0]), walk.type(node.outputs[0])
    assert op.traits.linear is not None
    v = view(op, t.shape, w.shape, y.shape)
    halves = t.dtype is DType.FLOAT16
    stored = real_array(walk.stored[node.inputs[0]], t)
    matrix = v.matrix(w).astype(np.float64)
    scales = walk.usable(walk.grid.scales(layer.weight_scale, matrix), 2.0**20 if halves else t.scale / y.scale)
    seen = moments(v, stored, x) if layer.rounding == "second-order" else None
    q = walk.integers(node.inputs[1], layer.rounding, matrix, scales, seen)
    bias = b.astype(np.float64)
    if layer.bias_correction:
        bias = bias + _mean_error(op, x, stored, w, v.weights(q * scales[..., None]).astype(np.float32))
    flat = v.channels(scales)
    kind = QParams(tuple(flat.tolist()), 0, op.traits.linear.axis)
    weights = walk.add(Tensor(node.inputs[1], TensorType(w.shape, DType.INT8, kind), v.weights(q).astype(np.int8)))
    if halves:
        return weights, walk.add(Tensor(node.inputs[2], TensorType(b.shape), bias.astype(np.float32)))
    # beyond this the output saturates whatever the input is, so that nothing is lost
    steps = 2 ** (8 * t.dtype.bytes)
    limit = np.minimum(2 * steps * y.scale / (flat * t.scale) + steps * np.abs(v.weights(q)).sum(axis=v.others), BIAS)
    integers = np.clip(np.rint(bias / (flat * t.scale)), -limit, limit)
    return weights, walk.add(Tensor(node.inputs[2], TensorType(b.shape, DType.INT32), integers.astype(np.int32)))


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
