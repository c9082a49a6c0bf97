"""Layouts of depthwise weights and of tables by channel: each channel's window in one place, or channels as vectors hold them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array
from edgeq.kernels.layouts.blocks import blocks

__all__ = ["column_vectors", "columns", "fourths", "negated_fourths", "row_vectors", "rows"]


def columns(weights: Array) -> Array:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C, kernel_w, kernel_h]``."""
    return np.ascontiguousarray(weights[0].transpose(2, 1, 0))


def rows(weights: Array) -> Array:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C, kernel_h, kernel_w]``."""
    return np.ascontiguousarray(weights[0].transpose(2, 0, 1))


def column_vectors(length: int) -> Callable[[Array], Array]:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C / length, kernel_w * kernel_h, length]``: a vector of channels per tap."""
    return lambda weights: blocks(length)(columns(weights))


def row_vectors(length: int) -> Callable[[Array], Array]:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C / length, kernel_h * kernel_w, length]``: a vector of channels per tap."""
    return lambda weights: blocks(length)(rows(weights))


def fourths(table: Array) -> Array:
    """``[C]`` -> ``[C / 16, 4, 4]``: of sixteen elements each fourth one, from the first, the second, the third and the last on."""
    return np.ascontiguousarray(table.reshape(-1, 4, 4).swapaxes(1, 2))


def negated_fourths(table: Array) -> Array:
    """`fourths`, each element with the other sign."""
    return fourths(np.negative(table))
