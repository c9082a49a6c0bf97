"""The square error of a layer's own outputs, relative to them: what rounding itself makes small (Hubara et al., AdaQuant, ICML 2021).

It knows nothing of what the layers behind make of it. The rounding of activations is not in it.
"""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array
from edgeq.quantize.floating import evaluate_float, real_step
from edgeq.quantize.sensitivity import Probe, back
from edgeq.quantize.storage import Unit

VECTORS = 64  # samples that see it


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """Of the first output of every layer, added up; one number for all outputs of the graph."""
    samples, total = {n: a[:VECTORS] for n, a in probe.samples.items()}, 0.0
    for node, position, w in probe.weights(unit) if storage in probe.limits else ():
        seen = probe.once("activations", lambda: evaluate_float(probe.graph, samples, steps=True))
        x = [seen[n] if (d := probe.graph.tensors[n].data) is None else d for n in node.inputs]
        real = seen[node.outputs[0]].astype(np.float64)
        lost = []
        for stored in (storage, probe.usual[node.name]):
            x[position] = back(node, probe.rounded(node, w, stored))
            lost.append(float(((real_step(node, x)[0] - real) ** 2).sum()))
        total += max(0.0, lost[0] - lost[1]) / max(float((real**2).sum()), 1e-30)
    return probe.alike(total)
