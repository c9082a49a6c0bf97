"""Ranges of least divergence that counts what saturates (after the improved metric of CFWS, Yang et al., 2023).

In the metric of `kl` the reference has what saturates in its last bin already, as the stored values do, so that cutting off costs little.
Here the reference stays the histogram as it was seen. Where only one of the two has mass their divergence would be infinite, so that both
are compared with their mean (Jensen and Shannon): at most log 2, and 0 where they agree.
"""

from __future__ import annotations

import numpy as np

from edgeq import reals
from edgeq.quantize.ranges import LEVELS, Range
from edgeq.quantize.ranges._divergence import Float, least
from edgeq.quantize.statistics import Observer


def rule(o: Observer) -> Range:
    """The range of least divergence, the upper end searched first, then the lower; it encloses 0."""
    return least(o, _divergence)


def _divergence(counts: Float, first: int, last: int) -> float:
    """Of a histogram from what it is stored as in `LEVELS` steps of bins first...last-1, whose ends have what lies beyond."""
    inside = counts[first:last]
    group = np.arange(last - first) * LEVELS // (last - first)
    mass = np.bincount(group, inside, LEVELS)
    mass[0] += counts[:first].sum()
    mass[-1] += counts[last:].sum()
    filled = np.bincount(group, inside > 0, LEVELS)
    stored = np.zeros_like(counts)
    even = np.where(filled > 0, filled, np.bincount(group, minlength=LEVELS))  # a step that only has what saturates lies all over
    stored[first:last] = np.where((inside > 0) | (filled[group] == 0), (mass / even)[group], 0.0)
    p, q = counts / max(counts.sum(), 1.0), stored / max(stored.sum(), 1.0)
    return _relative(p, (p + q) / 2) + _relative(q, (p + q) / 2)


def _relative(p: Float, m: Float) -> float:
    """Kullback and Leibler's divergence of p from m, which has mass wherever p has some."""
    at = p > 0
    return float(np.sum(p[at] * reals.log(p[at] / m[at])))
