"""Ranges of least divergence that counts what saturates (after the improved metric of CFWS, Yang et al., 2023).

In the metric of `kl` the reference has what saturates in its last bin already, as the stored values do, so that cutting off costs little.
Here the reference stays the histogram as it was seen. Where only one of the two has mass their divergence would be infinite, so that both
are compared with their mean (Jensen and Shannon): at most log 2, and 0 where they agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeq import reals
from edgeq.quantize.ranges import GRID, LEVELS, Range
from edgeq.quantize.statistics import BINS, Observer

Float = NDArray[np.float64]


def rule(o: Observer) -> Range:
    """The range of least divergence, the upper end searched first, then the lower; it encloses 0."""
    if o.high <= o.low:
        return o.low, o.high
    counts, edges = o.counts.astype(np.float64), np.linspace(o.low, o.high, BINS + 1)
    zero = int(np.clip(np.searchsorted(edges, 0.0), 0, BINS))
    steps = np.linspace(1.0, 0.1, GRID)
    tops = sorted({max(zero + int((BINS - zero) * f), LEVELS) for f in steps}, reverse=True) if zero < BINS else [BINS]
    last = min(tops, key=lambda t: _divergence(counts, 0, t))
    starts = sorted({min(zero - int(zero * f), last - LEVELS) for f in steps}) if zero > 0 else [0]
    first = min((s for s in starts if s >= 0), key=lambda s: _divergence(counts, s, last), default=0)
    return float(edges[first]), float(edges[last])


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
