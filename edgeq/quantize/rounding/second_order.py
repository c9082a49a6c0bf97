"""Weights that reproduce the float layer's outputs on the calibration data: optimal brain quantization (Frantar and Alistarh, OBC,
NeurIPS 2022; GPTQ, ICLR 2023), then the coordinate descent of QuantEase (Behdin et al. 2023)."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.weight_scales import Bounds, Float

SWEEPS = 8
COLUMNS = 32  # that are rounded before the others are told
DAMPING = 0.01
FLOOR = 1e-5  # of the ridge, relative to the inputs' mean square: more than the moments' rounding errors


def integers(problem: LayerProblem) -> Float:
    """Minimises ``E |W f - s Q q|^2`` over integers Q, with f the float inputs and q the stored ones, both about their means (the
    bias takes the means): one pass of optimal brain quantization, then coordinate descent until nothing moves.

    The weights are held near W by a ridge that grows as samples get few: `DAMPING` plus columns per row plus one over the samples,
    times the variance of the inputs.
    """
    matrix, scales, m, bounds = problem.matrix, problem.scales, problem.moments, problem.bounds
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
