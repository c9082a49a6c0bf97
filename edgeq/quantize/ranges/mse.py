"""Ranges of least mean square error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeq.ir import Array
from edgeq.quantize.ranges import GRID, LEVELS, Range
from edgeq.quantize.statistics import Observer


def candidates(o: Observer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends to try: from the extremes (with zero) inwards, at most `GRID` of each."""
    low, high = min(o.low, 0.0), max(o.high, 0.0)
    fractions = np.linspace(1.0, 0.1, GRID)
    return (low * fractions if low < 0 else np.zeros(1)), (high * fractions if high > 0 else np.zeros(1))


def mean_square_errors(o: Observer, lows: Array, highs: Array) -> NDArray[np.float64]:
    """The summed squared error ``[len(lows), len(highs)]`` of storing the tensor in LEVELS steps of each range.

    Inside a range the error is that of a uniform rounding, step^2 / 12, for every value but exact
    zeros; outside it the distance to the range's end.
    """
    x, n = o.centers, o.counts.astype(np.float64)
    sums = [np.concatenate(([0.0], np.cumsum(n * x**k))) for k in range(3)]

    def clipped(ends: Array, below: bool) -> tuple[Array, Array]:
        at = np.searchsorted(x, ends, side="left")
        m0, m1, m2 = (s[at] if below else s[-1] - s[at] for s in sums)
        return m0, m2 - 2 * ends * m1 + ends * ends * m0

    outside_low, error_low = clipped(lows, True)
    outside_high, error_high = clipped(highs, False)
    inside = sums[0][-1] - outside_low[:, None] - outside_high[None, :]
    step = (highs[None, :] - lows[:, None]) / (LEVELS - 1)
    result: NDArray[np.float64] = error_low[:, None] + error_high[None, :] + inside * step * step / 12
    return result


def rule(o: Observer) -> Range:
    """The range of least mean square error over a grid of both ends."""
    if o.high <= o.low:
        return o.low, o.high
    lows, highs = candidates(o)
    i, j = np.unravel_index(int(np.argmin(mean_square_errors(o, lows, highs))), (len(lows), len(highs)))
    return max(float(lows[i]), o.low), min(float(highs[j]), o.high)
