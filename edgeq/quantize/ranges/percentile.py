"""Ranges that leave a small share of the values out."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.ranges import Range
from edgeq.quantize.statistics import BINS, Observer

PERCENTILE = 99.99


def rule(o: Observer, keep: float = PERCENTILE) -> Range:
    """The narrowest bins that leave at most ``(100 - keep) / 2`` percent of the values out on either side."""
    counts = o.counts.copy()
    if o.zeros and o.high > o.low:  # exact zeros lie in the bin that holds 0, if the extremes enclose it
        counts[min(BINS - 1, max(0, int((0.0 - o.low) / (o.high - o.low) * BINS)))] += o.zeros
    total = counts.sum()
    if not total or o.high <= o.low:
        return o.low, o.high
    out = total * (100.0 - keep) / 200.0
    cumulative = np.cumsum(counts)
    edges = np.linspace(o.low, o.high, BINS + 1)
    first = int(np.searchsorted(cumulative, out, side="right"))
    last = int(np.searchsorted(cumulative, total - out, side="left"))
    return float(edges[min(first, BINS - 1)]), float(edges[min(last, BINS - 1) + 1])
