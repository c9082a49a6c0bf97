"""Two-dimensional convolution with groups, stride, dilation, explicit padding and a fused clamp."""

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
from edgeq.ops.traits import Linear, Product, Traits
from edgeq.ops.views import convolution
from edgeq.ops.windows import Pads, Pair, geometry, output_size, patches, window_firsts, window_rows, window_slides


@dataclass(frozen=True)
class Conv2d(Op):
    """x ``[N, H, W, C]``, weights ``[O, kernel_h, kernel_w, C / groups]``, bias ``[O]`` -> ``[N, H', W', O]``.

    `pads` are (top, left, bottom, right) and hold the input's zero. `accumulate`: in what a layer on halves sums up.
    """

    traits: ClassVar[Traits] = Traits(
        "conv", linear=Linear(0, convolution), products=(Product(1, 2, 0),), narrow=True, rows=window_rows,
        firsts=window_firsts, slides=window_slides, file_words=True,
    )  # fmt: skip

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    groups: int = 1
    clamp: Clamp = NO_CLAMP
    accumulate: Literal["f32", "f16"] = "f32"

    parameters: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *types: TensorType) -> TensorType:
        x, w, b = types
        if len(x.shape) != 4 or len(w.shape) != 4 or w.shape[3] * self.groups != x.shape[3] or w.shape[0] % self.groups:
            raise EdgeqError(f"weights {w} do not fit input {x} with {self.groups} group(s)")
        if b.shape != (w.shape[0],):
            raise EdgeqError(f"bias {b} does not fit weights {w}")
        h, width = output_size((x.shape[1], x.shape[2]), (w.shape[1], w.shape[2]), self.stride, self.dilation, self.pads)
        return replace(x, shape=(x.shape[0], h, width, w.shape[0]))

    def macs(self, *types: TensorType) -> int:
        return self.infer(*types).size * types[1].size // types[1].shape[0]

    def _sums(self, x: Array, w: Array, fill: float, bound: float | None) -> Array:
        """Products without bias: ``[V*N, H', W', O]``, float32 where `bound` is None, else exact."""
        windows = patches(x.reshape(-1, *x.shape[-3:]), (w.shape[1], w.shape[2]), self.stride, self.dilation, self.pads, fill)
        n, h, width = windows.shape[:3]
        per_in, per_out = w.shape[3], w.shape[0] // self.groups
        parts = []
        for g in range(self.groups):
            a = windows[..., g * per_in : (g + 1) * per_in].reshape(n * h * width, -1)
            b = w[g * per_out : (g + 1) * per_out].reshape(per_out, -1).T
            parts.append(matrices.matmul(a, b).astype(np.float32) if bound is None else exact_products(a, b, bound))
        return np.concatenate(parts, axis=1).reshape(n, h, width, -1)

    def real(self, *x: Array) -> Array:
        data, w, b = x
        y = np.clip(self._sums(data, w, 0.0, None) + b, *self.clamp)
        return np.asarray(y.reshape(*data.shape[:-3], *y.shape[1:]), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        assert w.data is not None
        if words.is_words(x.type):
            words.require_tflm(law, where, self, x.type, output)
            own = words.layer(where, x.type, w, b, output, self.clamp)
            return Params(law, {**self._geometry(x.type, w.type, output), **own.scalars}, {"weights": w.data, **own.tables})
        flat = w.data.astype(np.int64).reshape(w.data.shape[0], -1) - w.type.zero_point
        sums = np.stack([flat.sum(1), np.abs(flat).sum(1)], axis=1)
        stage = output_stage(law, where, x.type, w, b, output, self.clamp, sums)
        scalars = {**self._geometry(x.type, w.type, output), "in_zero": x.type.zero_point}
        return Params(law, {**scalars, **stage.scalars, **weight_zero(w.type)}, {"weights": w.data, **stage.tables})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        return half_layer(where, w, b, self._geometry(x.type, w.type, output), self.clamp, self.accumulate)

    def _geometry(self, x: TensorType, w: TensorType, output: TensorType) -> dict[str, int | str]:
        return {
            **geometry(x, w, output, self.stride, self.dilation, self.pads), "out_c": output.shape[3], "groups": self.groups,
        }  # fmt: skip

    def reference_half(self, params: Params, *x: Array) -> Array:
        w = params.weights
        windows = patches(x[0].reshape(-1, *x[0].shape[-3:]), (w.shape[1], w.shape[2]), self.stride, self.dilation, self.pads, 0)
        depth, each = w.shape[3], len(w) // self.groups
        parts = []
        for g in range(self.groups):
            own = slice(g * each, (g + 1) * each)
            rows = windows[..., g * depth : (g + 1) * depth].reshape(*windows.shape[:3], -1)
            parts.append(layer(params, rows, own))
        return finish(params, np.concatenate(parts, axis=-1)).reshape(*x[0].shape[:-3], *windows.shape[1:3], len(w))

    def reference(self, params: Params, *x: Array) -> Array:
        w = centred(params)
        if "wide" in params.scalars:
            sums = self._sums(x[0], w, 0, float(w[0].size) * 128 * 32768).astype(np.int64) + params.bias
            return words.finish(params, sums).reshape(*x[0].shape[:-3], *sums.shape[1:])
        bound = params.derived("bound", lambda: largest_sums(w, (1, 2, 3)))
        y = finish_sums(params, self._sums(x[0], w, params.in_zero, float(bound.max())), bound)
        return y.reshape(*x[0].shape[:-3], *y.shape[1:])
