"""The integers that weights may become, and the scales that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.quantize import weight_scales

LIMIT = 127
BIAS = 2.0**30  # of a bias in the scale of sums; of a gate's, far beyond what saturates it
Float = NDArray[np.float64]
Scale = tuple[float, int]  # scale and zero point of a tensor
Bounds = tuple[Float | int, Float | int]  # the least and the largest integer, of each row or of all


@dataclass(frozen=True)
class Grid:
    """The integers that weights may become.

    Attributes:
        limit: their largest magnitude.
        clip: weights beyond this part of their channel's largest saturate.
        shared: one scale for all channels.
        asymmetric: 2 limit + 2 integers instead, of which zero is one, divided between both sides as the channel's extremes are.
        levels: these alone, in order, where not all up to the limit are used.
    """

    limit: int = LIMIT
    clip: float = 1.0
    shared: bool = False
    asymmetric: bool = False
    levels: tuple[int, ...] = ()

    def bounds(self, matrix: Float) -> Bounds:
        """The least and the largest integer of each row of ``[..., K]``."""
        if not self.asymmetric:
            return -self.limit, self.limit
        below, above = np.minimum(matrix.min(axis=-1), 0), np.maximum(matrix.max(axis=-1), 0)
        if self.shared:
            below, above = np.full_like(below, below.min()), np.full_like(above, above.max())
        steps = 2 * self.limit + 1
        low = -np.rint(steps * -below / np.maximum(above - below, 1e-300))
        return low, low + steps

    def scales(self, method: str, matrix: Float) -> Float:
        """Per row of ``[..., K]``."""
        bounds = self.bounds(matrix)
        found: Float = weight_scales.SCALES[method](matrix, bounds, np.array(self.levels, np.float64) if self.levels else None)
        if self.clip < 1:
            found = np.minimum(found, self.clip * weight_scales.widest(matrix, bounds))
        return np.full_like(found, found.max()) if self.shared else found
