"""The gates of an LSTM whose products are layers of their own, such as the factors of a tensor train."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half, numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops import recurrent, words
from edgeq.ops.halves import half_params
from edgeq.ops.lstm import half_step, integer_step
from edgeq.ops.recurrent import GATE, saturate
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class LstmCell(Op):
    """x ``[1, 4H]``, bias ``[4H]``, h ``[1, 4H]``, c ``[1, H]`` -> y ``[1, H]``, c ``[1, H]``.

    x and h are products that somebody else computed; gates ``x + h + bias`` in the order i, f, g, o: ``c = f c + i g``, ``y = o tanh(c)``.
    On int16 x and h have the scale 2^-12, the state 2^-15 and the cell state that of an `Lstm`.
    """

    traits: ClassVar[Traits] = Traits(
        "recurrent", real=(1,), terms=(1,), states=((3, 1),), words=True, word_scales=((0, GATE.scale), (2, GATE.scale))
    )

    parameters: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *types: TensorType) -> TensorType:
        x, bias, h, c = types
        units = c.shape[-1] if c.shape else 0
        if c.shape != (1, units) or x.shape != (1, 4 * units) or h.shape != x.shape or bias.shape != (4 * units,):
            raise EdgeqError(f"gates {x} and {h} with bias {bias} do not fit the cell state {c}")
        return replace(x, shape=c.shape)

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        return self.infer(*types), types[3]

    def real(self, *x: Array) -> Array:
        return self.real_all(*x)[0]

    def real_all(self, *x: Array) -> tuple[Array, ...]:
        own, bias, fed_back, c = x
        sums = np.asarray(own + fed_back + bias, np.float32)
        i, f, _, o = np.split(reals.sigmoid(sums), 4, axis=-1)
        c = f * c + i * reals.tanh(np.split(sums, 4, axis=-1)[2])
        return np.asarray(o * reals.tanh(c), np.float32), np.asarray(c, np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, bias, h, c = inputs
        words.require_int16(where, self, x.type, h.type, output)
        if (x.type.scale, h.type.scale, output.scale) != (GATE.scale, GATE.scale, recurrent.UNIT):
            raise EdgeqError("gates on int16 have the scale 2^-12, the state 2^-15", where=where, why=f"{x.type.q}, {h.type.q}, {output.q}")
        if bias.data is None or bias.type.dtype is not DType.FLOAT32:
            raise EdgeqError(f"a constant float32 bias is expected, not {bias.type}", where=where)
        steps = np.clip(numerics.round_half_away(bias.data.astype(np.float64) / GATE.scale), words.LEAST, words.MOST)
        scalars = {"units": c.type.shape[-1], "cell_bits": recurrent.fraction_bits(where, c.type), "cell_clip": 0}
        return Params(law, scalars, {"bias": steps.astype(np.int16), "sigmoid": numerics.sigmoid_table()})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        own, fed_back, c = (a.astype(np.int64) for a in x)
        gates = np.split(saturate(own + fed_back + params.bias), 4, axis=-1)
        product, c = integer_step(params.law, params.cell_bits, params.cell_clip, params.sigmoid, gates, c)
        return ((product + (1 << 14)) >> 15).astype(np.int16), np.asarray(c, x[2].dtype)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        bias = inputs[1]
        if bias.data is None:
            raise EdgeqError("a constant bias is expected", where=where)
        return half_params({"units": output.shape[-1]}, {"bias": half.biases(bias.data)})

    def reference_half_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        own, fed_back, c = x
        gates = np.split(half.to_float(own) + half.to_float(fed_back) + params.bias, 4, axis=-1)
        return half_step([np.ascontiguousarray(g) for g in gates], c, params.act_min, params.act_max)

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference_half_all(params, *x)[0]
