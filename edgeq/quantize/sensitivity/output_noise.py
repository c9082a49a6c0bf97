"""Noise of the outputs with one unit in a storage and the others as usual, simulated (Yao et al., HAWQ-V3, 2021)."""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import Unit


def noise(probe: Probe, unit: Unit, storage: str) -> Array:
    """As measured, states carried along."""
    found = probe.measure({**probe.usual, **{n.name: storage for n in unit.nodes}})
    return np.asarray(np.maximum(found - probe.base, 0))
