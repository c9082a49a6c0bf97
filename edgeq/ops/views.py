"""Operators with weights seen as matrix products: rows of inputs times a matrix per group."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeq.ir import Array
from edgeq.ops.windows import patches
from edgeq.traits import Shape, View


def dense(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    """A matrix product; `op` is not read."""
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


def convolution(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    """A product per group, a row per window."""
    floats = math.prod(y[:3]) * w[1] * w[2] * x[3]
    return View(lambda a: _grouped(_windows(op, a, w), op.groups), *_matrices(op.groups, w), (1, 2, 3), floats)


def transposed(op: Any, x: Shape, w: Shape, y: Shape) -> View:
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


def depthwise(op: Any, x: Shape, w: Shape, y: Shape) -> View:
    """A product per input channel."""
    taps, channels = w[1] * w[2], x[3]
    return View(
        lambda a: np.ascontiguousarray(_windows(op, a, w).transpose(2, 0, 1)),
        lambda m: m.reshape(taps, channels, -1).transpose(1, 2, 0),
        lambda m: np.ascontiguousarray(m.transpose(2, 0, 1)).reshape(w),
        (0, 1, 2),
        math.prod(y[:3]) * taps * channels,
    )
