"""Float graph -> int8 graph, node by node: every layer is fitted to what the quantized layers before it really give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgeq import half
from edgeq.formats import PLAIN
from edgeq.formats.votes import ChannelVotes
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType, ancestors, check
from edgeq.ops.linear import clamp_limits
from edgeq.ops.weights import with_formats
from edgeq.quantize import layers
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.constraints import is_recurrent
from edgeq.quantize.decide import Decision, decide
from edgeq.quantize.floating import Progress, real_step
from edgeq.quantize.grid import Grid, Scale
from edgeq.quantize.halving import half_constant
from edgeq.quantize.plan import Options, Precision
from edgeq.quantize.refine import NONE, REFINEMENTS, Work
from edgeq.quantize.storage import HALF
from edgeq.simulate import quantize_array

MEMORY = 2**30  # bytes of activations that the walk may hold


def quantize(
    graph: Graph, data: Mapping[str, Array] | Ranges, options: Options | None = None, precision: Precision | None = None,
    progress: Progress | None = None,
) -> Graph:  # fmt: skip
    """Quantize a float graph to int8.

    Weights are symmetric per output channel, activations affine per tensor, biases int32. Tensors and nodes keep
    their names. Where channels were equalized, a tensor holds channel c divided by 2^exponents[c] (see `channels`).

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
    walk = Walk(graph, decision.precision, decision.options.grid, decision.options.clamp)
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
    if decision.options.refine != NONE:
        result = REFINEMENTS[decision.options.refine](Work(graph, result, _subset(graph, decision.ranges.samples)))
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
class Walk:
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

    def add(self, tensor: Tensor) -> str:
        """File a constant under its name, or under a new one where another node made something else of it."""
        name, number = tensor.name, 2
        while name in self.tensors or (name != tensor.name and name in self.graph.tensors):
            other = self.tensors.get(name)
            alike = other is not None and (other.type, other.format) == (tensor.type, tensor.format)
            if other and alike and other.data is not None and np.array_equal(other.data, np.asarray(tensor.data)):
                return name
            name, number = f"{tensor.name}.{number}", number + 1
        self.tensors[name] = replace(tensor, name=name)
        return name

    def halved(self, node: Node, position: int) -> str:
        """File a constant operand in half precision, see `half_constant`."""
        return self.add(half_constant(node, position, self.graph.tensors[node.inputs[position]]))

    def fits(self, node: Node) -> bool:
        """Whether a node's weights are fitted to its inputs."""
        return bool(node.op.traits.products) and self.precision.nodes.get(node.name) != HALF

    def quantize(self, node: Node, run: bool) -> Node:
        """Quantize a node's constants.

        Args:
            run: compute the node in both meanings, for layers that are fitted to what follows from it, or for its limits.
        """
        self.tensors |= {n: Tensor(n, self.type(n)) for n in node.outputs}
        real: list[Array] = []
        outputs: tuple[Array, ...] = ()
        if run or self.fits(node):
            real = [self.real[n] if (d := self.graph.tensors[n].data) is None else d for n in node.inputs]
            outputs = real_step(node, real)
        quantized = replace(node, inputs=self.operands(node, real, outputs))
        if run:
            self.real |= zip(node.outputs, outputs, strict=True)
            self.stored |= zip(node.outputs, self.run(quantized), strict=True)
        return self.clamped(quantized) if self.clamp and hasattr(node.op, "clamp") else quantized

    def operands(self, node: Node, real: list[Array], outputs: tuple[Array, ...]) -> tuple[str, ...]:
        """File a node's constants as they are stored; the names of all inputs."""
        if self.fits(node):
            return layers.recurrent(self, node, real, outputs) if is_recurrent(node) else layers.linear(self, node, real)
        names = list(node.inputs)
        for i, n in enumerate(node.inputs):
            tensor = self.graph.tensors[n]
            if not tensor.is_constant:
                continue
            if self.precision.nodes.get(node.name) == HALF:
                names[i] = self.halved(node, i)
            elif i in node.op.traits.rows_of and node.name in self.precision.layers:
                names[i] = self.add(layers.rows(tensor, self.precision.layers[node.name], self.grid))
            elif i in node.op.traits.real:
                names[i] = self.add(tensor)
            else:
                names[i] = self.add(layers.operand(tensor, self.scale(node.outputs[0]) if node.op.traits.merges else None))
        return tuple(names)

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
