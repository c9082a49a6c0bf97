"""Nested loops over tensors: neighbouring axes merged, an innermost loop and as few loops around it as possible."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeq.ir import Array

Shape = tuple[int, ...]


def strides(shape: Shape) -> Shape:
    """Elements between neighbours along each axis of a row-major tensor; 0 along axes of length 1."""
    return tuple(math.prod(shape[i + 1 :]) if n > 1 else 0 for i, n in enumerate(shape))


def merge(lengths: Sequence[int], *operands: Sequence[int]) -> list[list[int]]:
    """The fewest loops ``[length, stride of each operand...]`` over `lengths`, outermost first; at least one."""
    runs: list[list[int]] = []
    for length, *steps in zip(lengths, *operands, strict=True):
        if length == 1:
            continue
        if runs and all(outer == length * inner for outer, inner in zip(runs[-1][1:], steps, strict=True)):
            runs[-1] = [runs[-1][0] * length, *steps]
        else:
            runs.append([length, *steps])
    return runs or [[1, *(1 for _ in operands)]]


def nest(lengths: Sequence[int], *operands: Sequence[int]) -> tuple[int, list[int], Array]:
    """Loops for pointers that walk along.

    Args:
        lengths: of the axes.
        operands: per operand its stride along each axis, in elements.

    Returns:
        the innermost loop's length; each operand's stride along it; and int32 ``[max(1, outer loops),
        1 + operands]``: per outer loop, outermost first, its length and what is added to each pointer
        after each of its turns. The innermost loop leaves the pointers where they were.
    """
    *outer, (inner, *steps) = merge(lengths, *operands)
    table = []
    moved = [0] * len(operands)  # by all turns of the next loop inside
    for length, *jumps in reversed(outer):
        table.append([length, *(j - m for j, m in zip(jumps, moved, strict=True))])
        moved = [length * j for j in jumps]
    rows = np.array(table[::-1] or [[1] + [0] * len(operands)], np.int32)
    return inner, steps, rows


def outer_loops(table: Array) -> int:
    """How many loops `nest` put around the innermost one."""
    return 0 if len(table) == 1 and table[0, 0] == 1 else len(table)
