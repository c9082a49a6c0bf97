"""The layout of kernels that find all that a block of four outputs needs in one place."""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array

__all__ = ["chunks", "word_chunks"]


def chunks(weights: Array, bias: Array, multiplier: Array, shift: Array) -> Array:
    """The layout of kernels that multiply 16 elements at once for four outputs, with all that a block of four needs in one place.

    int8 ``[N, ...]`` -> int32 ``[N / 4, 9 + K / 16 * 16]``: the biases of outputs 0, 2, 1 and 3, the weights int8
    ``[K / 16, 4, 16]``, the multipliers, and the negated shifts int8 ``[4]``; bytes from the low one of a word on. N is filled
    up with zeros, and with the last multiplier and shift; K (the elements of a row) with zeros.
    """
    matrix = weights.reshape(len(weights), -1)
    n, k = matrix.shape
    more = -n % 4
    filled = np.pad(matrix, ((0, more), (0, -k % 16))).reshape(-(-n // 4), 4, -(-k // 16), 16)
    words = np.ascontiguousarray(filled.transpose(0, 2, 1, 3), np.int8).reshape(len(filled), -1).view("<i4")
    starts = np.pad(bias, (0, more)).reshape(-1, 4)[:, [0, 2, 1, 3]]
    multipliers = np.pad(multiplier, (0, more), "edge").reshape(-1, 4)
    shifts = np.negative(np.pad(shift, (0, more), "edge")).astype(np.int8).reshape(-1, 4).view("<i4")
    return np.concatenate([starts, words, multipliers, shifts], axis=1).astype(np.int32)


def word_chunks(weights: Array) -> Array:
    """The layout of kernels that multiply 8 elements of int16 at once for four outputs: int8 ``[N, ...]`` -> ``[N / 4, K / 8, 4, 8]``,
    filled up with zeros."""
    matrix = weights.reshape(len(weights), -1)
    filled = np.pad(matrix, ((0, -len(matrix) % 4), (0, -matrix.shape[1] % 8)))
    blocks = filled.reshape(len(filled) // 4, 4, -1, 8)
    return np.ascontiguousarray(blocks.swapaxes(1, 2))
