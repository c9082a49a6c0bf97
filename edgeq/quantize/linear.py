"""Operators with weights seen as matrix products: rows of inputs times a matrix per group."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.ir import Array
from edgeq.ops.windows import patches

Shape = tuple[int, ...]
Float = NDArray[np.float64]

# Operator kind -> axis of its weights that runs over output channels.
WEIGHT_AXIS = {"conv2d": 0, "depthwise_conv2d": 3, "transpose_conv2d": 0, "fully_connected": 0}
ROWS = 2**16  # rows that enter the moments, drawn evenly from all samples
CHUNK = 2**22  # floats of rows that are held at once


@dataclass(frozen=True)
class View:
    """A linear operator as G matrix products.

    Attributes:
        rows: activations ``[V, *shape]`` -> ``[G, R, K]``, the rows that the weights multiply.
        matrix: weights -> ``[G, O / G, K]``.
        weights: the inverse of `matrix`.
        others: axes of the weights but that of output channels.
        floats: floats of rows per sample.
    """

    rows: Callable[[Array], Array]
    matrix: Callable[[Array], Array]
    weights: Callable[[Array], Array]
    others: tuple[int, ...]
    floats: int

    def channels(self, values: Array) -> Array:
        """``[G, O / G]`` -> ``[O]``, in the order of the output channels."""
        return values.reshape(-1)


def view(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    """The view of an operator on shapes `x` and `w` that gives `y`; its kind is in `WEIGHT_AXIS`."""
    find = {"conv2d": _convolution, "depthwise_conv2d": _depthwise, "transpose_conv2d": _transposed, "fully_connected": _dense}
    return find[op.kind()](op, x, w, y)


def _dense(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    return View(lambda a: a.reshape(1, -1, w[1]), lambda m: m[None], lambda m: m[0], (1,), math.prod(x))


def _grouped(windows: Array, groups: int) -> Array:
    """``[R, taps, C]`` -> ``[G, R, taps * C / G]``."""
    rows, taps, channels = windows.shape
    split = windows.reshape(rows, taps, groups, channels // groups).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(split).reshape(groups, rows, -1)


def _matrices(groups: int, w: Shape) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    return (lambda m: m.reshape(groups, w[0] // groups, -1)), (lambda m: m.reshape(w))


def _windows(op: Any, a: Array, w: Shape) -> Array:
    """``[R, taps, C]`` of a convolution."""
    windows = patches(a.reshape(-1, *a.shape[-3:]), (w[1], w[2]), op.stride, op.dilation, op.pads, 0.0)
    return windows.reshape(-1, w[1] * w[2], a.shape[-1])


def _convolution(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    floats = math.prod(y[:3]) * w[1] * w[2] * x[3]
    return View(lambda a: _grouped(_windows(op, a, w), op.groups), *_matrices(op.groups, w), (1, 2, 3), floats)


def _transposed(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    """A convolution, taps in reverse, of the input with zeros inserted between its pixels."""
    reach = [(w[1 + i] - 1) * op.dilation[i] for i in range(2)]

    def rows(a: Array) -> Array:
        a = a.reshape(-1, *a.shape[-3:])
        wide = np.zeros((len(a), *(reach[i] + y[1 + i] + op.pads[i] for i in range(2)), a.shape[3]), a.dtype)
        size = [min((a.shape[1 + i] - 1) * op.stride[i] + 1, wide.shape[1 + i] - reach[i]) for i in range(2)]
        inside = wide[:, reach[0] : reach[0] + size[0] : op.stride[0], reach[1] : reach[1] + size[1] : op.stride[1]]
        inside[...] = a[:, : inside.shape[1], : inside.shape[2]]
        windows = patches(wide[:, op.pads[0] :, op.pads[1] :], (w[1], w[2]), (1, 1), op.dilation, (0, 0, 0, 0), 0.0)
        return _grouped(windows[:, :, :, ::-1, ::-1].reshape(-1, w[1] * w[2], a.shape[3]), op.groups)

    return View(rows, *_matrices(op.groups, w), (1, 2, 3), math.prod(y[:3]) * w[1] * w[2] * x[3])


def _depthwise(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    taps, channels = w[1] * w[2], x[3]
    return View(
        lambda a: np.ascontiguousarray(_windows(op, a, w).transpose(2, 0, 1)),
        lambda m: m.reshape(taps, channels, -1).transpose(1, 2, 0),
        lambda m: np.ascontiguousarray(m.transpose(2, 0, 1)).reshape(w),
        (0, 1, 2),
        math.prod(y[:3]) * taps * channels,
    )


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


def moments(v: View, stored: Array, real: Array) -> Moments:
    """Moments over all samples of `stored` and `real` (``[V, *shape]``, real values both), chunk by chunk.

    At most about `ROWS` rows enter, the same positions of every sample, drawn once by a fixed seed.
    """
    vectors = len(stored)
    step = max(1, CHUNK // v.floats)
    keep: Array | None = None
    sums: list[Float] = []
    count = 0
    for start in range(0, vectors, step):
        q, f = v.rows(stored[start : start + step]), v.rows(real[start : start + step])
        per = q.shape[1] // len(stored[start : start + step])
        wanted = max(1, ROWS // vectors)
        if per > wanted:
            if keep is None:
                keep = np.sort(np.random.default_rng(0).choice(per, wanted, replace=False))
            at = (np.arange(q.shape[1] // per)[:, None] * per + keep).reshape(-1)
            q, f = q[:, at], f[:, at]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is met by whoever asks
            parts = [q.sum(1), f.sum(1), q.transpose(0, 2, 1) @ q, f.transpose(0, 2, 1) @ q]
        sums = [a + p.astype(np.float64) for a, p in zip(sums, parts, strict=True)] if sums else [p.astype(np.float64) for p in parts]
        count += q.shape[1]
    mean_q, mean_f = sums[0] / count, sums[1] / count
    square = sums[2] / count - mean_q[:, :, None] * mean_q[:, None, :]
    cross = sums[3] / count - mean_f[:, :, None] * mean_q[:, None, :]
    return Moments(vectors, count, mean_q, mean_f, square, cross)
