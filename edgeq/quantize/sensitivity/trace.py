"""Average trace of the curvature times the weights' rounding error (Dong et al., HAWQ-V2, NeurIPS 2020), by Hutchinson's method.

The curvature is that of the outputs' squared error about the float outputs, which needs no labels and no second derivatives: its trace is
the mean square that outputs move by, over random signs of weights. The rounding of activations is not in it.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.grid import Grid
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import HALF, Unit
from edgeq.quantize.weight_scales import widest, within

SIGNS = 4  # random vectors
STEP = 2.0**-7  # by which weights move, of their root mean square
VECTORS = 64  # samples that see it


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """Predicted of the weights alone, per output; the same for every part of the samples that judges."""
    axes = {n.inputs[p]: n.op.traits.linear.axis if n.op.traits.linear else 0 for n in unit.nodes for p in n.op.traits.weights}
    count = len(probe.graph.results)
    if not axes or storage == HALF:
        return np.zeros_like(probe.base)
    samples = {n: a[:VECTORS] for n, a in probe.samples.items()}
    usual = evaluate_float(probe.graph, samples)
    total = sum(_curvature(probe.graph, name, samples, usual) * _rounding(probe.graph, name, axis) for name, axis in sorted(axes.items()))
    return np.tile(np.asarray(total), len(probe.base) // count)


def _weights(graph: Graph, name: str) -> Array:
    data = graph.tensors[name].data
    assert data is not None
    return data


def _rounding(graph: Graph, name: str, axis: int) -> float:
    """The mean square of what rounding to int8 changes, a scale per output channel, which lie along `axis`."""
    w = np.moveaxis(_weights(graph, name).astype(np.float64), axis, 0)
    rows, bounds = w.reshape(len(w), -1), Grid().bounds(w)
    scales = np.maximum(widest(rows, bounds), 1e-30)
    return float(((within(np.rint(rows / scales[:, None]), bounds) * scales[:, None] - rows) ** 2).mean())


def _curvature(graph: Graph, name: str, samples: dict[str, Array], usual: dict[str, Array]) -> Array:
    """Per output the trace over its power: what a unit of square error in every weight would cost."""
    w = _weights(graph, name)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    step = STEP * max(float(np.sqrt(np.mean(w.astype(np.float64) ** 2))), 1e-30)
    moved = np.zeros(len(graph.results))
    for _ in range(SIGNS):
        data = (w + step * rng.choice([-1.0, 1.0], w.shape)).astype(np.float32)
        found = evaluate_float(replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], data=data)}), samples)
        for i, n in enumerate(graph.results):
            power = max(float((usual[n].astype(np.float64) ** 2).sum()), 1e-30)
            moved[i] += float(((found[n].astype(np.float64) - usual[n]) ** 2).sum()) / power
    return np.asarray(moved / SIGNS / step**2)
