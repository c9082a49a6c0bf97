"""What calibration saw of one tensor, and the ranges that the methods choose from it.

Two passes over the data: extremes first, then a histogram between them, so that memory does not
grow with the number of samples (beyond two numbers per sample).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeq.ir import Array

BINS = 4096
LEVELS = 256
PERCENTILE = 99.99
CHANNEL_BINS, CHANNEL_BINS_MIN, CHANNEL_COUNTS = 128, 8, 2**18
FINEST = 2.0**-126  # the least normal float32
MOMENTUM = 0.9
MOVING_BATCH = 8
GRID = 96

Range = tuple[float, float]


@dataclass(eq=False)
class Observer:
    """Collects extremes (pass one) and a histogram (pass two) of one tensor.

    Attributes:
        lows, highs: per sample, the smallest and the largest value, float64.
        counts: int64 ``[BINS]`` over [low, high], the values that are exactly zero left out.
        zeros: how many values were exactly zero (they cost nothing in any range).
        narrow: between the extremes float32 has too few values for a histogram: `counts` says nothing.
    """

    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    zeros: int = 0
    narrow: bool = False

    @property
    def low(self) -> float:
        return min(self.lows)

    @property
    def high(self) -> float:
        return max(self.highs)

    @property
    def total(self) -> int:
        return int(self.counts.sum()) + self.zeros

    @property
    def mean(self) -> float:
        return float(self.counts @ self.centers) / max(1, self.total)

    def see_extremes(self, a: Array) -> None:
        """Pass one: `a` is ``[V, *shape]``."""
        flat = a.reshape(len(a), -1)
        self.lows += flat.min(axis=1).astype(np.float64).tolist()
        self.highs += flat.max(axis=1).astype(np.float64).tolist()

    def see_values(self, a: Array) -> None:
        """Pass two: `a` is ``[V, *shape]``, within the extremes of pass one."""
        values = a.reshape(-1)
        nonzero = values[values != 0]
        self.zeros += values.size - nonzero.size
        low, high = self.low, self.high
        edges = np.linspace(low, high, BINS + 1, dtype=np.float32)
        self.narrow = high > low and not (edges[1:] > edges[:-1]).all()
        if high > low and not self.narrow:
            self.counts += np.histogram(nonzero, bins=BINS, range=(low, high))[0]
        else:
            self.counts[0] += nonzero.size

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin, ``[BINS]``."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        middle: NDArray[np.float64] = (edges[1:] + edges[:-1]) / 2
        return middle


@dataclass(eq=False)
class Channels:
    """Collects a histogram of each channel (last axis) of one tensor between the channel's own extremes.

    Attributes:
        low, high: ``[C]`` (pass one).
        counts: ``[C, bins]``, the values that are exactly zero left out (pass two).
        values: how many values each channel has, zeros included.
    """

    low: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    high: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    values: int = 0

    def see_extremes(self, a: Array) -> None:
        """Pass one: `a` is ``[V, *shape]``."""
        rows = _rows(a)
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        self.low, self.high = (np.minimum(low, self.low), np.maximum(high, self.high)) if self.low.size else (low, high)

    def see_values(self, a: Array) -> None:
        """Pass two: `a` is ``[V, *shape]``, within the extremes of pass one."""
        rows = _rows(a)
        channels = rows.shape[1]
        bins = max(CHANNEL_BINS_MIN, min(CHANNEL_BINS, CHANNEL_COUNTS // channels))
        spread = self.high - self.low
        factor = bins / np.where(spread > bins * FINEST, spread, 1.0)
        at = np.minimum((rows - self.low.astype(np.float32)) * factor.astype(np.float32), bins - 1).astype(np.int64)
        at += np.arange(channels) * bins
        counts = np.bincount(at[rows != 0], minlength=channels * bins).reshape(channels, bins).astype(np.float64)
        self.counts = self.counts + counts if self.counts.size else counts
        self.values += len(rows)

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin, ``[C, bins]``."""
        bins = self.counts.shape[1]
        middle: NDArray[np.float64] = self.low[:, None] + (np.arange(bins) + 0.5) / bins * (self.high - self.low)[:, None]
        return middle


