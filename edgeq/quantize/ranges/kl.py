"""Ranges of least Kullback-Leibler divergence (Migacz, GTC 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeq import reals
from edgeq.quantize.ranges import GRID, LEVELS, Range
from edgeq.quantize.statistics import BINS, Observer


def _divergence(counts: NDArray[np.float64], first: int, last: int) -> float:
    """Kullback-Leibler divergence of a histogram clipped to bins first...last-1 from its `LEVELS`-step version."""
    p = counts[first:last].copy()
    inside = p.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    group = np.arange(len(p)) * LEVELS // len(p)
    mass = np.bincount(group, inside, LEVELS)
    filled = np.bincount(group, inside > 0, LEVELS)
    q = np.where(inside > 0, (mass / np.maximum(filled, 1))[group], 0.0)
    if not q.sum():
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    both = p > 0
    return float(np.sum(p[both] * reals.log(p[both] / np.maximum(q[both], 1e-12))))


def rule(o: Observer) -> Range:
    """The range of least Kullback-Leibler divergence, the upper end searched first, then the lower."""
    if o.high <= o.low:
        return o.low, o.high
    counts = o.counts.astype(np.float64)
    edges = np.linspace(o.low, o.high, BINS + 1)
    zero = int(np.clip(np.searchsorted(edges, 0.0), 0, BINS))
    steps = np.linspace(1.0, 0.1, GRID)
    tops = sorted({max(zero + int((BINS - zero) * f), LEVELS) for f in steps}, reverse=True) if zero < BINS else [BINS]
    last = min(tops, key=lambda t: _divergence(counts, 0, t))
    starts = sorted({min(zero - int(zero * f), last - LEVELS) for f in steps}) if zero > 0 else [0]
    first = min((s for s in starts if s >= 0), key=lambda s: _divergence(counts, s, last), default=0)
    return float(edges[first]), float(edges[last])
