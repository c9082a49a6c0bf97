"""Clamp: the ReLU family where it is not fused into the operator before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops import word_functions
from edgeq.ops.halves import half_params
from edgeq.ops.linear import NO_CLAMP, clamp_limits
from edgeq.ops.linear import Clamp as Limits
from edgeq.ops.table import INPUTS, _Table, ratio, rescale_tflm
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Clamp(_Table):
    """min(max(x, low), high) for ``clamp = (low, high)``: ReLU is (0, inf), ReLU6 is (0, 6)."""

    traits: ClassVar[Traits] = replace(_Table.traits, saturates=True, homogeneous=True, file_words=True)

    clamp: Limits = NO_CLAMP

    def __post_init__(self) -> None:
        if not self.clamp[0] <= self.clamp[1]:
            raise EdgeqError(f"clamp limits {self.clamp} are not in order")

    def function(self, x: Array) -> Array:
        return np.clip(x, *self.clamp)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return half_params({"size": output.size, "function": "limit"}, clamp=self.clamp)

    def reference_half(self, params: Params, *x: Array) -> Array:
        return half.clamped(x[0], params.act_min, params.act_max)

    def file_words(self, where: str, x: TensorType, output: TensorType) -> Params:
        return word_functions.slopes(x, output, 1.0, clamp_limits(self.clamp, output))

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        y = rescale_tflm(INPUTS - x.zero_point, ratio(x.scale, output.scale)) + output.zero_point
        return np.asarray(np.clip(y, *clamp_limits(self.clamp, output)))
