"""A layer's weights as a problem of least squares over integers: what a rounding is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeq.ir import Array
from edgeq.matrices import matmul, right, times
from edgeq.quantize.weight_scales import Bounds, Levels, nearest
from edgeq.traits import View

Float = NDArray[np.float64]

ROWS = 2**16  # rows that enter the moments, drawn evenly from all samples
CHUNK = 2**22  # floats of rows that are held at once


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of an operator's input rows, as stored (q) and as float computes them (f).

    Attributes:
        samples, count: samples and rows seen.
        mean_q, mean_f: ``[G, K]``.
        square: ``E[q q^T]`` about the means, ``[G, K, K]``.
        cross: ``E[f q^T]`` about the means, ``[G, K, K]``.
    """

    samples: int
    count: int
    mean_q: Float
    mean_f: Float
    square: Float
    cross: Float


def _positions(per: int, vectors: int, rows: int) -> Array | None:
    """Which of `per` rows of each sample enter, so that at most about `rows` do in all, drawn by a fixed seed; None: all."""
    wanted = max(1, rows // vectors)
    return np.sort(np.random.default_rng(0).choice(per, wanted, replace=False)) if per > wanted else None


def input_rows(v: View, stored: Array, real: Array, rows: int) -> Iterator[tuple[Array, Array]]:
    """The rows ``[G, R, K]`` of `stored` and `real` (``[V, *shape]``), chunk by chunk; at most about `rows` enter, the same positions
    of every sample."""
    vectors = len(stored)
    step = max(1, CHUNK // v.floats)
    for start in range(0, vectors, step):
        q, f = v.rows(stored[start : start + step]), v.rows(real[start : start + step])
        per = q.shape[1] // len(stored[start : start + step])
        keep = _positions(per, vectors, rows)
        if keep is not None:
            at = (np.arange(q.shape[1] // per)[:, None] * per + keep).reshape(-1)
            q, f = q[:, at], f[:, at]
        yield q, f


def _products(q: Array, f: Array) -> list[Float]:
    """Sums over rows of ``q q^T`` and ``f q^T``, of ``[G, R, K]``."""
    rows = right(q, True)
    return [times(q.transpose(0, 2, 1), rows), times(f.transpose(0, 2, 1), rows)]


def moments(v: View, stored: Array, real: Array) -> Moments:
    """Moments over all samples of `stored` and `real` (``[V, *shape]``, real values both), chunk by chunk.

    At most about `ROWS` rows enter, the same positions of every sample, drawn once by a fixed seed.
    """
    sums: list[Float] = []
    count = 0
    for q, f in input_rows(v, stored, real, ROWS):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is met by whoever asks
            parts = [q.sum(1, dtype=np.float64), f.sum(1, dtype=np.float64), *_products(q, f)]
        sums = [a + p.astype(np.float64) for a, p in zip(sums, parts, strict=True)] if sums else [p.astype(np.float64) for p in parts]
        count += q.shape[1]
    mean_q, mean_f = sums[0] / count, sums[1] / count
    square = sums[2] / count - mean_q[:, :, None] * mean_q[:, None, :]
    cross = sums[3] / count - mean_f[:, :, None] * mean_q[:, None, :]
    return Moments(len(stored), count, mean_q, mean_f, square, cross)


@dataclass(frozen=True, eq=False)
class LayerProblem:
    """Integers Q are wanted, within `bounds`, so that ``scales Q`` times the stored inputs gives what `matrix` times the float ones does.

    Attributes:
        matrix: ``[G, O, K]``, float weights of G products, float32.
        scales: ``[G, O]``, positive.
        bounds: the least and the largest integer, of each row ``[G, O]`` or of all.
        view: how activations become rows of inputs.
        stored, real: the inputs ``[V, *shape]``, real values both: as they are stored, and as float computes them.
        levels: the integers that there are, in order, where these are not all within the bounds; else None.
    """

    matrix: Array
    scales: Float
    bounds: Bounds
    view: View
    stored: Array
    real: Array
    levels: Levels = None

    def nearest(self, values: Float) -> Float:
        """The integers next to `values`, real ones ``[G, O]``: a column of weights over their scales."""
        return nearest(values, self.bounds, self.levels)

    @cached_property
    def moments(self) -> Moments:
        """Of the inputs' rows; computed once."""
        return moments(self.view, self.stored, self.real)

    def rows(self, limit: int) -> tuple[Array, Array]:
        """The inputs' rows ``[G, R, K]`` about their means, stored and real: at most about `limit`, evenly drawn."""
        parts = list(input_rows(self.view, self.stored, self.real, limit))
        q, f = (np.concatenate([p[i] for p in parts], axis=1) for i in (0, 1))
        return q - q.mean(axis=1, keepdims=True), f - f.mean(axis=1, keepdims=True)

    def scaled(self, scales: Float) -> LayerProblem:
        """With other scales; what was computed of the inputs is kept."""
        other = replace(self, scales=scales)
        if "moments" in self.__dict__:
            other.__dict__["moments"] = self.moments
        return other

    def loss(self, integers: Float) -> float:
        """The mean over rows of the square error of all outputs, means left out: ``E |W f - s Q q|^2``, less the part without Q."""
        m, w = self.moments, integers * self.scales[..., None]
        return float((matmul(w, m.square, True) * w).sum() - 2 * (matmul(self.matrix, m.cross, True) * w).sum())
