"""Average pooling over two-dimensional windows, with explicit padding and a fused clamp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.elementwise import reach
from edgeq.ops.halves import finish, half_params, reciprocals
from edgeq.ops.linear import NO_CLAMP, Clamp, apply_rescaling, clamp_limits, require_same_scale, rescaling
from edgeq.ops.traits import TFLM, Traits, same
from edgeq.ops.windows import Pads, Pair, output_size, patches, taps, taps_inside, window_firsts, window_rows, window_slides

ONES = (1, 1)


@dataclass(frozen=True)
class AveragePool2d(Op):
    """x ``[N, H, W, C]`` -> ``[N, H', W', C]``, the mean of each window.

    Padding is left out of the mean, or counts as zeros where `count_include_pad`. Law ``tflm`` divides raw values, half
    away from zero, or up where `halves_up` (as TFLite on uint8), and needs equal scales at both ends; law ``single`` has an
    output scale of its own.
    """

    traits: ClassVar[Traits] = Traits(
        "pool", same_scale=TFLM, averages=True, channels=same, homogeneous=True, monotone="increasing", rows=window_rows,
        firsts=window_firsts, slides=window_slides,
        file_words=True,
        gathers=lambda op, x: op.kernel == x[1:3] and not any(op.pads),
    )  # fmt: skip

    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    count_include_pad: bool = False
    clamp: Clamp = NO_CLAMP
    halves_up: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        if len(types[0].shape) != 4:
            raise EdgeqError(f"average pooling needs [N, H, W, C], got {types[0]}")
        n, h, w, c = types[0].shape
        taps_inside((h, w), self.kernel, self.stride, ONES, self.pads)
        return replace(types[0], shape=(n, *output_size((h, w), self.kernel, self.stride, ONES, self.pads), c))

    def _counts(self, h: int, w: int) -> tuple[Array, Array]:
        """Per output pixel ``[H', W']`` the taps inside the input and the divisor."""
        inside = taps_inside((h, w), self.kernel, self.stride, ONES, self.pads)
        area = self.kernel[0] * self.kernel[1]
        return inside, np.full_like(inside, area) if self.count_include_pad else inside

    def _sums(self, x: Array) -> Array:
        """Sums over the taps inside the input ``[V*N, H', W', C]``."""
        x = x.reshape(-1, *x.shape[-3:])
        if x.dtype.kind == "i":
            return np.asarray(patches(x, self.kernel, self.stride, ONES, self.pads, 0).sum(axis=(3, 4), dtype=np.int64))
        h, w = output_size((x.shape[1], x.shape[2]), self.kernel, self.stride, ONES, self.pads)
        total = np.zeros((len(x), h, w, x.shape[3]), x.dtype)
        for _, _, view in taps(x, self.kernel, self.stride, ONES, self.pads, 0):
            with np.errstate(invalid="ignore"):
                total += view
        return total

    def real(self, *x: Array) -> Array:
        divisor = self._counts(*x[0].shape[-3:-1])[1][..., None].astype(np.float32)
        y = np.clip(self._sums(x[0]) / divisor, *self.clamp)
        return np.asarray(y.reshape(*x[0].shape[:-3], *y.shape[1:]), np.float32)

    def _divisors(self, x: TensorType) -> tuple[int, int]:
        """The smallest and the largest divisor of a window."""
        divisors = self._counts(*x.shape[1:3])[1]
        return int(divisors.min()), int(divisors.max())

    def _geometry(self, x: TensorType, output: TensorType) -> dict[str, int | str]:
        n, in_h, in_w, channels = x.shape
        return {
            "batches": n, "in_h": in_h, "in_w": in_w, "channels": channels, "out_h": output.shape[1], "out_w": output.shape[2],
            "kernel_h": self.kernel[0], "kernel_w": self.kernel[1], "stride_h": self.stride[0], "stride_w": self.stride[1],
            "pad_top": self.pads[0], "pad_left": self.pads[1], "include_pad": int(self.count_include_pad),
            "least": self._divisors(x)[0], "area": self.kernel[0] * self.kernel[1],
        }  # fmt: skip

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        return half_params(self._geometry(x, output), {"factors": reciprocals(*self._divisors(x))}, self.clamp)

    def reference_half(self, params: Params, *x: Array) -> Array:
        divisors = self._counts(params.in_h, params.in_w)[1][..., None]
        with np.errstate(all="ignore"):
            total = self._sums(half.to_float(x[0])) * params.factors[divisors - params.least]
        return finish(params, total).reshape(*x[0].shape[:-3], *total.shape[1:])

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        least, most = self._divisors(x)
        scalars = {**self._geometry(x, output), "in_zero": x.zero_point, **({"up": 1} if self.halves_up else {})}
        if words.is_words(x):
            words.require_tflm(law, where, self, x, output)
        bound = self.kernel[0] * self.kernel[1] * max(reach(x), -int(np.iinfo(x.dtype.numpy).min))
        numerics.check_accumulator(where, np.array([bound]))
        if law == "tflm":
            require_same_scale(law, where, x, output)
            low, high = clamp_limits(self.clamp, output)
            stage = Params(law, {"act_min": low, "act_max": high, "left": 0})
        else:
            ratios = float(np.float32(x.scale)) / float(np.float32(output.scale)) / np.arange(least, most + 1)
            stage = rescaling(law, where, *numerics.quantize_multipliers(ratios), output, self.clamp, bound)
        return Params(law, {**scalars, **stage.scalars}, stage.tables)

    def reference(self, params: Params, *x: Array) -> Array:
        inside, divisors = (c[..., None] for c in self._counts(params.in_h, params.in_w))
        sums = self._sums(x[0])
        if params.law == "single":
            at = divisors - params.least
            y = apply_rescaling(params, sums - inside * params.in_zero, params.multiplier[at], params.shift[at])
        else:
            sums = sums + (divisors - inside) * params.in_zero
            halves = divisors // 2
            rounded = (sums + halves) // divisors if "up" in params.scalars else np.sign(sums) * ((np.abs(sums) + halves) // divisors)
            y = np.clip(rounded, params.act_min, params.act_max).astype(x[0].dtype)
        return y.reshape(*x[0].shape[:-3], *y.shape[1:])
