"""Layouts of kernels on halves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array
from edgeq.kernels.layouts.blocks import blocks, filled, interleaved

__all__ = ["halves", "magnitudes", "mixed", "twos"]


def halves(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that load the weights of two outputs as a word.

    float16 ``[N, ...]`` -> uint32 ``[ceil(N / rows), K, rows / 2]``: per block of rows first the first elements, the even row
    in the low bits. The last block is filled with rows of zeros.
    """

    def pack(weights: Array) -> Array:
        matrix = weights.reshape(len(weights), -1)
        filled = np.pad(matrix, ((0, -len(matrix) % rows), (0, 0)))
        blocks = filled.reshape(-1, rows, matrix.shape[1]).transpose(0, 2, 1)
        return np.ascontiguousarray(blocks).view("<u4").astype(np.uint32)

    return pack


def twos(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that multiply two halves of a row at a time.

    float16 ``[N, ...]`` -> flat uint32: blocks of `rows` rows as in `interleaved`, but of words that hold two elements of a row, the first
    in the low half; each row is filled with a zero to an even number of elements, the last block with rows of zeros.
    """

    def pack(weights: Array) -> Array:
        matrix = filled(rows)(weights.reshape(len(weights), -1))
        even = np.pad(matrix, ((0, 0), (0, matrix.shape[1] % 2)))
        return interleaved(rows)(np.ascontiguousarray(even).view("<u4").astype(np.uint32))

    return pack


def magnitudes(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that mask halves out of a word of four int8 weights.

    int8 ``[N, ...]``, none -128 -> uint32 ``[ceil(N / rows), K, rows / 4]``: blocks as in `halves`. A weight is a sign and seven bits, a
    subnormal half of so many 2^-24 under the mask 0x807f: of rows 0 and 1 in the halves of the word, of rows 2 and 3 in those of
    the word turned right by 8 bits.
    """

    def pack(weights: Array) -> Array:
        matrix = blocks(rows)(weights).astype(np.int64)
        b = (np.abs(matrix) | (matrix < 0) << 15).reshape(*matrix.shape[:2], -1, 4)
        turned = b[..., 2] | b[..., 3] << 16
        word = b[..., 0] | b[..., 1] << 16 | (turned << 8 | turned >> 24) & 0xFFFFFFFF
        return np.asarray(word, np.uint32)

    return pack


def mixed(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that convert eight halves at once, those at even places to one vector of float32, the others to another.

    float16 ``[N, ...]`` -> ``[ceil(N / rows), K, rows]``, of each eight rows in the order 0, 4, 1, 5, 2, 6, 3, 7; N is filled up with
    zeros.
    """

    def pack(weights: Array) -> Array:
        matrix = filled(rows)(weights.reshape(len(weights), -1))
        blocks = matrix.reshape(-1, rows // 8, 2, 4, matrix.shape[1]).transpose(0, 4, 1, 3, 2)
        return np.ascontiguousarray(blocks).reshape(-1, matrix.shape[1], rows)

    return pack
