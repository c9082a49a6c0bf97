"""Outlier channel splitting (Zhao et al., OCS, ICML 2019): the channel that the largest weight reads becomes two, each read by half of it.

Weights then spread less, for as much more work and flash as there are channels more. It needs no data.
"""

from __future__ import annotations

import numpy as np

from edgeq.quantize.split import Float, Shares


def shares(weights: Float, more: int) -> Shares:
    """See `split`. A channel that was split may be so again."""
    largest = np.abs(weights).max(axis=0)
    source, part = list(range(len(largest))), [1.0] * len(largest)
    for _ in range(more):
        at = int(np.argmax(largest[source] * part))
        part[at] /= 2
        source.append(source[at])
        part.append(part[at])
    return np.array(source), np.array(part)
