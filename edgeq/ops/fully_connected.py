"""Fully connected layer: every row of the input times a constant matrix, plus bias, with a fused clamp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from edgeq import matrices
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.halves import finish, half_layer, layer
from edgeq.ops.linear import (
    NO_CLAMP,
    Clamp,
    centred,
    exact_products,
    finish_sums,
    largest_sums,
    output_stage,
    weight_zero,
)
from edgeq.ops.traits import Linear, Product, Traits, last_alone
from edgeq.ops.views import dense


@dataclass(frozen=True)
class FullyConnected(Op):
    """x ``[..., K]``, weights ``[N, K]`` (quantized along axis 0), bias ``[N]`` -> ``[..., N]``.

    `accumulate`: in what a layer on halves sums up.
    """

    traits: ClassVar[Traits] = Traits(
        "dense", linear=Linear(0, dense), products=(Product(1, 2, 0),), narrow=True, words=True, slides=last_alone
    )

    clamp: Clamp = NO_CLAMP
    accumulate: Literal["f32", "f16"] = "f32"

    parameters: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *types: TensorType) -> TensorType:
        x, w, b = types
        if not x.shape or len(w.shape) != 2 or w.shape[1] != x.shape[-1]:
            raise EdgeqError(f"weights {w} do not fit input {x}")
        if b.shape != (w.shape[0],):
            raise EdgeqError(f"bias {b} does not fit weights {w}")
        return replace(x, shape=(*x.shape[:-1], w.shape[0]))

    def macs(self, *types: TensorType) -> int:
        return types[0].size * types[1].shape[0]

    def real(self, *x: Array) -> Array:
        data, w, b = x
        return np.asarray(np.clip(matrices.times(data, matrices.kept(w)).astype(np.float32) + b, *self.clamp), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        if words.is_words(x.type):
            return self._bind_words(law, where, inputs, output)
        assert w.data is not None
        wide = w.data.astype(np.int16) - np.int16(w.type.zero_point)
        sums = np.stack([wide.sum(1, dtype=np.int64), np.abs(wide).sum(1, dtype=np.int64)], axis=1)
        stage = output_stage(law, where, x.type, w, b, output, self.clamp, sums)
        n, k = w.data.shape
        scalars = {"batches": x.type.size // k, "in_c": k, "out_c": n}
        return Params(law, {**scalars, **stage.scalars, **weight_zero(w.type)}, {"weights": w.data, **stage.tables})

    def _bind_words(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        words.require_int16(where, self, x.type, output)
        assert w.data is not None
        stage = words.layer(where, x.type, w, b, output, self.clamp)
        n, k = w.data.shape
        scalars = {"batches": x.type.size // k, "in_c": k, "out_c": n}
        return Params(law, {**scalars, **stage.scalars}, {"weights": w.data, **stage.tables})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        n, k = w.type.shape
        return half_layer(where, w, b, {"batches": x.type.size // k, "in_c": k, "out_c": n}, self.clamp, self.accumulate)

    def reference_half(self, params: Params, *x: Array) -> Array:
        return finish(params, layer(params, x[0]))

    def reference(self, params: Params, *x: Array) -> Array:
        w = centred(params)
        if "wide" in params.scalars:
            sums = words.results(x[0], w, params.bias, params.multiplier, params.shift)
            return np.asarray(np.clip(sums, params.act_min, params.act_max), np.int16)
        bound = params.derived("bound", lambda: largest_sums(w, (1,)))
        sums = exact_products(x[0].reshape(-1, w.shape[1]), w.T, float(bound.max()))
        return finish_sums(params, sums, bound).reshape(*x[0].shape[:-1], w.shape[0])
