"""Rounding errors of weights times the gradients they meet (Shao et al., GWQ: gradient-aware weight quantization, 2024).

No labels are needed: a network answers for its own classes. The gradient is that of the cross entropy with the class that the float
network chooses, or of half the output's power where there is one number. What a weight loses counts by the square of its gradient; it is a
rank, not a noise. The paper keeps single weights of large gradients in more bits, which no kernel reads; here layers are.
"""

from __future__ import annotations

import numpy as np

from edgeq import reals
from edgeq.ir import Array
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.sensitivity._weights import gradient
from edgeq.quantize.storage import Unit

RANKS = True


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """The sum over weights of the squares of gradient times error, beyond that of the usual storage: a rank, not a noise.

    Raises:
        EdgeqError: the graph has states, the layer is no plain product, or an operator behind it has no gradient.
    """
    total = 0.0
    for node, position, w in probe.weights(unit) if storage in probe.limits else ():
        g = gradient(probe, "gradients", _own, node, position)
        lost = [float(((g * (probe.rounded(node, w, s) - w)) ** 2).sum()) for s in (storage, probe.usual[node.name])]
        total += max(0.0, lost[0] - lost[1])
    return probe.alike(total)


def _own(z: Array) -> Array:
    """Of the cross entropy with the likeliest class; of half the square of one number."""
    if z.shape[1] == 1:
        return z / len(z)
    e = reals.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    p[np.arange(len(z)), z.argmax(1)] -= 1
    return np.asarray(p / len(z))
