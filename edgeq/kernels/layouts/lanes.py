"""Layouts of kernels that multiply in the 16-bit lanes of ordinary 32-bit registers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array

__all__ = ["lane_bias", "lane_rows", "lane_stretches", "lanes"]


def lanes(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that multiply two outputs at once, in the 16-bit lanes of a 32-bit word.

    int8 ``[N, K]``, N a multiple of `rows` and K even -> uint32 ``[N / rows, K / 2, rows / 2]``. Each word holds, from
    the low byte on, the weights of elements k and k + 1 in row r, then in row r + 1, each plus 128.
    """

    def pack(weights: Array) -> Array:
        n, k = weights.shape
        shifted = (weights.astype(np.int16) + 128).astype(np.uint32).reshape(n // rows, rows // 2, 2, k // 2, 2)
        words: Array = shifted[:, :, 0, :, 0] | shifted[:, :, 0, :, 1] << 8 | shifted[:, :, 1, :, 0] << 16 | shifted[:, :, 1, :, 1] << 24
        return np.ascontiguousarray(words.transpose(0, 2, 1))

    return pack


def stretches(block: Array) -> list[int]:
    """Lengths, even, of the longest stretches into which rows ``[R, K]``, K even, are cut so that in every row each adds up to an int16
    whatever the int8 inputs."""
    sums = np.pad(np.abs(block.astype(np.int64)).cumsum(1), ((0, 0), (1, 0)))
    found, at = [], 0
    while at < block.shape[1]:
        end = at + 2
        while end < block.shape[1] and (sums[:, end + 2] - sums[:, at]).max() < 256:
            end += 2
        found.append(end - at)
        at = end
    return found


def lane_stretches(rows: int) -> Callable[[Array], Array]:
    """`lanes`, each block of rows in the `stretches` of its elements: before the words of each, half its length."""

    def pack(weights: Array) -> Array:
        words = lanes(rows)(weights)
        parts = []
        for block, packed in zip(np.split(weights, len(weights) // rows), words, strict=True):
            at = 0
            for length in stretches(block):
                parts += [np.array([length // 2]), packed[at // 2 : (at + length) // 2].ravel()]
                at += length
        return np.concatenate(parts).astype(np.uint32)

    return pack


def _lane_blocks(rows: int, weights: Array) -> list[list[tuple[int, Array]]]:
    """Per block of `rows` rows, filled up with the last one, its runs: (4 or 2, weights ``[groups, 4 or 2, rows]``), in turn.

    A group of four elements is one whose magnitudes add up to less than 256 in every row, so that its products fit int16
    whatever the int8 inputs. An odd number of elements is filled up with a zero.
    """
    matrix = np.pad(weights.astype(np.int64), ((0, 0), (0, weights.shape[1] % 2)))
    matrix = np.pad(matrix, ((0, -len(matrix) % rows), (0, 0)), mode="edge")
    found = []
    for block in np.split(matrix, len(matrix) // rows):
        runs: list[tuple[int, Array]] = []
        at, width, size = 0, block.shape[1], 4
        while at < width or size == 2:  # ends with groups of two
            first = at
            while at < width and (at + 4 <= width and bool(np.abs(block[:, at : at + 4]).sum(1).max() < 256)) == (size == 4):
                at += size
            runs.append((size, block[:, first:at].T.reshape(-1, size, rows)))
            size = 6 - size
        found.append(runs)
    return found


def lane_rows(rows: int) -> Callable[[Array], Array]:
    """The layout of ``lane_rows.c.j2``: int8 ``[N, K]``, none -128 -> flat uint32.

    Per block of rows, in turn, the number of groups of four elements that follow and their words, and of groups of two and
    theirs. A group's words: of the first two elements one word per two rows, then of the next two. Each word holds, from the
    low byte on, the weights of both elements in the even row, then in the odd one, each plus 128.
    """

    def pack(weights: Array) -> Array:
        parts = []
        for _, groups in (run for runs in _lane_blocks(rows, weights) for run in runs):
            bytes_ = (groups + 128).reshape(-1, 2, rows // 2, 2).transpose(0, 2, 3, 1)  # pair, two rows, row, element
            words = np.ascontiguousarray(bytes_, np.uint8).reshape(-1, 4).view("<u4").ravel()
            parts += [np.array([len(groups)]), words]
        return np.concatenate(parts).astype(np.uint32)

    return pack


def lane_bias(rows: int) -> Callable[[Array, Array], Array]:
    """Biases beside `lane_rows`: less 2^15 for every group of the block, modulo 2^32, and filled up as the rows are."""

    def pack(bias: Array, weights: Array) -> Array:
        groups = [sum(len(run) for _, run in runs) for runs in _lane_blocks(rows, weights)]
        filled = np.pad(bias, (0, -len(bias) % rows)).astype(np.int64)
        start: Array = (filled - 2**15 * np.repeat(groups, rows)).astype(np.uint32).view(np.int32)
        return start

    return pack
