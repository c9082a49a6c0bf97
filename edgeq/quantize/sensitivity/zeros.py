"""The share of a layer's weights that rounding makes zero: the quantization kernel of CrossQuant (Liu et al., 2024), for weights.

What becomes zero is lost whatever the layer is for; the share is a rank, not a noise.
"""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import Unit

RANKS = True


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """The share of all weights of the unit that are not zero and become it, beyond that of the usual storage."""
    lost, count = 0, 0
    for node, _, w in probe.weights(unit) if storage in probe.limits else ():
        gone = [int(((w != 0) & (probe.rounded(node, w, s) == 0)).sum()) for s in (storage, probe.usual[node.name])]
        lost, count = lost + max(0, gone[0] - gone[1]), count + int(np.count_nonzero(w))
    return probe.alike(lost / max(1, count))
