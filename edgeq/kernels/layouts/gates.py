"""Combinators for recurrent layers, whose rows are gates: a layout of some rows, another of the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.ir import Array

__all__ = ["gates", "last_apart", "side_by_side", "thirds"]


def gates(gates: int, units: int, layout: Callable[..., Array]) -> Callable[..., Array]:
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


def side_by_side(gates: int, units: int, layout: Callable[..., Array]) -> Callable[..., Array]:
    """The layout of kernels that compute a gate of `units` units at a time: rows gate after gate -> the first gate of so many units, the
    second one of these, and so on, then the next units, each gate filled up with zeros; then `layout`."""

    def pack(table: Array) -> Array:
        rows = table.reshape(gates, -1, *table.shape[1:])
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % units), *((0, 0) for _ in table.shape[1:])))
        blocks = rows.reshape(gates, -1, units, *table.shape[1:]).swapaxes(0, 1)
        return layout(np.ascontiguousarray(blocks).reshape(-1, *table.shape[1:]))

    return pack
