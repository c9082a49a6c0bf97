"""Named layouts of kernels' tables: array -> array, applied when a call is lowered.

A kernel may ask for ``name(other)``: the function then gets the table `other`, as the operator bound it, as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgeq.ir import Array


def interleaved(*blocks: int) -> Callable[[Array], Array]:
    """The layout of kernels that compute several outputs at a time.

    ``[N, ...]`` -> flat: blocks of rows, of which first come the first elements, then the second ones, and so on.
    As many blocks of the first size as fit, then of the second, and so on; at last single rows.
    """

    def pack(weights: Array) -> Array:
        matrix = weights.reshape(len(weights), -1)
        parts, start = [], 0
        for block in (*blocks, 1):
            while start + block <= len(matrix):
                parts.append(matrix[start : start + block].T.ravel())
                start += block
        return np.concatenate(parts)

    return pack


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


def columns(weights: Array) -> Array:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C, kernel_w, kernel_h]``."""
    return np.ascontiguousarray(weights[0].transpose(2, 1, 0))


def rows(weights: Array) -> Array:
    """Depthwise ``[1, kernel_h, kernel_w, C]`` -> ``[C, kernel_h, kernel_w]``."""
    return np.ascontiguousarray(weights[0].transpose(2, 0, 1))


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


def filled(rows: int) -> Callable[[Array], Array]:
    """Rows of zeros up to a multiple of `rows`."""
    return lambda table: np.pad(table, ((0, -len(table) % rows), *((0, 0) for _ in table.shape[1:])))


def blocks(rows: int) -> Callable[[Array], Array]:
    """``[N, ...]`` -> ``[ceil(N / rows), K, rows]``: blocks of rows, the last one filled up with zeros, element by element."""

    def pack(weights: Array) -> Array:
        matrix = filled(rows)(weights.reshape(len(weights), -1))
        return np.ascontiguousarray(matrix.reshape(-1, rows, matrix.shape[1]).swapaxes(1, 2))

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


def gate_blocks(gates: int, units: int, layout: Callable[..., Array]) -> Callable[..., Array]:
    """The layout of kernels that compute a gate of `units` units at a time: rows unit after unit, `gates` of each -> the first gate of
    so many units, the second one of these, and so on, then the next units, the last row up to so many; then `layout`."""

    def order(table: Array) -> Array:
        rows = np.pad(table, ((0, -len(table) % (units * gates)), *((0, 0) for _ in table.shape[1:])), "edge")
        blocks = rows.reshape(-1, units, gates, *table.shape[1:])
        return np.ascontiguousarray(blocks.swapaxes(1, 2)).reshape(-1, *table.shape[1:])

    return lambda *tables: layout(*map(order, tables))


def last_apart(layout: Callable[..., Array], last: Callable[..., Array]) -> Callable[..., Array]:
    """`layout` of the first two thirds of the rows, then `last` of the others."""

    def pack(*tables: Array) -> Array:
        split = 2 * len(tables[0]) // 3
        return np.concatenate([layout(*(t[:split] for t in tables)), last(*(t[split:] for t in tables))])

    return pack


def thirds(layout: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The layout of kernels that compute the three gates of a GRU apart: each third of the rows in `layout`, one after the other."""
    return lambda weights: np.concatenate([layout(gate).ravel() for gate in np.split(weights, 3)])


def transposed(weights: Array) -> Array:
    """The layout of kernels whose vectors run over output channels: ``[N, ...]`` -> ``[K, N]``."""
    return np.ascontiguousarray(weights.reshape(len(weights), -1).T)


def repeated(length: int) -> Callable[[Array], Array]:
    """The layout of kernels whose vectors run over channels and on over pixels.

    ``[..., C]`` -> ``[..., m * C]``, the last axis m times: as often as it fits `length`, at least once.
    """

    def pack(table: Array) -> Array:
        return np.tile(table, max(1, length // table.shape[-1]))

    return pack


def pairs(rows: int) -> Callable[[Array], Array]:
    """As `quads`, of words that are two int16: 256 * w0 + w1 in the low half, 256 * w2 + w3 in the high one.

    Their low bytes are w1 and w3. See `eq_mixed` in ``eq_simd_armv7em.h``, and `paired_bias`.
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


def applied(layout: str, name: str, tables: Mapping[str, Array]) -> Array:
    """Table `name` of `tables` in a layout, ``layout`` or ``layout(other, ...)``.

    Raises:
        KeyError: there is no such layout, or no such other table.
    """
    function, _, others = layout.rstrip(")").partition("(")
    result: Array = LAYOUTS[function](tables[name], *(tables[other.strip()] for other in others.split(",") if other))
    return result


def places(layout: str, name: str, tables: Mapping[str, Array]) -> Array:
    """Where the elements of table `name` lie in a layout that only moves them: int64 of the table's shape; ``""`` moves none.

    Raises:
        ValueError: the layout does more than move elements.
    """
    table = tables[name]
    order = np.arange(table.size)
    if layout:
        order = applied(layout, name, {**tables, name: order.reshape(table.shape)}).ravel()
    if len(order) != table.size or not np.array_equal(np.sort(order), np.arange(table.size)):
        raise ValueError(layout)
    found = np.empty_like(order)
    found[order] = np.arange(table.size)
    return np.asarray(found.reshape(table.shape))


LAYOUTS: dict[str, Callable[..., Array]] = {
    "rows2": interleaved(2),
    "rows3": interleaved(3),
    "rows4": interleaved(4),
    "rows8": interleaved(8),
    "rows8_4": interleaved(8, 4),
    "rows16_4": interleaved(16, 4),
    "halves4": halves(4),
    "halves16": halves(16),
    "magnitudes4": magnitudes(4),
    "magnitudes16": magnitudes(16),
    "thirds_magnitudes16": thirds(magnitudes(16)),
    "filled8": filled(8),
    "filled16": filled(16),
    "filled32": filled(32),
    "blocks8": blocks(8),
    "blocks16": blocks(16),
    "blocks32": blocks(32),
    "units8_filled32": gate_blocks(4, 8, filled(32)),
    "units8_blocks32": gate_blocks(4, 8, blocks(32)),
    "thirds_filled32": thirds(filled(32)),
    "thirds_blocks32": thirds(blocks(32)),
    "thirds_blocks16": thirds(blocks(16)),
    "mixed8": mixed(8),
    "mixed16": mixed(16),
    "units4_filled16": gate_blocks(4, 4, filled(16)),
    "units4_blocks16": gate_blocks(4, 4, blocks(16)),
    "units4_mixed16": gate_blocks(4, 4, mixed(16)),
    "units3_chunks": gate_blocks(3, 4, chunks),
    "units4_chunks": gate_blocks(4, 4, chunks),
    "units2_apart_chunks": last_apart(gate_blocks(2, 4, chunks), chunks),
    "thirds_filled16": thirds(filled(16)),
    "thirds_mixed16": thirds(mixed(16)),
    "thirds_rows8": thirds(interleaved(8)),
    "thirds_halves16": thirds(halves(16)),
    "lanes16": lanes(16),
    "lane_rows12": lane_rows(12),
    "lane_bias12": lane_bias(12),
    "runs3": runs(3),
    "quads2": quads(2),
    "quads3": quads(3),
    "quads4": quads(4),
    "pairs2": pairs(2),
    "pairs3": pairs(3),
    "pairs4": pairs(4),
    "paired_bias": paired_bias,
    "chunks": chunks,
    "negated": np.negative,
    "columns": columns,
    "rows": rows,
    "repeated64": repeated(64),
    "transposed": transposed,
}
