"""Long short-term memory: one layer, one direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from edgeq import floats, half, matrices, numerics, reals
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops import recurrent, words
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.recurrent import WIDE, _Recurrent, joined, pre_activations, products, saturate, to_state
from edgeq.ops.traits import Product, Traits

REACH = 1 << 20  # of a cell state in int32: 16, far beyond what tanh tells apart


@dataclass(frozen=True)
class Lstm(_Recurrent):
    """x ``[T, I]``, W ``[4H, I]``, R ``[4H, H]``, bias ``[4H]``, h ``[1, H]``, c ``[1, H]`` -> y ``[T, H]``, c ``[1, H]``.

    Gates in the order i, f, g, o: ``c = f c + i g``, ``h = o tanh(c)``. The last h is the last row of y (the first where
    time runs in reverse). `accumulate`: in what a layer on halves sums up. `cell_clip`: the largest magnitude of c, 0 for no limit.
    """

    traits: ClassVar[Traits] = replace(_Recurrent.traits, products=(Product(1, 3, 0), Product(2, None, 4)), states=((4, 0), (5, 1)))

    accumulate: Literal["f32", "f16"] = "f32"
    cell_clip: float = 0.0

    gates: ClassVar[int] = 4
    biases: ClassVar[int] = 1
    parameters: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        return self.infer(*types), types[5]

    def real(self, *x: Array) -> Array:
        return self.real_all(*x)[0]

    def real_all(self, *x: Array) -> tuple[Array, ...]:
        data, w, r, b, h0, c0 = x
        own = matrices.kept(r)

        def step(sums: Array, h: Array, c: Array) -> tuple[Array, Array]:
            both = sums + matrices.times(h, own).astype(np.float32)
            i, f, _, o = np.split(reals.sigmoid(both), 4, axis=-1)
            c = f * c + i * reals.tanh(np.split(both, 4, axis=-1)[2])
            c = np.clip(c, -self.cell_clip, self.cell_clip) if self.cell_clip else c
            return o * reals.tanh(c), c

        y, c = self.walk(data, (h0, c0), step, matrices.times(data, matrices.kept(w)).astype(np.float32) + b)
        return np.asarray(y, np.float32), np.asarray(c, np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, r, b, h, c = inputs
        recurrent.require_types(where, self, x.type, h.type, output, w, r, b)
        units = h.type.shape[-1]
        order = recurrent.unit_major(np.arange(4 * units), 4)
        both = joined(products(law, where, "x", x.type, w, b, order), products(law, where, "h", h.type, r, None, order))
        bits = recurrent.fraction_bits(where, c.type)
        cell = {"cell_bits": bits, "cell_clip": cell_limit(self.cell_clip, bits)}
        scaled = words.is_words(output) and law == "tflm" and bits != WIDE  # a file's
        scalars = self.shape_scalars(x.type, units) | cell | recurrent.from_q30(law, where, output, scaled=scaled)
        return Params(law, {**scalars, **both.scalars}, {**both.tables, "sigmoid": numerics.sigmoid_table()})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        data, h0, c0 = x
        bits, law, table = params.cell_bits, params.law, params.sigmoid

        def step(sums: Array, h: Array, c: Array) -> tuple[Array, Array]:
            gates = saturate(sums + pre_activations(params, "h", h)).reshape(len(h), -1, 4)
            product, c = integer_step(law, bits, params.cell_clip, table, [gates[..., k] for k in range(4)], c)
            return to_state(params, product), c

        y, c = self.walk(data, (h0, c0), step, pre_activations(params, "x", data))
        return np.asarray(y), np.asarray(c, np.int32 if bits == WIDE else np.int16)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, r, b, h, _ = inputs
        assert b.data is not None
        units = h.type.shape[-1]
        order = recurrent.unit_major(np.arange(4 * units), 4)
        low, high = half.limits((-self.cell_clip, self.cell_clip) if self.cell_clip else NO_CLAMP)
        scalars = {**self.shape_scalars(x.type, units), "act_min": low, "act_max": high}
        return recurrent.half_constants(where, {"x": w, "h": r}, {"x": b.data}, scalars, self.accumulate, order)

    def reference_half_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        data, h0, c0 = x

        def step(sums: Array, h: Array, c: Array) -> tuple[Array, Array]:
            sums = half.to_float(recurrent.half_sums(params, "h", h, sums)).reshape(len(h), -1, 4)
            return half_step([np.ascontiguousarray(sums[..., k]) for k in range(4)], c, params.act_min, params.act_max)

        return self.walk(data, (h0, c0), step, recurrent.half_sums(params, "x", data, params.x_bias))

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference_half_all(params, *x)[0]


def integer_step(law: str, bits: int, clip: int, table: Array, gates: Sequence[Array], c: Array) -> tuple[Array, Array]:
    """One step of gates i, f, g, o in Q3.12 from a cell state of scale 2^-bits: ``o tanh(c)`` in Q0.30, and c, int64."""
    i, f, o = (numerics.sigmoid_q15(table, 3 * gates[k]) for k in (0, 1, 3))
    g = numerics.tanh_q15(table, 3 * gates[2])
    c = next_cell(law, bits, f * c, i * g)
    c = np.clip(c, -clip, clip) if clip else c
    return o * numerics.tanh_q15(table, cell_argument(c, bits)), c


def half_step(gates: Sequence[Array], c: Array, low: int, high: int) -> tuple[Array, Array]:
    """One step of gates i, f, g, o in float32 from a cell state in halves with limits of `half.order`: h and c in halves."""
    i, f, o = (floats.sigmoid(gates[k]) for k in (0, 1, 3))
    c = half.clamped(half.from_float(f * half.to_float(c) + i * floats.tanh(gates[2])), low, high)
    return half.from_float(o * floats.tanh(half.to_float(c))), c


def cell_limit(clip: float, bits: int) -> int:
    """The largest magnitude of a cell state of scale 2^-bits, truncated as in TFLM; 0 where there is no limit."""
    return int(min(math.ldexp(clip, bits), 2.0**31 - 1 if bits == WIDE else 2.0**15 - 1))


def next_cell(law: str, bits: int, kept: Array, new: Array) -> Array:
    """``f c + i g`` in the scale of c, int64; `kept` is f c with 15 fraction bits more than c, `new` is Q0.30.

    In int32 no sum overflows, so that nothing saturates: f and i g stay below 1 - 2^-15.
    """
    if bits == WIDE:
        return np.asarray(((kept + (1 << 14)) >> 15) + ((new + (1 << (29 - WIDE))) >> (30 - WIDE)))
    return saturate(saturate(numerics.scale_by_pot(law, kept, 15)) + saturate(numerics.scale_by_pot(law, new, 30 - bits)))


def cell_argument(c: Array, bits: int) -> Array:
    """A cell state of scale 2^-bits in units of 2^-12 / 3, for tanh."""
    c = np.clip(c, -REACH, REACH) if bits == WIDE else c
    return (3 * c) << (12 - bits) if bits <= 12 else (3 * c + (1 << (bits - 13))) >> (bits - 12)
