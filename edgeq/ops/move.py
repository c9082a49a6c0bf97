"""What the operators that only move data share: every output axis reads along one input axis, by a list of indices.

Slicing, transposing, gathering, nearest-neighbour resizing and mirrored padding are all of this kind, so one kernel
computes them: nested loops that either step through the input or look the next offset up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.linear import require_same_scale
from edgeq.ops.loops import Shape, strides
from edgeq.ops.traits import SHARED, Traits

Axis = tuple[int, Array]  # an axis of the input and the indices that are read along it
Loop = tuple[int, int | Array]  # its length and its step, or all its offsets


def same_values(law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> None:
    """Data that is moved keeps its type and scale.

    Raises:
        EdgeqError: an input's differs from the output's.
    """
    for t in inputs:
        if t.type.dtype is not output.dtype or (t.type.q is None) != (output.q is None):
            raise EdgeqError(f"{t.type} becomes {output} where data is only moved", where=where)
        if t.type.q is not None:
            require_same_scale(law, where, t.type, output)


class _Moving(Op):
    """Moves data alone: what it does with reals is what it does with integers and halves."""

    def reference(self, params: Params, *x: Array) -> Array:
        return self.real(*x)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return self.bind(half.LAW, where, inputs, output)

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference(params, *x)


def _firsts(op: Any, shapes: Sequence[Shape], _: Shape) -> list[Array]:
    """Of each element."""
    read = np.zeros(1, np.int64)
    for axis, indices in op.axes(shapes[0]):
        read = (read[:, None] + indices * strides(shapes[0])[axis]).reshape(-1)
    return [np.minimum.accumulate(read[::-1])[::-1]]


@dataclass(frozen=True)
class _Move(_Moving):
    """x -> its elements in another order; a new one overrides `infer` and `axes`."""

    traits: ClassVar[Traits] = Traits(
        "move", same_scale=SHARED, moves=True, monotone="increasing", words=True, firsts=_firsts, float32="able"
    )

    def axes(self, shape: Shape) -> list[Axis]:
        """The axes of the output, outermost first, for an input of `shape`; their product is the output's size."""
        raise NotImplementedError

    def kernel_op(self) -> str:
        return "copy"

    def real(self, *x: Array) -> Array:
        data = x[0]
        order = self.axes(data.shape[1:])
        moved = data.transpose(0, *(1 + axis for axis, _ in order))
        for position, (_, indices) in enumerate(order, start=1):
            moved = moved.take(indices, axis=position)
        shape = self.infer(TensorType(data.shape[1:])).shape
        return np.ascontiguousarray(moved).reshape(len(data), *shape)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        same_values(law, where, inputs, output)
        shape = inputs[0].type.shape
        return copy_params(law, [indices * strides(shape)[axis] for axis, indices in self.axes(shape)])


def copy_params(law: str, offsets: list[Array]) -> Params:
    """The constants of the copy kernel.

    Args:
        offsets: per output axis, outermost first, what each of its indices adds to the input's position.

    Returns:
        `start`; `loops` int32 ``[axes, 2]``: length, and step or (where the bit of `mapped` is set, bit 0 the
        outermost) the row's place in `map`; `unit`: the innermost loop steps by 1.
    """
    loops: list[Loop] = []
    for length, step in (loop for row in offsets for loop in _loops(row - row[0])):
        if loops and isinstance(step, int) and isinstance(loops[-1][1], int) and loops[-1][1] == length * step:
            loops[-1] = (loops[-1][0] * length, step)
        else:
            loops.append((length, step))
    loops = loops or [(1, 1)]
    rows: list[list[int]] = []
    table: list[int] = []
    for length, step in loops:
        rows.append([length, step if isinstance(step, int) else len(table)])
        table += [] if isinstance(step, int) else step.tolist()
    mapped = sum(1 << i for i, (_, step) in enumerate(loops) if not isinstance(step, int))
    unit = isinstance(loops[-1][1], int) and loops[-1][1] == 1
    scalars = {"start": sum(int(row[0]) for row in offsets), "axes": len(loops), "mapped": mapped, "unit": int(unit)}
    return Params(law, scalars, {"loops": np.array(rows, np.int32), "map": np.array(table or [0], np.int32)})


def _loops(row: Array) -> list[Loop]:
    """One axis' offsets, the first of them 0, as loops: equal steps, each perhaps repeated, or a list."""
    n = len(row)
    repeat = int(np.argmax(row != 0)) if row.any() else n
    for inner in (1, repeat):
        step = int(row[inner]) if inner < n else 0
        if n % inner == 0 and np.array_equal(row, np.arange(n) // inner * step):
            return [(m, s) for m, s in ((n // inner, step), (inner, 0)) if m > 1]
    return [(n, row)]


def size_limit(shape: Shape) -> None:
    """Refuse a result that no chip could hold before anything is allocated.

    Raises:
        EdgeqError: 2^31 elements and more.
    """
    if math.prod(shape) >= 2**31:
        raise EdgeqError(f"a tensor of shape {list(shape)} is too large")
