"""Layouts of depthwise kernels that hold a channel's inputs on several lines as one word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array

__all__ = ["shifted_quads", "window_words"]


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


def shifted_quads(down: int, strided: int) -> Callable[[Array], Array]:
    """int8 ``[1, kernel_h, kernel_w, C]`` -> flat uint32: per channel and tap across lines of outputs, words of four bytes along them.

    Lines run along rows, or down columns where `down` is 1. Each word stands four times, for four neighbouring outputs that read the same
    inputs: the taps begin 0, 1, 2 and 3 times `strided` bytes further on. Zeros stand before and behind them.
    """

    def pack(weights: Array) -> Array:
        taps = weights[0].transpose(2, 1, 0) if down else weights[0].transpose(2, 0, 1)  # [C, across, along]
        width = -(-(taps.shape[2] + 3 * strided) // 4) * 4
        rows = [np.pad(taps, ((0, 0), (0, 0), (i * strided, width - taps.shape[2] - i * strided))) for i in range(4)]
        words = np.ascontiguousarray(np.stack(rows, 2)).view("<u4")  # [C, across, 4, words]
        return np.ascontiguousarray(words.swapaxes(2, 3)).ravel().astype(np.uint32)

    return pack
