"""Weight scales per output channel and the rounding of weights to integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.quantize.linear import Moments

LIMIT = 127
SHRINKS = np.linspace(1.0, 0.6, 41)
SWEEPS = 8
COLUMNS = 32  # that are rounded before the others are told
DAMPING = 0.01
FLOOR = 1e-5  # of the ridge, relative to the inputs' mean square: more than the moments' rounding errors
Float = NDArray[np.float64]


def max_scales(matrix: Float, limit: int = LIMIT) -> Float:
    """Per row of ``[..., K]``, the largest magnitude over `limit`; 0 for a row of zeros."""
    result: Float = np.abs(matrix).max(axis=-1) / limit
    return result


def mse_scales(matrix: Float, limit: int = LIMIT) -> Float:
    """Per row of ``[..., K]``, the scale of least squared rounding and saturation error (at most `max_scales`)."""
    full = max_scales(matrix, limit)
    best, scales = np.full(full.shape, np.inf), full.copy()
    for shrink in SHRINKS:
        s = np.maximum(full * shrink, 1e-300)[..., None]
        error = ((np.clip(np.rint(matrix / s), -limit, limit) * s - matrix) ** 2).sum(axis=-1)
        better = error < best
        best, scales = np.where(better, error, best), np.where(better, full * shrink, scales)
    return scales


SCALES = {"max": max_scales, "mse": mse_scales}


@dataclass(frozen=True)
class Grid:
    """The integers that weights may become.

    Attributes:
        limit: their largest magnitude.
        clip: weights beyond this part of their channel's largest saturate.
        shared: one scale for all channels.
    """

    limit: int = LIMIT
    clip: float = 1.0
    shared: bool = False

    def scales(self, method: str, matrix: Float) -> Float:
        """Per row of ``[..., K]``."""
        found: Float = np.minimum(SCALES[method](matrix, self.limit), self.clip * max_scales(matrix, self.limit))
        return np.full_like(found, found.max()) if self.shared else found

    def integers(self, rounding: str, matrix: Float, scales: Float, seen: Moments | None) -> Float:
        """``[G, O, K]`` as floats; `seen` are the moments of the inputs, which only ``second-order`` needs."""
        if rounding == "truncate":
            return np.clip(np.trunc(matrix / scales[..., None]), -self.limit, self.limit)
        if rounding == "second-order":
            assert seen is not None
            return second_order(matrix, scales, seen, self.limit)
        return nearest(matrix, scales, self.limit)


def nearest(matrix: Float, scales: Float, limit: int = LIMIT) -> Float:
    """Integers of least distance, as floats: ``[..., K]`` over scales ``[...]``."""
    result: Float = np.clip(np.rint(matrix / scales[..., None]), -limit, limit)
    return result


def second_order(matrix: Float, scales: Float, m: Moments, limit: int = LIMIT) -> Float:
    """Integers that reproduce the float outputs on the calibration data in the least-squares sense.

    Minimises ``E |W f - s Q q|^2`` over integers Q, with f the float inputs and q the stored ones, both
    about their means (the bias takes the means): one pass of optimal brain quantization, then
    coordinate descent until nothing moves. The weights are held near W by a ridge that grows as
    samples get few: `DAMPING` plus columns per row plus one over the samples, times the variance of the inputs.

    Args:
        matrix: ``[G, O, K]`` float weights.
        scales: ``[G, O]``.

    Returns:
        Integers as floats, ``[G, O, K]``.
    """
    k = matrix.shape[2]
    spread = np.trace(m.square, axis1=1, axis2=2) / k
    ridge = (DAMPING + k / m.count + 1 / m.samples) * spread + FLOOR * (spread + (m.mean_q**2).mean(axis=1)) + 1e-30
    h = m.square + ridge[:, None, None] * np.eye(k)
    target = matrix @ m.cross + ridge[:, None, None] * matrix
    goal = np.linalg.solve(h, target.transpose(0, 2, 1)).transpose(0, 2, 1)  # the best real weights
    q = _brain_quantize(goal, scales, h, limit)
    return _descend(q, scales, h, target, limit)


def _brain_quantize(goal: Float, scales: Float, h: Float, limit: int) -> Float:
    """Round column by column; the columns still to come make up for each rounding error."""
    u = np.linalg.cholesky(np.linalg.inv(h)).transpose(0, 2, 1)  # upper: inv(h) = u^T u
    w, q, k = goal.copy(), np.empty_like(goal), goal.shape[2]
    for first in range(0, k, COLUMNS):  # what a block's errors ask of the columns beyond it waits until the block is done
        last = min(first + COLUMNS, k)
        errors = np.empty_like(w[..., first:last])
        for i in range(first, last):
            q[..., i] = np.clip(np.rint(w[..., i] / scales), -limit, limit)
            error = (w[..., i] - q[..., i] * scales) / u[:, None, i, i]
            w[..., i:last] -= error[..., None] * u[:, None, i, i:last]
            errors[..., i - first] = error
        w[..., last:] -= errors @ u[:, first:last, last:]
    return q


def _descend(q: Float, scales: Float, h: Float, target: Float, limit: int) -> Float:
    """Coordinate descent on ``W h W^T - 2 W target^T`` over the integers."""
    product = (q * scales[..., None]) @ h
    diagonal = np.einsum("gkk->gk", h)
    for _ in range(SWEEPS):
        moved = False
        for i in range(q.shape[2]):
            value = q[..., i] + (target[..., i] - product[..., i]) / (diagonal[:, None, i] * scales)
            new = np.clip(np.rint(value), -limit, limit)
            delta = (new - q[..., i]) * scales
            group, row = np.nonzero(delta)
            if len(row):
                moved = True
                q[..., i] = new
                product[group, row] += delta[group, row, None] * h[group, i]
        if not moved:
            break
    return q
