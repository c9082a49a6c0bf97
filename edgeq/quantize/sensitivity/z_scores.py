"""The share of a layer's weights that lie more than a deviation above their mean (the z-score distribution of Dumitru et al., LWQ, 2024).

It needs no samples. The paper ranks layers by it, which are to keep their bits in that order; here it stands for what a step of the
storage's grid costs, so that it falls with the square of the levels.
"""

from __future__ import annotations

from edgeq.ir import Array
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import Unit

RANKS = True
FAR = 1.0  # deviations


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """The share over the square of the largest integer, less that of the usual storage: a rank, not a noise."""
    far, count, step = 0, 0, 0.0
    for node, _, w in probe.weights(unit) if storage in probe.limits else ():
        step = probe.step(node, storage)
        far, count = far + int((w - w.mean() > FAR * w.std()).sum()), count + w.size
    return probe.alike(max(0.0, step) * far / max(1, count))
