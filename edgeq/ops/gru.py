"""Gated recurrent unit: one layer, one direction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from edgeq import floats, half, matrices, numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops.recurrent import (
    _Recurrent,
    from_q30,
    half_constants,
    half_sums,
    joined,
    pre_activations,
    products,
    require_types,
    saturate,
    to_state,
    unit_major,
    whole_bits,
)
from edgeq.ops.traits import Product, Traits

STATE_BITS = 22  # of the multiplier that takes h to Q0.15
WHOLE_BITS = 8  # of a state, at most


@dataclass(frozen=True)
class Gru(_Recurrent):
    """x ``[T, I]``, W ``[3H, I]``, R ``[3H, H]``, biases ``[3H]`` of both products, h ``[1, H]`` -> y ``[T, H]``.

    Gates in the order r, z, n: ``h = (1 - z) n + z h``. With `linear_before_reset` (PyTorch) r scales the state's product,
    ``n = tanh(Wx + b + r (Rh + b'))``, else the state, ``n = tanh(Wx + b + R(r h) + b')``. `accumulate`: in what a layer on halves sums up.
    """

    traits: ClassVar[Traits] = replace(_Recurrent.traits, products=(Product(1, 3, 0), Product(2, 4, 5)), states=((5, 0),))

    linear_before_reset: bool = True
    accumulate: Literal["f32", "f16"] = "f32"

    gates: ClassVar[int] = 3
    biases: ClassVar[int] = 2
    parameters: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)

    def real(self, *x: Array) -> Array:
        data, w, r, b, c, h0 = x
        split, own = 2 * len(w) // 3, matrices.kept(r)

        def step(sums: Array, h: Array) -> tuple[Array]:
            both = matrices.times(h, own).astype(np.float32) + c
            reset, z = np.split(reals.sigmoid(sums[:, :split] + both[:, :split]), 2, axis=-1)
            if self.linear_before_reset:
                product = reset * both[:, split:]
            else:
                product = matrices.times(reset * h, own)[:, split:].astype(np.float32) + c[split:]
            n = reals.tanh(sums[:, split:] + product)
            return ((1 - z) * n + z * h,)

        return np.asarray(self.walk(data, (h0,), step, matrices.times(data, matrices.kept(w)).astype(np.float32) + b)[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, r, b, c, h = inputs
        require_types(where, self, x.type, h.type, output, w, r, b, c)
        units = h.type.shape[-1]
        rows = np.arange(3 * units)
        order = unit_major(rows, 3)
        apart = np.concatenate([unit_major(rows[: 2 * units], 2), rows[2 * units :]])
        both = joined(
            products(law, where, "x", x.type, w, b, order),
            products(law, where, "h", h.type, r, c, order if self.linear_before_reset else apart),
        )
        whole = whole_bits(output)
        if whole > WHOLE_BITS:
            raise EdgeqError(f"the state reaches beyond {2**WHOLE_BITS}", where=where, why=f"its scale is {output.scale:g}")
        to_q15 = int(numerics.round_half_away(np.float64(np.float32(output.scale)) * 2 ** (STATE_BITS - whole)))
        zero = {"out_offset": output.zero_point}
        own = {"linear_before_reset": int(self.linear_before_reset), "state_multiplier": to_q15, "whole_bits": whole}
        scalars = self.shape_scalars(x.type, units) | own | zero | from_q30(law, where, output, whole=whole)
        return Params(law, {**scalars, **both.scalars}, {**both.tables, "sigmoid": numerics.sigmoid_table()})

    def reference(self, params: Params, *x: Array) -> Array:
        data, h0 = x
        units, table, zero = params.units, params.sigmoid, params.out_offset

        def step(sums: Array, h: Array) -> tuple[Array]:
            centred = h.astype(np.int64) - zero
            sums = sums.reshape(len(h), units, 3)
            rows = slice(None) if self.linear_before_reset else slice(2 * units)
            both = pre_activations(params, "h", h, rows).reshape(len(h), units, -1)
            r, z = (numerics.sigmoid_q15(table, 3 * saturate(sums[..., k] + both[..., k])) for k in (0, 1))
            if self.linear_before_reset:
                n = (r * both[..., 2] + (1 << 14)) >> 15
            else:
                reset = (((r * centred + (1 << 14)) >> 15) + zero).astype(h.dtype)
                n = pre_activations(params, "h", reset, slice(2 * units, None))
            n = numerics.tanh_q15(table, 3 * saturate(sums[..., 2] + n))
            n = (n + (1 << params.whole_bits >> 1)) >> params.whole_bits
            state = saturate((centred * params.state_multiplier + (1 << (STATE_BITS - 16))) >> (STATE_BITS - 15))
            return (to_state(params, z * state + (32768 - z) * n),)

        return np.asarray(self.walk(data, (h0,), step, pre_activations(params, "x", data))[0])

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, r, b, c, h = inputs
        assert b.data is not None and c.data is not None
        units = h.type.shape[-1]
        total = b.data + c.data  # the state's own bias is apart where r scales it
        last = slice(2 * units, None)
        own = b.data[last] if self.linear_before_reset else total[last]
        biases = {"x": np.concatenate([total[: 2 * units], own]), "h": c.data[last]}
        scalars = self.shape_scalars(x.type, units) | {"linear_before_reset": int(self.linear_before_reset)}
        return half_constants(where, {"x": w, "h": r}, biases, scalars, self.accumulate)

    def reference_half(self, params: Params, *x: Array) -> Array:
        data, h0 = x
        split = 2 * params.units
        first, last = slice(split), slice(split, None)

        def step(sums: Array, h: Array) -> tuple[Array]:
            both = floats.sigmoid(half.to_float(half_sums(params, "h", h, sums[:, first], first)))
            reset, z = both[:, : params.units], both[:, params.units :]
            wide = half.to_float(h)
            with np.errstate(all="ignore"):
                if self.linear_before_reset:
                    n = half.to_float(sums[:, last]) + reset * half.to_float(half_sums(params, "h", h, params.h_bias, last))
                else:
                    n = half.to_float(half_sums(params, "h", half.from_float(reset * wide), sums[:, last], last))
                n = floats.tanh(n)
                return (half.from_float((np.float32(1) - z) * n + z * wide),)

        return self.walk(data, (h0,), step, half_sums(params, "x", data, params.x_bias))[0]
