"""Scales of least square error of the weights."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.weight_scales import Bounds, Float, widest, within

SHRINKS = np.linspace(1.0, 0.6, 41)


def scales(matrix: Float, bounds: Bounds) -> Float:
    """Per row of ``[..., K]``, the scale of least squared rounding and saturation error (at most `widest`)."""
    full = widest(matrix, bounds)
    best, chosen = np.full(full.shape, np.inf), full.copy()
    for shrink in SHRINKS:
        s = np.maximum(full * shrink, 1e-300)
        error = ((within(np.rint(matrix / s[..., None]), bounds) * s[..., None] - matrix) ** 2).sum(axis=-1)
        better = error < best
        best, chosen = np.where(better, error, best), np.where(better, full * shrink, chosen)
    return chosen
