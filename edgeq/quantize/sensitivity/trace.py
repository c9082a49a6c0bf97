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
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import Unit

SIGNS = 4  # random vectors
STEP = 2.0**-7  # by which weights move, of their root mean square
VECTORS = 64  # samples that see it


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """Predicted of the weights alone, per output; the same for every part of the samples that judges."""
    count = len(probe.graph.results)
    total = np.zeros(count)
    if storage in probe.limits:
        samples = {n: a[:VECTORS] for n, a in probe.samples.items()}
        usual = probe.once("outputs", lambda: evaluate_float(probe.graph, samples))
        for node, position, w in probe.weights(unit):
            name = node.inputs[position]
            curvature = probe.once(("trace", name), lambda name=name: _curvature(probe.graph, name, samples, usual))  # type: ignore[misc]
            total += curvature * probe.error(node, w, storage) / w.size
    return np.tile(total, len(probe.base) // count)


def _curvature(graph: Graph, name: str, samples: dict[str, Array], usual: dict[str, Array]) -> Array:
    """Per output the trace over its power: what a unit of square error in every weight would cost."""
    w = graph.tensors[name].data
    assert w is not None
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
