"""Scales of least square error of the weights."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.weight_scales import Bounds, Float, Levels, nearest, widest

SHRINKS = np.linspace(1.0, 0.6, 41)


ELEMENTS = 2**16  # of the matrix that are rounded at once: they stay in the cache


def scales(matrix: Float, bounds: Bounds, levels: Levels = None) -> Float:
    """Per row of ``[..., K]``, the scale of least squared rounding and saturation error (at most `widest`)."""
    full = widest(matrix, bounds)
    rows, ends = matrix.reshape(-1, matrix.shape[-1]), [np.broadcast_to(b, full.shape).reshape(-1) for b in bounds]
    chosen, step = full.reshape(-1).copy(), max(1, ELEMENTS // max(1, matrix.shape[-1]))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        chosen[part] = _best(rows[part], chosen[part], (ends[0][part, None], ends[1][part, None]), levels)
    return chosen.reshape(full.shape)


def _best(matrix: Float, full: Float, bounds: Bounds, levels: Levels) -> Float:
    best, chosen = np.full(full.shape, np.inf), full.copy()
    for shrink in SHRINKS:
        s = np.maximum(full * shrink, 1e-300)
        off = nearest(matrix / s[..., None], bounds, levels)
        off *= s[..., None]
        off -= matrix
        error = np.square(off, out=off).sum(axis=-1)
        better = error < best
        best, chosen = np.where(better, error, best), np.where(better, full * shrink, chosen)
    return chosen
