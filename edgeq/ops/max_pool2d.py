"""Maximum pooling over two-dimensional windows, with dilation, explicit padding and a fused clamp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.halves import half_params
from edgeq.ops.linear import NO_CLAMP, Clamp, clamp_limits, require_same_scale
from edgeq.ops.traits import SHARED, Traits, same
from edgeq.ops.windows import Pads, Pair, output_size, taps, taps_inside, window_firsts, window_rows, window_slides

NO_LIMIT = 0x7FFF  # of `half.order`


@dataclass(frozen=True)
class MaxPool2d(Op):
    """x ``[N, H, W, C]`` -> ``[N, H', W', C]``, the largest value of each window. Padding never wins; one scale at both ends."""

    traits: ClassVar[Traits] = Traits(
        "pool", same_scale=SHARED, channels=same, homogeneous=True, monotone="increasing", rows=window_rows,
        firsts=window_firsts, slides=window_slides, file_words=True,
    )  # fmt: skip

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    clamp: Clamp = NO_CLAMP

    def infer(self, *types: TensorType) -> TensorType:
        if len(types[0].shape) != 4:
            raise EdgeqError(f"maximum pooling needs [N, H, W, C], got {types[0]}")
        n, h, w, c = types[0].shape
        taps_inside((h, w), self.kernel, self.stride, self.dilation, self.pads)
        return replace(types[0], shape=(n, *output_size((h, w), self.kernel, self.stride, self.dilation, self.pads), c))

    def _largest(self, x: Array, lowest: float) -> Array:
        views = taps(x.reshape(-1, *x.shape[-3:]), self.kernel, self.stride, self.dilation, self.pads, lowest)
        result: Array = np.array(next(views)[2])
        for _, _, view in views:
            np.maximum(result, view, out=result)
        return result.reshape(*x.shape[:-3], *result.shape[1:])

    def real(self, *x: Array) -> Array:
        return np.asarray(np.clip(self._largest(x[0], -np.inf), *self.clamp), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        if words.is_words(x):
            words.require_tflm(law, where, self, x, output)
        require_same_scale(law, where, x, output)
        low, high = clamp_limits(self.clamp, output)
        return Params(law, {**self._geometry(x, output), "act_min": low, "act_max": high})

    def _geometry(self, x: TensorType, output: TensorType) -> dict[str, int | str]:
        n, in_h, in_w, channels = x.shape
        return {
            "batches": n, "in_h": in_h, "in_w": in_w, "channels": channels, "out_h": output.shape[1], "out_w": output.shape[2],
            "kernel_h": self.kernel[0], "kernel_w": self.kernel[1], "stride_h": self.stride[0], "stride_w": self.stride[1],
            "dilation_h": self.dilation[0], "dilation_w": self.dilation[1], "pad_top": self.pads[0], "pad_left": self.pads[1],
        }  # fmt: skip

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        params = half_params(self._geometry(inputs[0].type, output), clamp=self.clamp)
        most = {"act_max": NO_LIMIT} if params.act_max >= half.ORDER_MAX else {}  # not-a-number is the largest
        return replace(params, scalars={**params.scalars, **most})

    def reference_half(self, params: Params, *x: Array) -> Array:
        return half.clamped(half.of_order(self._largest(half.order(x[0]), half.ORDER_MIN)), params.act_min, params.act_max)

    def reference(self, params: Params, *x: Array) -> Array:
        least = np.iinfo(x[0].dtype).min
        return np.asarray(np.clip(self._largest(x[0], least), params.act_min, params.act_max), x[0].dtype)
