"""CacheWrite: rows that take the place of others in a tensor that is kept, as keys and values of past tokens are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.move import same_values
from edgeq.ops.traits import SHARED, Traits


@dataclass(frozen=True)
class CacheWrite(Op):
    """Kept ``[..., S, ...]``, rows ``[..., T, ...]`` along `axis`, place int32 of one element -> kept, with its rows from the place on
    replaced. With `ring` a place beyond the end is counted from the beginning again, and so are the rows; else all lie within.
    """

    traits: ClassVar[Traits] = Traits("move", same_scale=SHARED, alike=(1,), indices=(2,))

    axis: int
    ring: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        kept, rows, place = types
        fits = len(kept.shape) == len(rows.shape) and 0 <= self.axis < len(kept.shape) and place.size == 1
        others = [a for a in range(len(kept.shape)) if a != self.axis]
        if not fits or any(kept.shape[a] != rows.shape[a] for a in others) or rows.shape[self.axis] > kept.shape[self.axis]:
            raise EdgeqError(f"rows {rows} do not fit into {kept} along axis {self.axis}")
        return kept

    def _at(self, place: Array, kept: int, rows: int) -> Array:
        """Where the rows of each vector go, ``[V, rows]``."""
        first = place.reshape(-1, 1).astype(np.int64)
        first = first % kept if self.ring else np.clip(first, 0, kept - rows)
        return (first + np.arange(rows)) % kept

    def real(self, *x: Array) -> Array:
        axis = self.axis + 1
        at = self._at(x[2], x[0].shape[axis], x[1].shape[axis])
        y = np.array(np.broadcast_to(x[0], (len(at), *x[0].shape[1:])))
        index = at.reshape([len(at), *(at.shape[1] if a == axis else 1 for a in range(1, y.ndim))])
        np.put_along_axis(y, index, np.broadcast_to(x[1], (len(at), *x[1].shape[1:])), axis)
        return y

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        require_int8(where, self, inputs[0].type, output)
        same_values(law, where, inputs[:2], output)
        return Params(law, self._sizes(where, inputs))

    def _sizes(self, where: str, inputs: tuple[Tensor, ...]) -> dict[str, int | str]:
        kept, rows, place = (t.type for t in inputs)
        if place.dtype is not DType.INT32:
            raise EdgeqError(f"the place in a cache is int32, not {place}", where=where)
        inner = int(np.prod(kept.shape[self.axis + 1 :], dtype=np.int64))
        outer = int(np.prod(kept.shape[: self.axis], dtype=np.int64))
        sizes: dict[str, int | str] = {"outer": outer, "kept": kept.shape[self.axis], "rows": rows.shape[self.axis], "inner": inner}
        return {**sizes, "ring": int(self.ring), "size": kept.size}

    def reference(self, params: Params, *x: Array) -> Array:
        return self.real(*x)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return half_params(self._sizes(where, inputs))

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.real(*x)
