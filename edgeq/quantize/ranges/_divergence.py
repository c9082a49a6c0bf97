"""Both ends of a range by what cutting a histogram there costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeq.quantize.ranges import GRID, LEVELS, Range
from edgeq.quantize.statistics import BINS, Observer

Float = NDArray[np.float64]


def least(o: Observer, cost: Callable[[Float, int, int], float]) -> Range:
    """The range of least cost, the upper end searched first, then the lower; it encloses 0.

    Args:
        cost: of the counts ``[BINS]`` cut to bins first...last-1.
    """
    if o.high <= o.low:
        return o.low, o.high
    counts, edges = o.counts.astype(np.float64), np.linspace(o.low, o.high, BINS + 1)
    zero = int(np.clip(np.searchsorted(edges, 0.0), 0, BINS))
    steps = np.linspace(1.0, 0.1, GRID)
    tops = sorted({max(zero + int((BINS - zero) * f), LEVELS) for f in steps}, reverse=True) if zero < BINS else [BINS]
    last = min(tops, key=lambda t: cost(counts, 0, t))
    starts = sorted({min(zero - int(zero * f), last - LEVELS) for f in steps}) if zero > 0 else [0]
    first = min((s for s in starts if s >= 0), key=lambda s: cost(counts, s, last), default=0)
    return float(edges[first]), float(edges[last])
