"""What calibration saw of one tensor.

Two passes over the data: extremes first, then a histogram between them, so that memory does not
grow with the number of samples (beyond two numbers per sample).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeq.ir import Array

BINS = 4096
CHANNEL_BINS, CHANNEL_BINS_MIN, CHANNEL_COUNTS = 128, 8, 2**18
FINEST = 2.0**-126  # the least normal float32


@dataclass(eq=False)
class Observer:
    """Collects extremes (pass one) and a histogram (pass two) of one tensor.

    Attributes:
        lows, highs: per sample, the smallest and the largest value, float64.
        counts: int64 ``[BINS]`` over [low, high], the values that are exactly zero left out.
        zeros: how many values were exactly zero (they cost nothing in any range).
        bounds: what it cannot exceed.
        narrow: between the extremes float32 has too few values for a histogram: `counts` says nothing.
    """

    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    zeros: int = 0
    bounds: tuple[float, float] = (-math.inf, math.inf)
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
        return float((self.counts * self.centers).sum()) / max(1, self.total)

    def see_extremes(self, a: Array) -> None:
        """Pass one: `a` is ``[V, *shape]``."""
        flat = a.reshape(len(a), -1)
        self.lows += flat.min(axis=1).astype(np.float64).tolist()
        self.highs += flat.max(axis=1).astype(np.float64).tolist()

    def limit(self, low: float, high: float) -> None:
        """Between the passes: values beyond count as these."""
        self.lows, self.highs = (np.clip(ends, low, high).tolist() for ends in (self.lows, self.highs))
        self.bounds = max(self.bounds[0], low), min(self.bounds[1], high)

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

    def limit(self, low: float, high: float) -> None:
        """Between the passes: values beyond count as these."""
        self.low, self.high = (np.clip(ends, low, high) for ends in (self.low, self.high))

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
