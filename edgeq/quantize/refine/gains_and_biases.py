"""Gains and biases of every channel fitted again, layer by layer: least squares between the float layer's sums and those of the stored
layer on what the quantized layers before it give (the batch-norm tuning of Hubara et al., ICML 2021, without a batch-norm)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgeq import half
from edgeq.ir import Array, DType, Graph, Node, Tensor
from edgeq.ops.linear import NO_CLAMP
from edgeq.quantize.floating import evaluate_float, real_values
from edgeq.quantize.refine import Work, changed
from edgeq.simulate import quantize_array, real_array, simulate

VECTORS = 256  # samples that take part
LEAST = 1e-12  # of a channel's variance to that of the layer: fewer say nothing about its gain


def refined(work: Work) -> Graph:
    """One walk over the layers; what each of them gives then is what the next one is fitted to."""
    count = len(next(iter(work.samples.values())))
    at = np.arange(min(count, VECTORS)) if work.graph.states else np.arange(min(count, VECTORS)) * count // min(count, VECTORS)
    samples = {n: a[at] for n, a in work.samples.items()}
    real = evaluate_float(work.real, {n: samples[n] for n in work.real.given}, steps=True)
    graph, nodes = work.graph, {n.name: n for n in work.real.nodes}
    tunable = {n.name for n in work.tunable()}
    stored = {n: _quantized(graph.tensors[n], samples[n]) for n in graph.inputs}
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for i, node in enumerate(graph.nodes):
        if node.name in tunable:
            own = nodes[node.name]
            if graph.states:  # what a layer meets depends on those behind it
                stored = dict(simulate(graph, {n: samples[n] for n in graph.given}, steps=True).steps)
            x = real_array(stored[node.inputs[0]], graph.type(node.inputs[0]))
            graph = changed(graph, node, *_fitted(graph, node, own, work.real, real[own.inputs[0]], x))
        if not graph.states:
            stored |= zip(node.outputs, _run(graph, node, stored), strict=True)
            for name in {n for n in node.inputs if last[n] == i}:
                stored.pop(name, None)
    return graph


def _quantized(tensor: Tensor, x: Array) -> Array:
    t = tensor.type
    return half.from_float(x) if t.dtype is DType.FLOAT16 else quantize_array(x, t.scale, t.zero_point, t.dtype.numpy)


def _run(graph: Graph, node: Node, stored: dict[str, Array]) -> tuple[Array, ...]:
    """The stored outputs of a node."""
    inputs = tuple(graph.tensors[n] for n in node.inputs)
    params = node.op.bound(graph.law, node.name, inputs, graph.type(node.outputs[0]))
    operands = (i for i in range(len(inputs)) if i not in node.op.parameters)
    return node.op.compute(params, *(stored[node.inputs[i]] if (d := inputs[i].data) is None else d for i in operands))


def _fitted(graph: Graph, node: Node, float_node: Node, real: Graph, x: Array, stored: Array) -> tuple[Array, Array]:
    """Per channel the gain and the shift that bring the stored layer's sums to the float layer's."""
    layer: Any = node.op
    op = replace(layer, clamp=NO_CLAMP)
    w, b = (np.asarray(real.tensors[n].data) for n in float_node.inputs[1:3])
    own = real_values(graph.tensors[node.inputs[1]])
    scales = np.asarray(graph.type(node.inputs[1]).q.scale) * graph.type(node.inputs[0]).scale  # type: ignore[union-attr]
    bias = (np.asarray(graph.tensors[node.inputs[2]].data) * scales).astype(np.float32)
    wanted, found = (op.real(a, u, c).astype(np.float64).reshape(-1, len(b)) for a, u, c in ((x, w, b), (stored, own, bias)))
    middle, mean = wanted.mean(0), found.mean(0)
    spread, along = ((found - mean) ** 2).mean(0), ((found - mean) * (wanted - middle)).mean(0)
    known = spread > LEAST * max(float(spread.max()), 1e-300)
    gain = np.where(known & (along > 0), along / np.where(known, spread, 1.0), 1.0)
    return gain, middle - gain * mean
