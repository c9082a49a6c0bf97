"""Mean and sum along axes: an int32 sum, then one rescaling to the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops.linear import NO_CLAMP, apply_output_stage, rescaling
from edgeq.ops.reduce import _Reduction


@dataclass(frozen=True)
class Mean(_Reduction):
    """The mean along `axes`."""

    divides: ClassVar[bool] = True

    def real(self, *x: Array) -> Array:
        total = x[0].sum(self.vector_axes(), keepdims=self.keepdims, dtype=np.float64)
        return np.asarray(total / np.prod([x[0].shape[a] for a in self.vector_axes()]) if self.divides else total, np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        count = self.count(x)
        bound = count * max(127 - x.zero_point, 128 + x.zero_point, 128)
        numerics.check_accumulator(where, np.array([bound]))
        ratio = float(np.float32(x.scale)) / float(np.float32(output.scale))
        if law == "tflm":
            multiplier, shift = numerics.quantize_multiplier(ratio)
            if self.divides:  # TFLM divides the multiplier
                room = min(count.bit_length() - 1, 32, 31 + shift)
                multiplier, shift = (multiplier << room) // count, shift - room
        else:
            multiplier, shift = numerics.quantize_multiplier(ratio / count if self.divides else ratio)
        stage = rescaling(law, where, np.array([multiplier], np.int32), np.array([shift], np.int32), output, NO_CLAMP, bound)
        nest = self.nest(x)
        bias = np.array([-x.zero_point * count], np.int32)
        return Params(law, {**nest.scalars, **stage.scalars}, {**nest.tables, "bias": bias, **stage.tables})

    def reference(self, params: Params, *x: Array) -> Array:
        total = x[0].sum(self.vector_axes(), keepdims=self.keepdims, dtype=np.int64)
        return apply_output_stage(params, total + params.bias[0])
