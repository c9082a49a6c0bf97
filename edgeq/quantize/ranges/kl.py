"""Ranges of least Kullback-Leibler divergence (Migacz, GTC 2017)."""

from __future__ import annotations

import numpy as np

from edgeq import reals
from edgeq.quantize.ranges import LEVELS, Range
from edgeq.quantize.ranges._divergence import Float, least
from edgeq.quantize.statistics import Observer


def _divergence(counts: Float, first: int, last: int) -> float:
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
    return least(o, _divergence)
