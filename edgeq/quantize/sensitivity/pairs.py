"""A layer's own error at the outputs, and its part of what it gives together with every other layer (the terms between layers of
Schaefer et al., Augmenting Hessians with inter-layer dependencies, 2023, and of CLADO, Deng et al., 2023).

Errors of layers are taken to add up at the outputs, sign by sign: with e the change of the outputs where one layer's weights are rounded
and E the sum of it over all layers in that storage, a layer's part of the square of E is the product of e and E. What several layers make
up for is counted so, and what they do alike twice; where a part is negative, nothing counts. The rounding of activations is not in it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Array
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.sensitivity import Probe, back
from edgeq.quantize.storage import Unit, units

VECTORS = 64  # samples that see it


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """Predicted of the weights alone, of all outputs together."""
    if storage not in probe.limits:
        return probe.alike(0.0)
    errors = probe.once(("pairs", storage), lambda: _errors(probe, storage))
    return probe.alike(max(0.0, float((errors[unit.name] * sum(errors.values())).sum())))


def _errors(probe: Probe, storage: str) -> dict[str, Array]:
    """Per unit what the outputs change by where its weights are in a storage and not in the usual one, over the roots of their powers."""
    samples = {n: a[:VECTORS] for n, a in probe.samples.items()}
    found: dict[str, Array] = {}
    for unit in units(probe.graph):
        ends = []
        for other in (False, True):
            tensors = dict(probe.graph.tensors)
            for node, position, w in probe.weights(unit):
                stored, name = storage if other else probe.usual[node.name], node.inputs[position]
                tensors[name] = replace(tensors[name], data=back(node, probe.rounded(node, w, stored)))
            ends.append(evaluate_float(replace(probe.graph, tensors=tensors), samples))
        parts = []
        for name in probe.graph.results:
            usual, moved = (e[name].astype(np.float64).ravel() for e in ends)
            parts.append((moved - usual) / np.sqrt(max(float((usual**2).sum()), 1e-30)))
        found[unit.name] = np.concatenate(parts)
    return found
