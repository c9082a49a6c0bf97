"""Weights of four bits that choose one of sixteen integers, a list of each layer (deep compression: Han, Mao and Dally, ICLR 2016).

Twin of `templates/runtime/eq_w_codebook.h`. A stream begins with its sixteen bytes. Where a layer is decoded
by tiles every tile has a list of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.formats.format import Nibbles
from edgeq.numerics import Array

LIMIT = 127


@dataclass(frozen=True)
class Codebook(Nibbles):
    """Half of int8's bytes; sixteen levels of a channel's 255, where the layer's weights are."""

    name: ClassVar[str] = "codebook"
    even: ClassVar[bool] = False
    listed: ClassVar[bool] = True

    @property
    def levels(self) -> range:
        return range(-LIMIT, LIMIT + 1)

    def grid(self, ratios: Array, importance: Array) -> Array:
        """The integers of least square error, and 0 instead of the one next to it: kernels fill up with zeros."""
        places = np.clip(np.rint(ratios), -LIMIT, LIMIT).astype(np.int64) + LIMIT
        mass = np.bincount(places.ravel(), np.broadcast_to(importance, ratios.shape).ravel(), 2 * LIMIT + 1)
        found = np.rint(_means(mass, np.arange(-LIMIT, LIMIT + 1.0), 2**self.width))
        found[np.argmin(np.abs(found))] = 0
        return np.unique(found)

    def entries(self, values: Array) -> Array:
        """The least integers that there are, as many as there are codes, the last one again where there are fewer."""
        found = np.unique(np.append(values, 0) if not np.size(values) else values).astype(np.int64)
        return np.append(found, np.repeat(found[-1], 2**self.width))[: 2**self.width].astype(np.int8)


def _means(mass: Array, at: Array, count: int) -> Array:
    """The means of the `count` runs into which points in order are cut with the least square error, exactly, by dynamic programming
    (Wang and Song, Ckmeans.1d.dp, 2011)."""
    keep = mass > 0
    if keep.sum() <= count:
        return np.asarray(at[keep] if keep.any() else np.zeros(1))
    m, x = mass[keep], at[keep]
    m0, m1, m2 = (np.concatenate([[0.0], np.cumsum(m * x**k)]) for k in range(3))
    weight, sums = (a[None, :] - a[:, None] for a in (m0, m1))  # of points from the first index up to the second
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(weight > 0, m2[None, :] - m2[:, None] - sums**2 / weight, np.inf)
    np.fill_diagonal(error, 0.0)
    best, cuts = error[0], []
    for _ in range(count - 1):
        every = best[:, None] + error
        cuts.append(every.argmin(axis=0))
        best = every.min(axis=0)
    ends = [len(x)]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    runs = zip([0, *ends[:0:-1]], ends[::-1], strict=True)
    return np.array([sums[a, b] / weight[a, b] for a, b in runs if b > a])
