"""Mean and sum along axes: an int32 sum, then one rescaling to the output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half, numerics
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.elementwise import reach
from edgeq.ops.halves import half_params, reciprocals
from edgeq.ops.linear import NO_CLAMP, rescaled, rescaling
from edgeq.ops.reduce import _Reduction
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Mean(_Reduction):
    """The mean along `axes`."""

    traits: ClassVar[Traits] = replace(
        _Reduction.traits,
        averages=True,
        homogeneous=True,
        gathers=lambda op, x: len(x) == 4 and op.axes == (1, 2),
        file_words=True,
    )

    divides: ClassVar[bool] = True

    def real(self, *x: Array) -> Array:
        total = x[0].sum(self.vector_axes(), keepdims=self.keepdims, dtype=np.float64)
        return np.asarray(total / np.prod([x[0].shape[a] for a in self.vector_axes()]) if self.divides else total, np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        count = self.count(x)
        if words.is_words(x):
            words.require_tflm(law, where, self, x, output)
        bound = count * max(reach(x), -int(np.iinfo(x.dtype.numpy).min))
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

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        nest, n = self.nest(x), self.count(x)
        factor = reciprocals(n, n) if self.divides else np.ones(1, np.float32)
        return half_params(dict(nest.scalars), {**nest.tables, "factor": factor})

    def reference_half(self, params: Params, *x: Array) -> Array:
        kept = [i for i in range(x[0].ndim) if i not in self.vector_axes()]
        rows = half.to_float(x[0]).transpose(*kept, *self.vector_axes()).reshape(*(x[0].shape[i] for i in kept), -1)
        total = half.from_float(half.running_sum(rows) * params.factor[0])
        return np.expand_dims(total, self.vector_axes()) if self.keepdims else total

    def reference(self, params: Params, *x: Array) -> Array:
        total = x[0].sum(self.vector_axes(), keepdims=self.keepdims, dtype=np.int64)
        return rescaled(params, total + params.bias[0], params.multiplier, params.shift).astype(x[0].dtype)
