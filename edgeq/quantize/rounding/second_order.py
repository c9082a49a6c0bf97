"""Weights that reproduce the float layer's outputs on the calibration data: optimal brain quantization (Frantar and Alistarh, OBC,
NeurIPS 2022; GPTQ, ICLR 2023), then the coordinate descent of QuantEase (Behdin et al. 2023)."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.weight_scales import Bounds, Float

SWEEPS = 8
COLUMNS = 32  # that are rounded before the others are told
DAMPING = 0.01
WIDE, BLOCK = 4096, 512  # columns beyond which a matrix is rounded in blocks; of a block
WIDE_ROWS = 2048  # of inputs that a wide matrix is fitted to
FLOOR = 1e-5  # of the ridge, relative to the inputs' mean square: more than the moments' rounding errors


def integers(problem: LayerProblem) -> Float:
    """Minimises ``E |W f - s Q q|^2`` over integers Q, with f the float inputs and q the stored ones, both about their means (the
    bias takes the means): one pass of optimal brain quantization, then coordinate descent until nothing moves.

    The weights are held near W by a ridge that grows as samples get few: `DAMPING` plus columns per row plus one over the samples,
    times the variance of the inputs.
    """
    if problem.matrix.shape[-1] > WIDE:
        return _by_blocks(problem)
    m, matrix = problem.moments, problem.matrix
    ridge = _ridge(m.square, (m.mean_q**2).mean(axis=1), matrix.shape[-1], m.count, m.samples)
    return _solve(matrix, problem.scales, problem.bounds, m.square, matrix @ m.cross, ridge)


def _ridge(square: Float, mean: Float, columns: int, count: int, samples: int) -> Float:
    """``[G]``: what holds the weights near the real ones.

    Args:
        square: second moments ``[G, K, K]``.
        mean: the inputs' mean square means ``[G]``.
        columns: of the whole matrix.
        count, samples: rows and samples seen.
    """
    spread = np.trace(square, axis1=1, axis2=2) / square.shape[-1]
    return np.asarray((DAMPING + columns / count + 1 / samples) * spread + FLOOR * (spread + mean) + 1e-30)


def _solve(matrix: Float, scales: Float, bounds: Bounds, square: Float, wanted: Float, ridge: Float) -> Float:
    """Integers ``[G, O, K]`` for second moments `square` and ``E[output input]``, `wanted` ``[G, O, K]``."""
    h = square + ridge[:, None, None] * np.eye(square.shape[-1])
    target = wanted + ridge[:, None, None] * matrix
    goal: Float = np.linalg.solve(h, target.transpose(0, 2, 1)).transpose(0, 2, 1).astype(np.float64)  # the best real weights
    return _descend(_brain_quantize(goal, scales, h, bounds), scales, h, target, bounds)


def _by_blocks(problem: LayerProblem) -> Float:
    """The same of a wide matrix, `BLOCK` columns at a time: each block makes up for the outputs' error that the blocks before it left.

    Memory grows with the rows of inputs times the columns, and time with that times the outputs, not with the columns' cube.
    """
    matrix, found = problem.matrix, np.empty_like(problem.matrix)
    stored, real = problem.rows(WIDE_ROWS)
    groups, count, columns = stored.shape
    left = np.zeros((groups, count, matrix.shape[1]))  # of the outputs, to be made up for
    low, high = (np.broadcast_to(np.asarray(b, np.float64), matrix.shape[:2]) for b in problem.bounds)
    for first in range(0, columns, BLOCK):
        at = slice(first, min(first + BLOCK, columns))
        w, q, f = matrix[..., at], stored[..., at].astype(np.float64), real[..., at].astype(np.float64)
        left += f @ w.transpose(0, 2, 1)
        square = q.transpose(0, 2, 1) @ q / count
        ridge = _ridge(square, np.zeros(groups), BLOCK, count, len(problem.stored))
        found[..., at] = _solve(w, problem.scales, (low, high), square, left.transpose(0, 2, 1) @ q / count, ridge)
        left -= q @ (found[..., at] * problem.scales[..., None]).transpose(0, 2, 1)
    return found


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
