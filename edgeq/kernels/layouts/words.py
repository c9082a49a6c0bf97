"""Layouts of kernels that load several int8 weights of a row as one word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array
from edgeq.kernels.layouts.blocks import interleaved

__all__ = ["neighbours", "paired_bias", "pairs", "pairs_after_bias", "quads", "runs"]

BLOCK = 2**20  # weights that are packed together: whole blocks of rows


def _words(rows: int, weights: Array, word: Callable[[Array], Array]) -> Array:
    """Blocks of `rows` rows of words; `word` makes uint32 ``[N, K / 4]`` of int64 ``[N, K / 4, 4]``.

    Each row is filled with zeros up to a multiple of four elements, the last block with the last row.
    """
    matrix = weights.reshape(len(weights), -1)
    parts, step = [], rows * max(1, BLOCK // max(1, rows * matrix.shape[1]))
    for block in (matrix[first : first + step].astype(np.int64) for first in range(0, len(matrix), step)):
        filled = np.pad(block, ((0, 0), (0, -block.shape[1] % 4)))
        filled = np.pad(filled, ((0, -len(block) % rows), (0, 0)), mode="edge")
        parts.append(interleaved(rows)(word(filled.reshape(len(filled), -1, 4))))
    return np.concatenate(parts)


def quads(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that load four weights of a row at a time.

    int8 ``[N, ...]`` -> flat uint32: blocks as in `interleaved`, but of words that hold four elements of a row, the
    first in the low byte; each row is filled with zeros up to a multiple of four, the last block with the last row.
    """

    def word(w: Array) -> Array:
        return np.ascontiguousarray(w, np.int8).view("<u4")[..., 0].astype(np.uint32)

    return lambda weights: _words(rows, weights, word)


def neighbours(rows: int) -> Callable[[Array], Array]:
    """As `quads`, the second and the third element of each word exchanged: even bytes are elements 0 and 1, odd ones 2 and 3."""

    def word(w: Array) -> Array:
        return np.ascontiguousarray(w[..., [0, 2, 1, 3]], np.int8).view("<u4")[..., 0].astype(np.uint32)

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
    odd = weights.reshape(len(weights), -1)[:, 1::2].sum(1, dtype=np.int64)
    start: Array = (256 * bias.astype(np.int64) - 127 * odd).astype(np.uint32).view(np.int32)
    return start


def pairs_after_bias(rows: int) -> Callable[[Array, Array], Array]:
    """Blocks of `pairs`, `rows` rows each, every one behind its rows' `paired_bias`: weights and bias are read in one stream."""

    def pack(weights: Array, bias: Array) -> Array:
        start = np.pad(paired_bias(bias, weights), (0, -len(bias) % rows), mode="edge").view(np.uint32)
        return np.concatenate([start.reshape(-1, rows), pairs(rows)(weights).reshape(-1, rows * -(-weights[0].size // 4))], axis=1).ravel()

    return pack


_SIZES = {6: 126, 4: 92, 2: 55}  # elements of the groups of `runs`, in the order of its runs: cycles of a group of three rows on RV32IM
_RUN = 12  # cycles of a run beside its groups


def _groups(block: Array) -> list[int]:
    """The sizes of the groups into which rows ``[R, K]``, K even, are cut, so that all runs of them take the fewest cycles: the shortest
    way from the first element and the first size to the last ones, by one group or to the next size at a time."""
    sizes, width = list(_SIZES), block.shape[1]
    sums = np.pad(np.abs(block).cumsum(1), ((0, 0), (1, 0)))
    fits = {size: (sums[:, size:] - sums[:, :-size]).max(0) < 256 for size in sizes if size <= width}
    ways: dict[tuple[int, int], tuple[int, tuple[int, int] | None]] = {(0, 0): (0, None)}  # (elements, size) -> cycles, from where

    def go(place: tuple[int, int], cycles: int, to: tuple[int, int]) -> None:
        if to not in ways or ways[place][0] + cycles < ways[to][0]:
            ways[to] = (ways[place][0] + cycles, place)

    for at in range(0, width + 1, 2):
        for kind in (*range(len(sizes)), *range(len(sizes))):
            if (at, kind) in ways:
                go((at, kind), _RUN, (at, (kind + 1) % len(sizes)))
        for kind, size in enumerate(sizes):
            if (at, kind) in ways and at + size <= width and (size == 2 or fits[size][at]):
                go((at, kind), _SIZES[size], (at + size, kind))
    found, place = [], (width, len(sizes) - 1)
    while (before := ways[place][1]) is not None:
        found += [place[0] - before[0]] if place[0] > before[0] else []
        place = before
    return found[::-1]


def runs(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that multiply two inputs at once, in the 16-bit lanes of a 32-bit word.

    int8 ``[N, ...]`` -> flat: blocks of `rows` rows, the last one of those that are left, each row filled with a zero to an even
    number of elements. A block is cut into groups of six, four or two elements, which in every row add up to an int16 whatever
    the int8 inputs. It is stored as the number of its groups, low byte first, then the number of groups of six that follow and
    their weights, then of four, of two, of six again and so on, up to groups of two; a group is stored element by element.
    """

    def pack(weights: Array) -> Array:
        matrix = weights.reshape(len(weights), -1).astype(np.int64)
        matrix = np.pad(matrix, ((0, 0), (0, matrix.shape[1] % 2)))
        parts = []
        for block in (matrix[start : start + rows] for start in range(0, len(matrix), rows)):
            at, groups = 0, _groups(block)
            parts += [np.array([len(groups) & 255, len(groups) >> 8])]
            while groups:
                for size in _SIZES:
                    count = min(next((i for i, g in enumerate(groups) if g != size), len(groups)), 127)
                    parts += [np.array([count]), block[:, at : at + count * size].T.ravel()]
                    at, groups = at + count * size, groups[count:]
        return np.concatenate(parts).astype(np.uint8).view(np.int8)

    return pack
