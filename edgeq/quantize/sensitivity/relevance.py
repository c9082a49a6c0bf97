"""Relevance of a layer's weights for the answers (layer-wise relevance propagation, Bach et al., 2015, for bits as in Ranjan and Savakis,
LRP-QViT, 2024).

By the plain rule (LRP-0) what a weight contributes to an output is the weight times the output's gradient; activations that are no
rectifiers are taken as the gradient has them. The output is the largest one, before a softmax. Layers of large relevance are to keep their
bits; it stands for what a step of the storage's grid costs, so that it falls with the square of the levels: a rank, not a noise.
"""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.sensitivity._weights import gradient
from edgeq.quantize.storage import Unit

RANKS = True


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """The mean magnitude of what a weight contributes, over the square of the largest integer, less that of the usual storage.

    Raises:
        EdgeqError: the graph has states, the layer is no plain product, or an operator behind it has no gradient.
    """
    relevance, count, step = 0.0, 0, 0.0
    for node, position, w in probe.weights(unit) if storage in probe.limits else ():
        step = probe.step(node, storage)
        relevance += float(np.abs(w * gradient(probe, "relevance", _largest, node, position)).sum())
        count += w.size
    return probe.alike(max(0.0, step) * relevance / max(1, count))


def _largest(z: Array) -> Array:
    """Of the mean largest value."""
    found = np.zeros_like(z)
    found[np.arange(len(z)), z.argmax(1)] = 1 / len(z)
    return found
