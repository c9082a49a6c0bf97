"""Lookup: rows of a constant table by computed indices, as an embedding of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Lookup(Op):
    """Indices ``[...]``, constant table float32 ``[N, D]`` -> its rows ``[..., D]``; an index beyond the ends is that of the end.

    Indices are int32. The table is stored in int8 in the output's scale, or in halves, so that a row is copied as it is.
    """

    traits: ClassVar[Traits] = Traits("move", real=(1,), indices=(0,))
    parameters: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *types: TensorType) -> TensorType:
        index, table = types
        if len(table.shape) != 2:
            raise EdgeqError(f"a table of rows is a matrix, not {table}")
        return TensorType((*index.shape, table.shape[1]))

    def real(self, *x: Array) -> Array:
        return np.asarray(x[1][np.clip(x[0], 0, len(x[1]) - 1).astype(np.int64)], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        index, table = inputs
        if index.type.dtype is not DType.INT32 or table.data is None:
            raise EdgeqError(f"a look-up wants int32 indices and a constant table, not {index.type}", where=where)
        require_int8(where, self, output, output)
        rows = numerics.quantize(law, table.data, output.scale, output.zero_point, -128, 127).astype(np.int8)
        return Params(law, {"count": index.type.size, "last": len(rows) - 1, "depth": rows.shape[1]}, {"rows": rows})

    def reference(self, params: Params, *x: Array) -> Array:
        return np.asarray(params.rows[np.clip(x[0], 0, params.last)])

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        index, table = inputs
        if index.type.dtype is not DType.INT32 or table.data is None or table.type.dtype is not DType.FLOAT16:
            raise EdgeqError(f"a look-up wants int32 indices and constant halves, not {index.type} and {table.type}", where=where)
        return half_params({"count": index.type.size, "last": len(table.data) - 1, "depth": table.type.shape[1]}, {"rows": table.data})

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference(params, *x)
