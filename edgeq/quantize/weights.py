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
Bounds = tuple[Float | int, Float | int]  # the least and the largest integer, of each row or of all


def max_scales(matrix: Float, bounds: Bounds = (-LIMIT, LIMIT)) -> Float:
    """Per row of ``[..., K]``, the least scale at which all weights lie within `bounds`; 0 for a row of zeros."""
    low, high = (np.asarray(b, np.float64) for b in bounds)
    below, above = matrix.min(axis=-1), matrix.max(axis=-1)
    parts = [np.divide(side, b, out=np.zeros_like(side), where=b != 0) for side, b in ((below, low), (above, high))]
    return np.asarray(np.maximum(*parts), np.float64)


def mse_scales(matrix: Float, bounds: Bounds = (-LIMIT, LIMIT)) -> Float:
    """Per row of ``[..., K]``, the scale of least squared rounding and saturation error (at most `max_scales`)."""
    full = max_scales(matrix, bounds)
    best, scales = np.full(full.shape, np.inf), full.copy()
    for shrink in SHRINKS:
        s = np.maximum(full * shrink, 1e-300)
        error = ((nearest(matrix, s, bounds) * s[..., None] - matrix) ** 2).sum(axis=-1)
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
        asymmetric: 2 limit + 2 integers instead, of which zero is one, divided between both sides as the channel's extremes are.
    """

    limit: int = LIMIT
    clip: float = 1.0
    shared: bool = False
    asymmetric: bool = False

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
        found: Float = np.minimum(SCALES[method](matrix, bounds), self.clip * max_scales(matrix, bounds))
        return np.full_like(found, found.max()) if self.shared else found

    def integers(self, rounding: str, matrix: Float, scales: Float, seen: Moments | None) -> Float:
        """``[G, O, K]`` as floats; `seen` are the moments of the inputs, which only ``second-order`` needs."""
        bounds = self.bounds(matrix)
        if rounding == "truncate":
            return _within(np.trunc(matrix / scales[..., None]), bounds)
        if rounding == "second-order":
            assert seen is not None
            return second_order(matrix, scales, seen, bounds)
        return nearest(matrix, scales, bounds)


def nearest(matrix: Float, scales: Float, bounds: Bounds = (-LIMIT, LIMIT)) -> Float:
    """Integers of least distance, as floats: ``[..., K]`` over scales ``[...]``."""
    return _within(np.rint(matrix / scales[..., None]), bounds)


def _within(integers: Float, bounds: Bounds) -> Float:
    """Cut to the bounds of each row of ``[..., K]``."""
    low, high = (np.asarray(b, np.float64)[..., None] for b in bounds)
    return np.asarray(np.clip(integers, low, high), np.float64)


def second_order(matrix: Float, scales: Float, m: Moments, bounds: Bounds = (-LIMIT, LIMIT)) -> Float:
    """Integers that reproduce the float outputs on the calibration data in the least-squares sense.

    Minimises ``E |W f - s Q q|^2`` over integers Q, with f the float inputs and q the stored ones, both
    about their means (the bias takes the means): one pass of optimal brain quantization, then
    coordinate descent until nothing moves. The weights are held near W by a ridge that grows as
    samples get few: `DAMPING` plus columns per row plus one over the samples, times the variance of the inputs.

    Args:
        matrix: ``[G, O, K]`` float weights.
        scales: ``[G, O]``.
        bounds: of the integers, as `Grid.bounds` gives them.

    Returns:
        Integers as floats, ``[G, O, K]``.
    """
    k = matrix.shape[2]
    spread = np.trace(m.square, axis1=1, axis2=2) / k
    ridge = (DAMPING + k / m.count + 1 / m.samples) * spread + FLOOR * (spread + (m.mean_q**2).mean(axis=1)) + 1e-30
    h = m.square + ridge[:, None, None] * np.eye(k)
    target = matrix @ m.cross + ridge[:, None, None] * matrix
    goal = np.linalg.solve(h, target.transpose(0, 2, 1)).transpose(0, 2, 1)  # the best real weights
    q = _brain_quantize(goal, scales, h, bounds)
    return _descend(q, scales, h, target, bounds)


def _brain_quantize(goal: Float, scales: Float, h: Float, bounds: Bounds) -> Float:
    """Round column by column; the columns still to come make up for each rounding error."""
    u = np.linalg.cholesky(np.linalg.inv(h)).transpose(0, 2, 1)  # upper: inv(h) = u^T u
    w, q, k = goal.copy(), np.empty_like(goal), goal.shape[2]
    for first in range(0, k, COLUMNS):  # what a block's errors ask of the columns beyond it waits until the block is done
        last = min(first + COLUMNS, k)
        errors = np.empty_like(w[..., first:last])
        for i in range(first, last):
            q[..., i] = np.clip(np.rint(w[..., i] / scales), *bounds)
            error = (w[..., i] - q[..., i] * scales) / u[:, None, i, i]
            w[..., i:last] -= error[..., None] * u[:, None, i, i:last]
            errors[..., i - first] = error
        w[..., last:] -= errors @ u[:, first:last, last:]
    return q


def _descend(q: Float, scales: Float, h: Float, target: Float, bounds: Bounds) -> Float:
    """Coordinate descent on ``W h W^T - 2 W target^T`` over the integers."""
    product = (q * scales[..., None]) @ h
    diagonal = np.einsum("gkk->gk", h)
    for _ in range(SWEEPS):
        moved = False
        for i in range(q.shape[2]):
            value = q[..., i] + (target[..., i] - product[..., i]) / (diagonal[:, None, i] * scales)
            new = np.clip(np.rint(value), *bounds)
            delta = (new - q[..., i]) * scales
            group, row = np.nonzero(delta)
            if len(row):
                moved = True
                q[..., i] = new
                product[group, row] += delta[group, row, None] * h[group, i]
        if not moved:
            break
    return q
