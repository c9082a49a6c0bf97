"""Layouts of depthwise kernels that hold a channel's inputs on several lines as one word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array

__all__ = ["window_words"]


def window_words(down: int) -> Callable[[Array], Array]:
    """int8 ``[1, kernel_h, kernel_w, C]`` -> uint32 ``[C, along]``: per channel a word for each position along a line of outputs.

    Lines run along rows, or down columns where `down` is 1. The bytes of a word are the taps across the line, at most four, the last on
    top; zeros stand for those that are missing.
    """

    def pack(weights: Array) -> Array:
        across = weights[0].swapaxes(0, 1) if down else weights[0]  # [across, along, C]
        filled = np.pad(across, ((4 - len(across), 0), (0, 0), (0, 0)))
        return np.ascontiguousarray(filled.transpose(2, 1, 0)).view("<u4")[..., 0].astype(np.uint32)

    return pack
