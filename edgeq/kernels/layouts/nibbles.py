"""Layouts of weights of four bits, for kernels that multiply them as they are stored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array
from edgeq.kernels.layouts.blocks import interleaved
from edgeq.kernels.layouts.chunks import chunks
from edgeq.kernels.layouts.depthwise import rows

__all__ = ["fours", "nibble_bias", "nibble_chunks", "nibble_lanes", "nibble_pairs", "nibble_rows", "nibble_windows", "nibbles", "sixteens"]


def nibbles(weights: Array) -> Array:
    """int8 of four bits -> uint8 ``[ceil(size / 2)]``: one after the other, two's complement, the first in the low half of a byte."""
    flat = np.pad(weights.ravel(), (0, weights.size % 2)).astype(np.uint8) & 15
    return np.asarray(flat[::2] | flat[1::2] << 4, np.uint8)


def nibble_windows(weights: Array) -> Array:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` of four bits -> `nibbles` of ``[C, kernel_h, kernel_w]``."""
    return nibbles(rows(weights))


def _quads(weights: Array) -> Array:
    """``[N, ...]`` -> int64 ``[N, K / 4, 4]``, filled up with zeros."""
    matrix = weights.reshape(len(weights), -1).astype(np.int64)
    return np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % 4))).reshape(len(matrix), -1, 4)


def fours(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that take weights of four bits out of half words: int8 ``[N, ...]`` -> flat uint16.

    Blocks of `rows` rows, then single rows, filled up with zeros to a multiple of four elements; per four elements a half word of each
    row, two's complement, the first in the lowest bits.
    """

    def pack(weights: Array) -> Array:
        quads = _quads(weights) & 15
        return interleaved(rows)(quads[..., 0] | quads[..., 1] << 4 | quads[..., 2] << 8 | quads[..., 3] << 12).astype(np.uint16)

    return pack


def nibble_lanes(rows: int) -> Callable[[Array], Array]:
    """The layout of kernels that multiply two rows at once, in the 16-bit lanes of a word: int8 of four bits ``[N, ...]`` -> flat uint32.

    Blocks of `rows` rows, then two at a time, filled up with zeros to an even number of rows and a multiple of four elements. A word holds,
    from the low bits on, four weights of the even row, each plus 8, then those of the odd one.
    """

    def pack(weights: Array) -> Array:
        quads = np.pad(_quads(weights), ((0, len(weights) % 2), (0, 0), (0, 0))) + 8
        lanes = quads[..., 0] | quads[..., 1] << 4 | quads[..., 2] << 8 | quads[..., 3] << 12
        return interleaved(rows // 2)(lanes[::2] | lanes[1::2] << 16).astype(np.uint32)

    return pack


def nibble_pairs(weights: Array) -> Array:
    """The layout of ``eq_simd_rvv_nibbles.h``: int8 of four bits ``[N, K]``, or windows ``[N, H, W, C]``, -> flat int8.

    Per piece, a row of a window, or all of it where rows have fewer than eight elements: of each two of the leading elements, a multiple
    of eight, a byte per channel, the first one in the low half; then a byte per channel of the others.
    """
    pieces = weights.shape[1] if weights.ndim == 4 and weights.shape[2] * weights.shape[3] >= 8 else 1
    rows = weights.reshape(len(weights), pieces, -1).transpose(1, 2, 0)  # piece, element, channel
    blocks = rows.shape[1] // 8 * 8
    pairs = (rows[:, 0:blocks:2] & 15) | (rows[:, 1:blocks:2] << 4)
    return np.asarray(np.concatenate([pairs, rows[:, blocks:]], axis=1).ravel(), np.int8)


def nibble_rows(rows: int) -> Callable[[Array], Array]:
    """The layout of ``eq_simd_armv7em_nibbles.h``: int8 of four bits ``[N, ...]`` -> flat uint32.

    Blocks of `rows`, 2 or 4, of which the last is filled up with the last row; per quad of elements a word for two rows. Bytes 0 and
    2 are those of the even row, 1 and 3 of the odd one: elements 0 and 2 in the high half, elements 1 and 3, plus 8, in the low one.
    """

    def pack(weights: Array) -> Array:
        quads = np.pad(_quads(weights), ((0, -len(weights) % rows), (0, 0), (0, 0)), mode="edge")
        bytes_ = (quads[..., ::2] & 15) << 4 | (quads[..., 1::2] + 8)  # [N, K / 4, 2]
        blocks = bytes_.reshape(-1, rows // 2, 2, bytes_.shape[1], 2).transpose(0, 3, 1, 4, 2)  # block, quad, two rows, half, row
        return np.ascontiguousarray(blocks, np.uint8).reshape(-1, 4).view("<u4").ravel().astype(np.uint32)

    return pack


def nibble_bias(bias: Array, weights: Array) -> Array:
    """Where sums of `nibble_rows` start: int32 ``[N]``, 16 times the bias, less what the inputs' sake adds to the sums, modulo 2^32."""
    quads = _quads(weights)
    extra = 2048 * (quads[..., 1::2] + 8).sum((1, 2)) - 32768 * quads.shape[1]
    start: Array = (16 * bias.astype(np.int64) - extra).astype(np.uint32).view(np.int32)
    return start


def nibble_chunks(weights: Array, bias: Array, multiplier: Array, shift: Array) -> Array:
    """`chunks` of weights of four bits, for ``eq_simd_mve_nibbles.h``: biases of outputs 0, 1, 2 and 3; weights
    int8 ``[K / 16, 2, 16]``, each 16 times that of output 2 plus that of output 0, then of outputs 3 and 1; multipliers and shifts."""
    wide = chunks(weights, bias, multiplier, shift)
    w = np.ascontiguousarray(wide[:, 4:-5]).view(np.int8).reshape(len(wide), -1, 4, 16).astype(np.int16)
    words = np.ascontiguousarray(w[:, :, :2] + 16 * w[:, :, 2:], np.int8).reshape(len(wide), -1).view("<i4")
    return np.concatenate([wide[:, [0, 2, 1, 3]], words, wide[:, -5:]], axis=1).astype(np.int32)


def sixteens(layout: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """`layout` of depthwise weights to ``[C, ...]``, at most 16 of a channel -> uint8 ``[C, 8]``: filled up with zeros, as `nibbles`."""

    def pack(weights: Array) -> Array:
        channels = layout(weights)
        rows = channels.reshape(len(channels), -1)
        return nibbles(np.pad(rows, ((0, 0), (0, 16 - rows.shape[1])))).reshape(-1, 8)

    return pack
