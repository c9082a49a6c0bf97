"""The layout of depthwise kernels that multiply four taps of a channel at a time."""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array

__all__ = ["tap_words"]


def tap_words(weights: Array) -> Array:
    """int8 ``[1, kernel_h, kernel_w, C]``, C a multiple of four -> flat uint32: per four channels, four taps at a time, a word of the
    taps for each channel, the first in the low byte; zeros stand for those that are missing."""
    taps = weights[0].reshape(-1, weights.shape[3])
    filled = np.pad(taps, ((0, -len(taps) % 4), (0, 0))).reshape(-1, 4, taps.shape[1] // 4, 4)  # [groups, taps, fours, channels]
    return np.ascontiguousarray(filled.transpose(2, 0, 3, 1)).view("<u4").ravel().astype(np.uint32)
