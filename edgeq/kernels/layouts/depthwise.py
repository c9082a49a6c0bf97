"""Layouts of depthwise weights: each channel's window in one place."""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array

__all__ = ["columns", "rows"]


def columns(weights: Array) -> Array:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C, kernel_w, kernel_h]``."""
    return np.ascontiguousarray(weights[0].transpose(2, 1, 0))


def rows(weights: Array) -> Array:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C, kernel_h, kernel_w]``."""
    return np.ascontiguousarray(weights[0].transpose(2, 0, 1))
