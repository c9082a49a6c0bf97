"""Layouts of rows: blocks of them side by side, filled up, turned or repeated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array

__all__ = ["blocks", "filled", "first", "followed", "interleaved", "negated", "repeated", "transposed", "unsigned"]


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


def filled(rows: int) -> Callable[[Array], Array]:
    """Rows of zeros up to a multiple of `rows`."""
    return lambda table: np.pad(table, ((0, -len(table) % rows), *((0, 0) for _ in table.shape[1:])))


def first(table: Array) -> Array:
    """The first row alone, of tables whose rows are all alike."""
    return table[:1]


def followed(rows: int) -> Callable[[Array], Array]:
    """`filled`, and as many rows of zeros again: kernels that read `rows` at a time may begin at any row, as calls by tiles do."""
    return lambda table: np.pad(table, ((0, -len(table) % rows + rows), *((0, 0) for _ in table.shape[1:])))


def blocks(rows: int) -> Callable[[Array], Array]:
    """``[N, ...]`` -> ``[ceil(N / rows), K, rows]``: blocks of rows, the last one filled up with zeros, element by element."""

    def pack(weights: Array) -> Array:
        matrix = filled(rows)(weights.reshape(len(weights), -1))
        return np.ascontiguousarray(matrix.reshape(-1, rows, matrix.shape[1]).swapaxes(1, 2))

    return pack


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


def negated(table: Array) -> Array:
    """Each element with the other sign."""
    return np.negative(table)


def unsigned(inner: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """int8 in another layout -> uint8: each element plus 128."""
    return lambda table: (inner(table).astype(np.int16) + 128).astype(np.uint8)
