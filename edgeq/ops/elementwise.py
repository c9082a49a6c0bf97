"""What the elementwise operators share: broadcasting collapsed to a few loops, and the element count."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.linear import NO_CLAMP, Clamp

Shape = tuple[int, ...]


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape of an elementwise result.

    Raises:
        EdgeqError: ranks differ, or two lengths differ and neither is 1.
    """
    if len(a) != len(b) or any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        raise EdgeqError(f"shapes {list(a)} and {list(b)} do not broadcast", why="ranks must be equal, lengths equal or 1")
    return tuple(max(m, n) for m, n in zip(a, b, strict=True))


def loops(a: Shape, b: Shape) -> tuple[dict[str, int], Array]:
    """The fewest nested loops that walk two broadcast operands.

    Neighbouring axes along which each operand either moves or stands still are one loop.

    Returns:
        scalars ``inner`` (length of the innermost loop), ``a_step``, ``b_step`` (0 or 1 along it) and
        ``axes`` (number of loops around it); and int32 ``[max(1, axes), 3]``, per outer loop from the
        outermost its count and what is added to the two pointers after each of its turns.
    """
    runs: list[list[int]] = []  # [length, a moves, b moves], outermost first
    for m, n in zip(a, b, strict=True):
        if max(m, n) == 1:
            continue
        moves = [int(m > 1), int(n > 1)]
        if runs and runs[-1][1:] == moves:
            runs[-1][0] *= max(m, n)
        else:
            runs.append([max(m, n), *moves])
    inner, a_step, b_step = runs.pop() if runs else [1, 1, 1]
    table = []
    advanced = [inner if a_step else 1, inner if b_step else 1]  # elements of each operand inside this loop
    passed = [0, 0]  # what the loops inside have already added to the pointers
    for length, *moves in reversed(runs):
        jump = [m * e - q for m, e, q in zip(moves, advanced, passed, strict=True)]
        table.append([length, *jump])
        passed = [length * (j + q) for j, q in zip(jump, passed, strict=True)]
        advanced = [e * length if m else e for m, e in zip(moves, advanced, strict=True)]
    rows = np.array(table[::-1] or [[1, 0, 0]], np.int32)
    return {"inner": inner, "a_step": a_step, "b_step": b_step, "axes": len(runs)}, rows


@dataclass(frozen=True)
class _Binary(Op):
    """a, b -> their elementwise combination, clamped. Equal ranks, lengths equal or 1; either may be constant."""

    clamp: Clamp = NO_CLAMP

    def infer(self, *types: TensorType) -> TensorType:
        a, b = types
        return replace(a, shape=broadcast(a.shape, b.shape))

    def combine(self, a: Array, b: Array) -> Array:
        """The float meaning before the clamp."""
        raise NotImplementedError

    def constants(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        """The numbers of one element's arithmetic."""
        raise NotImplementedError

    def real(self, *x: Array) -> Array:
        return np.clip(self.combine(*x), *self.clamp).astype(np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        a, b = (t.type for t in inputs)
        scalars, table = loops(a.shape, b.shape)
        own = self.constants(law, where, a, b, output)
        return Params(law, {**own.scalars, **scalars}, {**own.tables, "loops": table})
