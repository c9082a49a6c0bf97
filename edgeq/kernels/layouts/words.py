"""Layouts of kernels that load several int8 weights of a row as one word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array
from edgeq.kernels.layouts.blocks import interleaved

__all__ = ["paired_bias", "pairs", "quads", "runs"]


def _words(rows: int, weights: Array, word: Callable[[Array], Array]) -> Array:
    """Blocks of `rows` rows of words; `word` makes uint32 ``[N, K / 4]`` of int64 ``[N, K / 4, 4]``.

    Each row is filled with zeros up to a multiple of four elements, the last block with the last row.
    """
    matrix = weights.reshape(len(weights), -1).astype(np.int64)
    filled = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % 4)))
    filled = np.pad(filled, ((0, -len(matrix) % rows), (0, 0)), mode="edge")
    return interleaved(rows)(word(filled.reshape(len(filled), -1, 4)))


def quads(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that load four weights of a row at a time.

    int8 ``[N, ...]`` -> flat uint32: blocks as in `interleaved`, but of words that hold four elements of a row, the
    first in the low byte; each row is filled with zeros up to a multiple of four, the last block with the last row.
    """

    def word(w: Array) -> Array:
        return np.ascontiguousarray(w, np.int8).view("<u4")[..., 0].astype(np.uint32)

    return lambda weights: _words(rows, weights, word)


def pairs(rows: int) -> Callable[[Array], Array]:
    """As `quads`, of words that are two int16: 256 * w0 + w1 in the low half, 256 * w2 + w3 in the high one.

    Their low bytes are w1 and w3. See `eq_armv7em_mixed` in ``eq_simd_armv7em.h``, and `paired_bias`.
    """

    def word(w: Array) -> Array:
        lanes = (256 * w[..., ::2] + w[..., 1::2]) & 0xFFFF
        return np.asarray(lanes[..., 0] | lanes[..., 1] << 16, np.uint32)

    return lambda weights: _words(rows, weights, word)


def paired_bias(bias: Array, weights: Array) -> Array:
    """Where sums start whose weights have layout `pairs`: int32 ``[N]``, 256 * bias - 127 * (w1 + w3 + ...), modulo 2^32."""
    odd = weights.reshape(len(weights), -1)[:, 1::2].astype(np.int64).sum(1)
    start: Array = (256 * bias.astype(np.int64) - 127 * odd).astype(np.uint32).view(np.int32)
    return start


def runs(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that multiply two inputs at once, in the 16-bit lanes of a 32-bit word.

    int8 ``[N, ...]`` -> flat: blocks of `rows` rows, then single rows, each row filled with a zero to an even number of
    elements. A block is cut into groups of four elements where the four of every row add up to an int16 whatever the int8
    inputs, else of two. It is stored as the number of groups of four that follow and their weights, then the number of
    groups of two and theirs, and so on; of a group, first the weights of the first row.
    """

    def four(block: Array, at: int) -> bool:
        return at + 4 <= block.shape[1] and bool(np.abs(block[:, at : at + 4]).sum(1).max() < 256)

    def pack(weights: Array) -> Array:
        matrix = weights.reshape(len(weights), -1).astype(np.int64)
        matrix = np.pad(matrix, ((0, 0), (0, matrix.shape[1] % 2)))
        width = matrix.shape[1]
        parts, start = [], 0
        while start < len(matrix):
            block = matrix[start : start + (rows if start + rows <= len(matrix) else 1)]
            start += len(block)
            at, size = 0, 4
            while at < width or size == 2:  # ends with groups of two
                first = at
                while at < width and at < first + 127 * size and four(block, at) == (size == 4):
                    at += size
                groups = block[:, first:at].reshape(len(block), -1, size)
                parts += [np.array([groups.shape[1]]), groups.transpose(1, 0, 2).ravel()]
                size = 6 - size
        return np.concatenate(parts).astype(np.int8)

    return pack
