"""Rules that choose the scale of a row of weights: one file each, found by scan.

A rule is a module with ``scales(matrix, bounds, levels)``: per row of ``[..., K]`` a scale at which the integers lie within `bounds`, the
least and the largest integer of each row or of all; 0 for a row of zeros. `levels` are the integers that there are, in order, where these
are not all between the bounds, else None. Its name is the file's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeq.quantize.methods import Methods

Float = NDArray[np.float64]
Bounds = tuple[Float | int, Float | int]
Levels = Float | None

SCALES: Mapping[str, Callable[[Float, Bounds, Levels], Float]] = Methods(__name__, __path__, "scales")


def widest(matrix: Float, bounds: Bounds) -> Float:
    """Per row of ``[..., K]``, the least scale at which all weights lie within `bounds`; 0 for a row of zeros."""
    low, high = (np.asarray(b, np.float64) for b in bounds)
    below, above = matrix.min(axis=-1), matrix.max(axis=-1)
    parts = [np.divide(side, b, out=np.zeros_like(side), where=b != 0) for side, b in ((below, low), (above, high))]
    return np.asarray(np.maximum(*parts), np.float64)


def nearest(values: Float, bounds: Bounds, levels: Levels = None) -> Float:
    """The integers next to `values`, halves to even, within bounds that are broadcast to them; of `levels`, if any."""
    if levels is None:
        found = np.rint(values)
        return np.asarray(np.clip(found, *bounds, out=found), np.float64)
    return np.asarray(levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)], np.float64)


def within(integers: Float, bounds: Bounds) -> Float:
    """Cut to the bounds of each row of ``[..., K]``."""
    low, high = (np.asarray(b, np.float64)[..., None] for b in bounds)
    return np.asarray(np.clip(integers, low, high), np.float64)
