"""TFLite's LOG_SOFTMAX on int8: TensorFlow Lite Micro's arithmetic. What edgeq quantizes has `log_softmax`, which errs less."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8, require_output, require_tflm
from edgeq.ops.log_softmax import LogSoftmax
from edgeq.ops.softmax import DIFFERENCE_BITS, SUM_BITS, differences
from edgeq.ops.traits import Axes, Traits

OUTPUT_BITS = 4  # integer bits of the output


@dataclass(frozen=True)
class FixedLogSoftmax(Op):
    """x ``[..., C]`` -> the logarithm of its softmax along the last axis; int8 output has scale 1/16 and zero point 127.

    Law ``tflm`` alone.
    """

    traits: ClassVar[Traits] = Traits("normal", axes=Axes(last=True))

    def infer(self, *types: TensorType) -> TensorType:
        return LogSoftmax().infer(*types)

    def real(self, *x: Array) -> Array:
        return LogSoftmax().real(*x)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        require_tflm(law, where, self)
        require_int8(where, self, x, output)
        require_output(where, "log-softmax", output, 1 / 16, 127)
        depth = x.shape[-1]
        numerics.check_accumulator(where, np.array([(depth + 1) << (31 - SUM_BITS)]))
        found = differences(where, float(np.float32(x.scale)))
        divisor, right = numerics.quantize_multiplier(math.ldexp(1.0, 31 - found.left) / found.multiplier)
        scalars = {"rows": x.size // depth, "depth": depth, "least": found.lowest, "divisor": divisor, "right": -right}
        exponentials = numerics.rounding_divide_by_pot(found.exponentials, SUM_BITS)
        return Params(law, scalars, {"exponentials": exponentials.astype(np.int32), "differences": found.scaled.astype(np.int32)})

    def reference(self, params: Params, *x: Array) -> Array:
        data = x[0].astype(np.int64)
        below = data.max(-1, keepdims=True) - data
        logarithm = numerics.log_from_one(params.exponentials.astype(np.int64)[below].sum(-1, keepdims=True), SUM_BITS)
        lowest = numerics.requantize_tflm(logarithm - 2**31, params.divisor, -params.right)
        y = numerics.rounding_divide_by_pot(params.differences.astype(np.int64)[below] - logarithm, 31 - DIFFERENCE_BITS - OUTPUT_BITS)
        known = -below > np.maximum(params.least - 1, lowest)
        return np.where(known, np.clip(y + 127, -128, 127), -128).astype(np.int8)
