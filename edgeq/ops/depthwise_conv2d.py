"""Depthwise convolution with a channel multiplier, stride, dilation, explicit padding and a fused clamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.halves import finish, half_layer
from edgeq.ops.linear import NO_CLAMP, Clamp, centred, finish_sums, largest_sums, output_stage, weight_zero
from edgeq.ops.traits import Linear, Product, Shape, Tie, Traits, channel_count
from edgeq.ops.views import depthwise
from edgeq.ops.windows import Pads, Pair, geometry, output_size, taps, window_firsts, window_rows, window_slides

PIECE = 2**14  # sums at a time: with their products and inputs they lie in a core's own cache


def _ties(op: Any, inputs: Sequence[Shape | None], output: Shape) -> list[Tie]:
    """Every input channel makes as many output channels, side by side."""
    count, source = channel_count(output), channel_count(inputs[0] or ())
    channels = np.arange(count)
    return [Tie(0, channels // (count // source), channels)]


@dataclass(frozen=True)
class DepthwiseConv2d(Op):
    """x ``[N, H, W, C]``, weights ``[1, kernel_h, kernel_w, C * m]`` (quantized along axis 3), bias ``[C * m]`` -> ``[N, H', W', C * m]``.

    Output channel o reads input channel o // m. `pads` are (top, left, bottom, right) and hold the input's zero.
    """

    traits: ClassVar[Traits] = Traits(
        "depthwise", channels=_ties, linear=Linear(3, depthwise, depthwise=True), products=(Product(1, 2, 0),), rows=window_rows,
        firsts=window_firsts, slides=window_slides, file_words=True,
    )  # fmt: skip

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    clamp: Clamp = NO_CLAMP

    parameters: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *types: TensorType) -> TensorType:
        x, w, b = types
        if len(x.shape) != 4 or len(w.shape) != 4 or w.shape[0] != 1 or w.shape[3] % x.shape[3]:
            raise EdgeqError(f"depthwise weights {w} do not fit input {x}")
        if b.shape != (w.shape[3],):
            raise EdgeqError(f"bias {b} does not fit weights {w}")
        h, width = output_size((x.shape[1], x.shape[2]), (w.shape[1], w.shape[2]), self.stride, self.dilation, self.pads)
        return replace(x, shape=(x.shape[0], h, width, w.shape[3]))

    def macs(self, *types: TensorType) -> int:
        return self.infer(*types).size * types[1].shape[1] * types[1].shape[2]

    def _sums(self, x: Array, w: Array, fill: float, dtype: type[np.floating[Any]], start: Array | float = 0.0) -> Array:
        """Products, from `start` on, ``[V*N, H', W', C*m]``, tap by tap: exact for integers that `dtype` holds."""
        _, kernel_h, kernel_w, channels = w.shape
        multiplier = channels // x.shape[-1]
        h, width = output_size((x.shape[-3], x.shape[-2]), (kernel_h, kernel_w), self.stride, self.dilation, self.pads)
        x = x.reshape(-1, *x.shape[-3:])
        total, floats = np.empty((len(x), h, width, channels), dtype), x.dtype.kind == "f"
        rows = np.broadcast_to(w[0, :, :, None].astype(dtype), (kernel_h, kernel_w, width, channels)).copy()  # long rows are quick
        step = max(1, PIECE // (h * width * channels))
        with np.errstate(all="ignore"):
            for first in range(0, len(x), step):
                own, part = total[first : first + step], x[first : first + step].astype(dtype)
                product = np.empty_like(own)
                part = np.repeat(part, multiplier, axis=3) if multiplier > 1 else part
                for i, (ky, kx, view) in enumerate(taps(part, (kernel_h, kernel_w), self.stride, self.dilation, self.pads, fill)):
                    np.multiply(view, rows[ky, kx], out=product if i else own)
                    if i or floats:  # whole numbers begin with none
                        own += product if i else start
        return total

    def real(self, *x: Array) -> Array:
        data, w, b = x
        y = np.clip(self._sums(data, w, 0.0, np.float32) + b, *self.clamp)
        return np.asarray(y.reshape(*data.shape[:-3], *y.shape[1:]), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        assert w.data is not None
        if words.is_words(x.type):
            words.require_tflm(law, where, self, x.type, output)
            own = words.layer(where, x.type, w, b, output, self.clamp, axis=3)
            return Params(law, {**self._geometry(x.type, w.type, output), **own.scalars}, {"weights": w.data, **own.tables})
        flat = w.data.astype(np.int64).reshape(-1, w.data.shape[3]) - w.type.zero_point
        sums = np.stack([flat.sum(0), np.abs(flat).sum(0)], axis=1)
        stage = output_stage(law, where, x.type, w, b, output, self.clamp, sums)
        scalars = {**self._geometry(x.type, w.type, output), "in_zero": x.type.zero_point}
        return Params(law, {**scalars, **stage.scalars, **weight_zero(w.type)}, {"weights": w.data, **stage.tables})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w, b = inputs
        return half_layer(where, w, b, self._geometry(x.type, w.type, output), self.clamp)

    def _geometry(self, x: TensorType, w: TensorType, output: TensorType) -> dict[str, int | str]:
        return {
            **geometry(x, w, output, self.stride, self.dilation, self.pads), "multiple": w.shape[3] // x.shape[3],
        }  # fmt: skip

    def reference_half(self, params: Params, *x: Array) -> Array:
        total = self._sums(x[0], params.weights, 0.0, np.float32, params.bias)
        return finish(params, total).reshape(*x[0].shape[:-3], *total.shape[1:])

    def reference(self, params: Params, *x: Array) -> Array:
        taps = params.kernel_h * params.kernel_w
        w = centred(params)
        if "wide" in params.scalars:
            sums = self._sums(x[0], w, 0, np.float64).astype(np.int64) + params.bias
            return words.finish(params, sums).reshape(*x[0].shape[:-3], *sums.shape[1:])
        dtype = np.float32 if taps * 128 * (128 if w.dtype == np.int8 else 256) < 2**24 else np.float64
        bound = params.derived("bound", lambda: largest_sums(w, (0, 1, 2)))
        y = finish_sums(params, self._sums(x[0], w, params.in_zero, dtype), bound)
        return y.reshape(*x[0].shape[:-3], *y.shape[1:])
