"""Rotary embeddings: pairs of elements turned by angles of their place (Su et al., 2021), from tables of cosines and sines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.linear import NO_CLAMP, apply_output_stage, rescaling
from edgeq.ops.traits import Traits

UNIT = 14  # fraction bits of cosines and sines


@dataclass(frozen=True)
class Rotary(Op):
    """x ``[B, T, H, D]``, places ``[B T]`` in any shape, constant cosines and sines float32 ``[P, R / 2]`` -> x, of each head the first
    R elements turned: elements i and i + R / 2 as a pair, or 2 i and 2 i + 1 where `interleaved`.

    On int8 cosines and sines have 14 bits, and a sum of two products is rounded once. On halves they are halves: the products are exact
    in float32, their sum is rounded there and then to a half. Places are int32; one beyond the tables is their end.
    """

    traits: ClassVar[Traits] = Traits("unary", real=(2, 3), indices=(1,))
    parameters: ClassVar[tuple[int, ...]] = (2, 3)

    interleaved: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        x, places, cosines, sines = types
        fits = len(x.shape) == 4 and places.size == x.shape[0] * x.shape[1] and cosines.shape == sines.shape and len(sines.shape) == 2
        if not fits or 2 * sines.shape[1] > x.shape[3]:
            raise EdgeqError(f"angles {cosines} and places {places} do not fit {x}")
        return x

    def _pairs(self, depth: int, turned: int) -> tuple[Array, Array]:
        """The elements of each pair."""
        i = np.arange(turned // 2)
        return (2 * i, 2 * i + 1) if self.interleaved else (i, i + turned // 2)

    def _turned(self, x: Array, c: Array, s: Array, unit: Array | int) -> Array:
        """Sums of products ``[V, B, T, H, D]``; elements that are not turned are times `unit`."""
        a, b = self._pairs(x.shape[-1], 2 * c.shape[-1])
        c, s = (t.reshape(*x.shape[:3], 1, -1) for t in (c, s))
        y = x * unit
        y[..., a], y[..., b] = x[..., a] * c - x[..., b] * s, x[..., a] * s + x[..., b] * c
        return y

    def real(self, *x: Array) -> Array:
        at = np.clip(x[1], 0, len(x[2]) - 1).astype(np.int64)
        return np.asarray(self._turned(x[0], x[2][at], x[3][at], 1), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0]
        require_int8(where, self, x.type, output)
        angles = self._angles(where, inputs).astype(np.float64)
        if np.abs(angles).max() > 1.001:
            raise EdgeqError("cosines and sines reach beyond 1", where=where, fix="scale keys or queries elsewhere")
        ratio = float(np.float32(x.type.scale)) / float(np.float32(output.scale)) * 2.0**-UNIT
        bound = 2 * 255 << UNIT
        stage = rescaling(law, where, *numerics.quantize_multipliers(np.array([ratio])), output, NO_CLAMP, bound)
        scalars = {**self._sizes(x.type, angles), "zero": x.type.zero_point, "unit": 1 << UNIT, **stage.scalars}
        factor = {"multiplier": int(stage.multiplier[0]), "shift": int(stage.shift[0])}
        return Params(law, {**scalars, **factor}, {"angles": np.rint(np.ldexp(angles, UNIT)).astype(np.int16)})

    def _angles(self, where: str, inputs: tuple[Tensor, ...]) -> Array:
        """Cosine and sine of every place and pair ``[P, R / 2, 2]``."""
        _, places, cosines, sines = inputs
        if places.type.dtype is not DType.INT32 or cosines.data is None or sines.data is None:
            raise EdgeqError(f"rotary embeddings want int32 places and constant tables, not {places.type}", where=where)
        return np.stack([cosines.data, sines.data], -1)

    def _sizes(self, x: TensorType, angles: Array) -> dict[str, int | str]:
        rows, heads, depth = x.shape[0] * x.shape[1], *x.shape[2:]
        sizes = {"rows": rows, "heads": heads, "depth": depth, "turned": 2 * angles.shape[1], "last": len(angles) - 1}
        return {**sizes, "interleaved": int(self.interleaved)}

    def reference(self, params: Params, *x: Array) -> Array:
        angles = params.angles.astype(np.int64)[np.clip(x[1], 0, params.last)]
        sums = self._turned(x[0].astype(np.int64) - params.zero, angles[..., 0], angles[..., 1], 1 << UNIT)
        return apply_output_stage(params, sums)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        angles = self._angles(where, inputs)
        return half_params(self._sizes(inputs[0].type, angles), {"angles": half.from_float(angles)})

    def reference_half(self, params: Params, *x: Array) -> Array:
        angles = half.to_float(params.angles[np.clip(x[1], 0, params.last)])
        with np.errstate(all="ignore"):
            return half.from_float(self._turned(half.to_float(x[0]), angles[..., 0], angles[..., 1], 1))
