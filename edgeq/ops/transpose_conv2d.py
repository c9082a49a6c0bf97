"""Transposed two-dimensional convolution with groups, stride, dilation and a fused clamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeq import half, matrices
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.halves import finish, half_layer
from edgeq.ops.linear import NO_CLAMP, Clamp, apply_output_stage, output_stage
from edgeq.ops.traits import Linear, Product, Shape, Traits
from edgeq.ops.views import transposed
from edgeq.ops.windows import Pads, Pair, geometry, pixels_on


def _firsts(op: Any, shapes: Sequence[Shape], output: Shape) -> list[Array]:
    """Of the input, of which results are pixels."""
    starts = []
    for side in (0, 1):
        reach = (shapes[1][1 + side] - 1) * op.dilation[side] - op.pads[side]
        starts.append(-((reach - np.arange(output[1 + side])) // op.stride[side]))
    return [pixels_on(starts[0], starts[1], shapes[0])]


@dataclass(frozen=True)
class TransposeConv2d(Op):
    """x ``[N, H, W, C]``, weights ``[O, kernel_h, kernel_w, C / groups]``, bias ``[O]`` -> ``[N, H', W', O]``.

    Input pixel i and tap k meet at output pixel ``i * stride + k * dilation - pad``; `pads` (top, left, bottom, right)
    are cut off, `output_pads` (rows, columns) added at the bottom and right.
    """

    traits: ClassVar[Traits] = Traits(
        "conv", linear=Linear(0, transposed, equalized=False, folds_behind=False), products=(Product(1, 2, 0),),
        firsts=_firsts, file_words=True,
    )  # fmt: skip

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    output_pads: Pair = (0, 0)
    groups: int = 1
    clamp: Clamp = NO_CLAMP

    parameters: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *types: TensorType) -> TensorType:
        x, w, b = types
        if len(x.shape) != 4 or len(w.shape) != 4 or w.shape[3] * self.groups != x.shape[3] or w.shape[0] % self.groups:
            raise EdgeqError(f"weights {w} do not fit input {x} with {self.groups} group(s)")
        if b.shape != (w.shape[0],):
            raise EdgeqError(f"bias {b} does not fit weights {w}")
        if min(*self.stride, *self.dilation) < 1 or min(*self.pads, *self.output_pads) < 0:
            raise EdgeqError(f"stride {self.stride}, dilation {self.dilation}, pads {self.pads}, {self.output_pads}: out of range")
        size = [f - self.pads[i] - self.pads[i + 2] for i, f in enumerate(self._full((x.shape[1], x.shape[2]), (w.shape[1], w.shape[2])))]
        if min(size) < 1:
            raise EdgeqError(f"pads {self.pads} leave nothing of the output")
        return replace(x, shape=(x.shape[0], size[0], size[1], w.shape[0]))

    def _full(self, size: Pair, kernel: Pair) -> Pair:
        """Rows and columns before the pads are cut off."""
        parts = zip(size, kernel, self.stride, self.dilation, self.output_pads, strict=True)
        h, w = ((n - 1) * s + (k - 1) * d + 1 + extra for n, k, s, d, extra in parts)
        return h, w

    def macs(self, *types: TensorType) -> int:
        return types[0].size * types[1].size // types[0].shape[3] * self.groups

    def _sums(self, x: Array, w: Array, dtype: type[np.floating[Any]], start: Array | None = None) -> Array:
        """Products without bias ``[V*N, H', W', O]``: exact for integers that `dtype` holds; from `start` on and in order where given."""
        x = x.reshape(-1, *x.shape[-3:]).astype(dtype)
        vectors, in_h, in_w, _ = x.shape
        full_h, full_w = self._full((in_h, in_w), (w.shape[1], w.shape[2]))
        total = np.full((vectors, full_h, full_w, w.shape[0]), 0 if start is None else start, dtype)
        per_in, per_out = w.shape[3], w.shape[0] // self.groups
        for ky, kx in np.ndindex(w.shape[1], w.shape[2]):
            axes = zip((ky, kx), self.dilation, (in_h, in_w), self.stride, strict=True)
            down, across = (slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in axes)
            at = total[:, down, across]
            for g in range(self.groups):
                outputs = slice(g * per_out, (g + 1) * per_out)
                rows, columns = x[..., g * per_in : (g + 1) * per_in], w[outputs, ky, kx].T.astype(dtype)
                if start is not None:
                    at[..., outputs] = half.products(rows, columns, at[..., outputs])
                else:
                    at[..., outputs] += rows @ columns if dtype is np.float64 else matrices.matmul(rows, columns).astype(dtype)
        top, left, bottom, right = self.pads
        return total[:, top : full_h - bottom, left : full_w - right]

    def real(self, *x: Array) -> Array:
        data, w, b = x
        y = np.clip(self._sums(data, w, np.float32) + b, *self.clamp)
        return np.asarray(y.reshape(*data.shape[:-3], *y.shape[1:]), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        assert w.data is not None and b.data is not None
        if words.is_words(x.type):
            words.require_tflm(law, where, self, x.type, output)
            own = words.layer(where, x.type, w, b, output, self.clamp)
            return Params(law, {**self._geometry(x.type, w.type, output), **own.scalars}, {"weights": w.data, **own.tables})
        flat = w.data.astype(np.int64).reshape(w.data.shape[0], -1)
        sums = np.stack([flat.sum(1), np.abs(flat).sum(1)], axis=1)
        stage = output_stage(law, where, x.type, w, b, output, self.clamp, sums)
        scalars = {**self._geometry(x.type, w.type, output), "in_zero": x.type.zero_point}
        # The taps that meet a pixel differ from pixel to pixel: the zero point cannot be folded into the bias.
        return Params(law, {**scalars, **stage.scalars}, {"weights": w.data, **stage.tables, "bias": b.data.astype(np.int32)})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        return half_layer(where, w, b, self._geometry(x.type, w.type, output), self.clamp)

    def _geometry(self, x: TensorType, w: TensorType, output: TensorType) -> dict[str, int | str]:
        return {**geometry(x, w, output, self.stride, self.dilation, self.pads), "out_c": output.shape[3], "groups": self.groups}

    def reference_half(self, params: Params, *x: Array) -> Array:
        total = self._sums(x[0], params.weights, np.float32, params.bias)
        return finish(params, total).reshape(*x[0].shape[:-3], *total.shape[1:])

    def reference(self, params: Params, *x: Array) -> Array:
        w = params.weights
        if "wide" in params.scalars:
            sums = self._sums(x[0], w, np.float64).astype(np.int64) + params.bias
            return words.finish(params, sums).reshape(*x[0].shape[:-3], *sums.shape[1:])
        dtype = np.float32 if w[0].size * 127 * 255 < 2**24 else np.float64
        sums = self._sums(x[0].astype(np.int16) - params.in_zero, w, dtype).astype(np.int64)
        y = apply_output_stage(params, sums + params.bias)
        return y.reshape(*x[0].shape[:-3], *y.shape[1:])
