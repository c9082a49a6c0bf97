"""Layouts of kernels that multiply two elements of several rows at a time, row by row in the lanes of a vector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array
from edgeq.kernels.layouts.blocks import filled

__all__ = ["depthwise", "tap_pairs"]


def tap_pairs(rows: int) -> Callable[[Array], Array]:
    """``[N, ...]`` -> ``[ceil(N / rows), ceil(K / 2), rows, 2]``: of a block of rows the first two elements of each, then the next two.

    Filled up with zeros.
    """

    def pack(weights: Array) -> Array:
        matrix = filled(rows)(weights.reshape(len(weights), -1))
        even = np.pad(matrix, ((0, 0), (0, matrix.shape[1] % 2)))
        return np.ascontiguousarray(even.reshape(-1, rows, even.shape[1] // 2, 2).swapaxes(1, 2))

    return pack


def depthwise(layout: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The layout of depthwise weights ``[1, kernel_h, kernel_w, C]`` as rows ``[C, kernel_h * kernel_w]``."""
    return lambda weights: layout(np.ascontiguousarray(weights.reshape(-1, weights.shape[3]).T))
