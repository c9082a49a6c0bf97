"""Scales that weights have already: somebody quantized them before, and they lie on its grid."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.weight_scales import Bounds, Float, Levels, mse

OFF = 5e-4  # how far from an integer float32 arithmetic brings a weight on a grid


def scales(matrix: Float, bounds: Bounds, levels: Levels = None) -> Float:
    """Per row of ``[..., K]``, the finest scale of which all weights are multiples within `bounds`; where none is, as `mse` has it."""
    found = known(matrix, bounds, levels)
    return found if (found > 0).all() else np.where(found > 0, found, mse.scales(matrix, bounds, levels))


def known(matrix: Float, bounds: Bounds, levels: Levels = None) -> Float:
    """As `scales`; 0 for a row on no grid, and 1 for one of zeros."""
    peak = np.abs(matrix).max(axis=-1)
    low, high = (np.asarray(b, np.float64) for b in bounds)
    found = np.where(peak == 0, 1.0, 0.0)
    for steps in range(int(np.max(np.maximum(-low, high))), 0, -1):
        step = np.where(peak > 0, peak, 1.0) / steps
        integers = matrix / step[..., None]
        near = np.abs(integers - np.rint(integers)).max(axis=-1) < OFF
        fits = (np.rint(integers.min(axis=-1)) >= low) & (np.rint(integers.max(axis=-1)) <= high)
        if levels is not None:
            fits &= np.isin(np.rint(integers), levels).all(axis=-1)
        found = np.where((found == 0) & near & fits, step, found)
        if (found > 0).all():
            break
    return found
