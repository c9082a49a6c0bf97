"""Weights that reproduce the float layer's outputs on the calibration data: optimal brain quantization (Frantar and Alistarh, OBC,
NeurIPS 2022; GPTQ, ICLR 2023), then the coordinate descent of QuantEase (Behdin et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array
from edgeq.matrices import inverse_root, matmul, right, times, turned, whole
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import Rounded
from edgeq.quantize.weight_scales import Float

SWEEPS, WIDE_SWEEPS = 8, 2  # of the descent, at most; in a wide matrix
COLUMNS = 32  # that are rounded before the others are told
DAMPING = 0.01
WIDE, BLOCK = 2048, 512  # columns beyond which a matrix is rounded in blocks; of a block
WIDE_ROWS = 2048  # of inputs that a wide matrix is fitted to
FLOOR = 1e-5  # of the ridge, relative to the inputs' mean square: more than the moments' rounding errors

Nearest = Callable[[Float], Float]  # real numbers ``[G, O]`` to integers that there are


def rounded(problem: LayerProblem) -> Rounded:
    """Minimises ``E |W f - s Q q|^2`` over integers Q, with f the float inputs and q the stored ones, both about their means (the
    bias takes the means): one pass of optimal brain quantization, then coordinate descent until nothing moves.

    The weights are held near W by a ridge that grows as samples get few: `DAMPING` plus columns per row plus one over the samples,
    times the variance of the inputs.
    """
    found = _by_blocks(problem) if is_wide(problem) else Equations.of(problem).solve(problem.scales, problem.nearest)
    return found, problem.scales


def is_wide(problem: LayerProblem) -> bool:
    """Whether a matrix has so many columns that it is rounded in blocks."""
    return bool(problem.matrix.shape[-1] > WIDE)


@dataclass(frozen=True, eq=False)
class Equations:
    """Least squares over a row of integers: ``W h W^T - 2 W target^T`` is to be small.

    Attributes:
        h: second moments of the inputs and the ridge, ``[G, K, K]``.
        target: what outputs and the ridge ask for, ``[G, O, K]``.
        u: upper triangular, ``inv(h) = u^T u``.
        goal: the best real weights, ``[G, O, K]``.
    """

    h: Float
    target: Float
    u: Float
    goal: Float

    @classmethod
    def of(cls, problem: LayerProblem) -> Equations:
        m, matrix = problem.moments, problem.matrix
        ridge = _ridge(m.square, (m.mean_q**2).mean(axis=1), matrix.shape[-1], m.count, m.samples)
        return cls.made(matrix, m.square, matmul(matrix, m.cross, True), ridge)

    @classmethod
    def made(cls, matrix: Float, square: Float, wanted: Float, ridge: Float, fine: bool = True) -> Equations:
        """For second moments `square`, ``E[output input]``, `wanted` ``[G, O, K]``, and a ridge ``[G]``; `fine`: see `matrices.right`."""
        h = square + ridge[:, None, None] * np.eye(square.shape[-1])
        target = wanted + ridge[:, None, None] * matrix
        u = inverse_root(h)
        return cls(h, target, u, matmul(matmul(target, u.transpose(0, 2, 1), fine), u, fine))

    def solve(self, scales: Float, nearest: Nearest, sweeps: int = SWEEPS) -> Float:
        """Integers ``[G, O, K]``, each column by `nearest`."""
        return _descend(_brain_quantize(self.goal, scales, self.u, nearest), scales, self.h, self.target, nearest, sweeps)


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


def _by_blocks(problem: LayerProblem) -> Array:
    """The same of a wide matrix, `BLOCK` columns at a time: each block makes up for the outputs' error that the blocks before it left.

    Memory grows with the rows of inputs times the columns, and time with that times the outputs, not with the columns' cube.
    """
    matrix = problem.matrix
    found: Array = np.empty(matrix.shape, np.float32)  # whole numbers: half of what float64 takes
    stored, real = problem.rows(WIDE_ROWS)
    groups, count, columns = stored.shape
    left = np.zeros((groups, count, matrix.shape[1]))  # of the outputs, to be made up for
    for first in range(0, columns, BLOCK):
        at = slice(first, min(first + BLOCK, columns))
        w, q, f = matrix[..., at].astype(np.float64), stored[..., at].astype(np.float64), real[..., at].astype(np.float64)
        left += matmul(f, w.transpose(0, 2, 1), True)
        rows = right(q, True)
        square = times(q.transpose(0, 2, 1), rows) / count
        ridge = _ridge(square, np.zeros(groups), BLOCK, count, len(problem.stored))
        equations = Equations.made(w, square, times(left.transpose(0, 2, 1), rows) / count, ridge, fine=False)
        found[..., at] = equations.solve(problem.scales, problem.nearest, WIDE_SWEEPS)
        left -= matmul(q, (found[..., at] * problem.scales[..., None]).transpose(0, 2, 1), True)
    return found


def _brain_quantize(goal: Float, scales: Float, u: Float, nearest: Nearest) -> Float:
    """Round column by column; the columns still to come make up for each rounding error. ``inv(h) = u^T u``, u upper triangular.

    Columns lie together here: ``[K, G, O]``.
    """
    w, k = np.ascontiguousarray(np.moveaxis(goal, 2, 0)), goal.shape[2]
    q, errors = np.empty_like(w), np.empty_like(w[:COLUMNS])
    for first in range(0, k, COLUMNS):  # what a block's errors ask of the columns beyond it waits until the block is done
        last = min(first + COLUMNS, k)
        for i in range(first, last):
            q[i] = nearest(w[i] / scales)
            errors[i - first] = (w[i] - q[i] * scales) / u[:, None, i, i]
            w[i:last] -= errors[i - first] * u[:, i, i:last].T[..., None]
        if last < k:
            w[last:] -= turned(np.moveaxis(errors[: last - first], 0, 2), u[:, first:last, last:]).swapaxes(0, 1)
    return q


def _descend(columns: Float, scales: Float, h: Float, target: Float, nearest: Nearest, sweeps: int) -> Float:
    """Coordinate descent on ``W h W^T - 2 W target^T`` over the integers, which come as ``[K, G, O]`` and leave as ``[G, O, K]``."""
    product = whole(np.moveaxis(columns, 0, 2), h) * scales[..., None]
    diagonal = np.diagonal(h, axis1=1, axis2=2)
    for sweep in range(sweeps):
        moved = False
        for i, column in enumerate(columns):
            value = column + (target[..., i] - product[..., i]) / (diagonal[:, None, i] * scales)
            new = nearest(value)
            delta = (new - column) * scales
            group, row = np.nonzero(delta)
            if len(row):
                moved = True
                columns[i] = new
                rest = slice(i + 1 if sweep == sweeps - 1 else 0, None)  # nobody asks for the others again
                own = h[0, i, rest] if len(h) == 1 else h[group, i, rest]
                product[group, row, rest] += delta[group, row, None] * own
        if not moved:
            break
    return np.ascontiguousarray(np.moveaxis(columns, 0, 2))