def _rows(a: Array) -> Array:
    """``[R, C]``: all positions of all samples by channels."""
    return a.reshape(-1, a.shape[-1] if a.ndim > 1 else 1)


def minmax(o: Observer) -> Range:
    """The extremes over all samples."""
    return o.low, o.high


def moving(o: Observer) -> Range:
    """An exponential moving average of the extremes of batches of `MOVING_BATCH` samples, in their order."""

    def average(values: list[float], extreme: Callable[[list[float]], float]) -> float:
        batches = [extreme(values[i : i + MOVING_BATCH]) for i in range(0, len(values), MOVING_BATCH)]
        result = batches[0]
        for b in batches[1:]:
            result = MOMENTUM * result + (1 - MOMENTUM) * b
        return result

    return average(o.lows, min), average(o.highs, max)


def percentile(o: Observer, keep: float = PERCENTILE) -> Range:
    """The narrowest bins that leave at most ``(100 - keep) / 2`` percent of the values out on either side."""
    counts = o.counts.copy()
    if o.zeros and o.high > o.low:  # exact zeros lie in the bin that holds 0, if the extremes enclose it
        counts[min(BINS - 1, max(0, int((0.0 - o.low) / (o.high - o.low) * BINS)))] += o.zeros
    total = counts.sum()
    if not total or o.high <= o.low:
        return minmax(o)
    out = total * (100.0 - keep) / 200.0
    cumulative = np.cumsum(counts)
    edges = np.linspace(o.low, o.high, BINS + 1)
    first = int(np.searchsorted(cumulative, out, side="right"))
    last = int(np.searchsorted(cumulative, total - out, side="left"))
    return float(edges[min(first, BINS - 1)]), float(edges[min(last, BINS - 1) + 1])


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


def mse(o: Observer) -> Range:
    """The range of least mean square error over a grid of both ends."""
    if o.high <= o.low:
        return minmax(o)
    lows, highs = candidates(o)
    i, j = np.unravel_index(int(np.argmin(mean_square_errors(o, lows, highs))), (len(lows), len(highs)))
    return max(float(lows[i]), o.low), min(float(highs[j]), o.high)


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
    return float(np.sum(p[both] * np.log(p[both] / np.maximum(q[both], 1e-12))))


def kl(o: Observer) -> Range:
    """The range of least Kullback-Leibler divergence, the upper end searched first, then the lower."""
    if o.high <= o.low:
        return minmax(o)
    counts = o.counts.astype(np.float64)
    edges = np.linspace(o.low, o.high, BINS + 1)
    zero = int(np.clip(np.searchsorted(edges, 0.0), 0, BINS))
    steps = np.linspace(1.0, 0.1, GRID)
    tops = sorted({max(zero + int((BINS - zero) * f), LEVELS) for f in steps}, reverse=True) if zero < BINS else [BINS]
    last = min(tops, key=lambda t: _divergence(counts, 0, t))
    starts = sorted({min(zero - int(zero * f), last - LEVELS) for f in steps}) if zero > 0 else [0]
    first = min((s for s in starts if s >= 0), key=lambda s: _divergence(counts, s, last), default=0)
    return float(edges[first]), float(edges[last])


METHODS: dict[str, Callable[[Observer], Range]] = {
    "minmax": minmax,
    "moving": moving,
    "percentile": percentile,
    "mse": mse,
    "kl": kl,
}


def choose(method: str, o: Observer) -> tuple[str, Range]:
    """The range of a tensor, and the method that chose it: ``minmax`` where there is no histogram for another one."""
    used = "minmax" if o.narrow else method
    return used, METHODS[used](o)
