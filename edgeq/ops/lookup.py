"""Lookup: rows of a constant table by computed indices, as an embedding of tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.formats import PLAIN
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.traits import Traits

FACTOR = 15  # bits of what a row of four bits is multiplied by


@dataclass(frozen=True)
class Lookup(Op):
    """Indices ``[...]``, constant table float32 ``[N, D]`` -> its rows ``[..., D]``; an index beyond the ends is that of the end.

    Indices are int32. The table is stored in int8 in the output's scale, or in halves, so that a row is copied as it is; or in int4 with
    a scale per row: two elements a byte, each times its row's factor of 15 bits and rounded once, to nearest with ties up.
    """

    traits: ClassVar[Traits] = Traits("move", real=(1,), indices=(0,), rows_of=(1,))
    parameters: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *types: TensorType) -> TensorType:
        index, table = types
        if len(table.shape) != 2:
            raise EdgeqError(f"a table of rows is a matrix, not {table}")
        return TensorType((*index.shape, table.shape[1]))

    def real(self, *x: Array) -> Array:
        return np.asarray(x[1][np.clip(x[0], 0, len(x[1]) - 1).astype(np.int64)], np.float32)

    def _sizes(self, where: str, inputs: tuple[Tensor, ...]) -> dict[str, int | str]:
        index, table = inputs
        if index.type.dtype is not DType.INT32 or table.data is None:
            raise EdgeqError(f"a look-up wants int32 indices and a constant table, not {index.type} and {table.type}", where=where)
        return {"count": index.type.size, "last": len(table.data) - 1, "depth": table.type.shape[1]}

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        sizes, table = self._sizes(where, inputs), inputs[1]
        require_int8(where, self, output, output)
        assert table.data is not None
        if table.format != PLAIN:
            return _in_four_bits(law, where, sizes, table, output)
        rows = numerics.quantize(law, table.data, output.scale, output.zero_point, -128, 127).astype(np.int8)
        return Params(law, {**sizes, "packed": 0}, {"rows": rows})

    def reference(self, params: Params, *x: Array) -> Array:
        at = np.clip(x[0], 0, params.last)
        if not params.packed:
            return np.asarray(params.rows[at])
        y = unpacked(params).astype(np.int64)[at] * params.factors.astype(np.int64)[at][..., None]
        y = ((y + (1 << params.shift >> 1)) >> params.shift) + params.out_offset
        return np.asarray(np.clip(y, -128, 127), np.int8)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        sizes, table = self._sizes(where, inputs), inputs[1]
        if table.data is None or table.type.dtype is not DType.FLOAT16:
            raise EdgeqError(f"a look-up of halves wants a table of halves, not {table.type}", where=where)
        return half_params({**sizes, "packed": 0}, {"rows": table.data})

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference(params, *x)


def _in_four_bits(law: str, where: str, sizes: dict[str, int | str], table: Tensor, output: TensorType) -> Params:
    """Parameters of a table int8 ``[N, D]`` with a scale per row, of which no element exceeds 7."""
    assert table.data is not None
    if table.type.q is None or table.format.type != "s4" or np.abs(table.data.astype(np.int64)).max() > 7:
        raise EdgeqError(f"rows of a table are stored in int8 or int4, not in {table.format}", where=where, fix='write weights = "int4"')
    ratios = np.asarray(table.type.q.scale, np.float32).astype(np.float64) / float(np.float32(output.scale))
    shift = min(max(FACTOR - math.frexp(float(ratios.max()))[1], 0), 24)
    factors = np.rint(np.ldexp(ratios, shift))
    if factors.max() >= 2.0**24:  # times 7 beyond int32: the output's steps are far finer than the rows'
        raise EdgeqError("the output's steps are too fine for rows of four bits", where=where, fix="check the scales")
    data = np.pad(table.data, ((0, 0), (0, table.data.shape[1] % 2))).view(np.uint8)
    bytes_ = (data[:, ::2] & 15) | (data[:, 1::2] << 4)
    scalars = {**sizes, "packed": 1, "shift": shift, "out_offset": output.zero_point}
    kept = factors.astype(np.uint16 if factors.max() < 2**16 else np.int32)
    return Params(law, scalars, {"rows": bytes_, "factors": kept})


def unpacked(params: Params) -> Array:
    """The elements of packed rows, int8 ``[N, D]``."""
    nibbles = np.stack([params.rows & 15, params.rows >> 4], -1).reshape(len(params.rows), -1)[:, : params.depth]
    return (nibbles ^ 8).astype(np.int8) - np.int8(8)
