"""How little a layer's output resembles its input (layer input modification: Dumitru et al., LWQ, 2024), in one pass without gradients.

The paper takes the cosine of a block's input and output, which have one size there. Here sizes differ, so that both are compared by how
samples resemble each other in them: the centred kernel alignment (Kornblith et al., ICML 2019), 1 where they agree up to rotation and size.
What changes much is to keep its bits; it stands for what a step of the storage's grid costs: a rank, not a noise.
"""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array
from edgeq.matrices import matmul
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import Unit

RANKS = True
VECTORS = 64  # samples that see it


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """One less the alignment, over the square of the largest integer, less that of the usual storage."""
    samples, change, step = {n: a[:VECTORS] for n, a in probe.samples.items()}, 0.0, 0.0
    for node, _, _ in probe.weights(unit) if storage in probe.limits else ():
        seen = probe.once("activations", lambda: evaluate_float(probe.graph, samples, steps=True))
        step = probe.step(node, storage)
        x, y = (seen[n] if n in seen else samples[n] for n in (node.inputs[0], node.outputs[0]))
        change = max(change, 1 - alignment(x, y))
    return probe.alike(max(0.0, step) * change)


def alignment(x: Array, y: Array) -> float:
    """Of activations of the same samples, ``[V, *shape]``: 0 to 1; 1 where one of them does not vary."""
    kernels = []
    for a in (x, y):
        rows = a.reshape(len(a), -1).astype(np.float64)
        rows = rows - rows.mean(0)
        kernels.append(matmul(rows, rows.T, True))
    both, own = float((kernels[0] * kernels[1]).sum()), [float((k**2).sum()) for k in kernels]
    return both / float(np.sqrt(own[0] * own[1])) if min(own) > 0 else 1.0
