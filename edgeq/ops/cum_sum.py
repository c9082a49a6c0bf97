"""TFLite's CUMSUM on int8: running sums along an axis by TFLM's arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8, require_tflm
from edgeq.ops.table import ratio
from edgeq.ops.traits import Axes, Traits

ROOM = 19  # fraction bits of a sum


@dataclass(frozen=True)
class CumSum(Op):
    """x -> its running sums along `axis`: of the elements before each where `exclusive`, else with it; from the end where `reverse`.

    As in TFLM a sum on int8 begins with the negative zero point, and wraps at 4096 steps. Law ``tflm`` alone: in float it is a product
    with a triangle of ones.
    """

    traits: ClassVar[Traits] = Traits("sum", axes=Axes(single=("axis",)))

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        if not 0 <= self.axis < len(types[0].shape):
            raise EdgeqError(f"axis {self.axis} does not fit input {types[0]}")
        return types[0]

    def _sums(self, x: Array) -> Array:
        way = slice(None, None, -1 if self.reverse else 1)
        turned = np.moveaxis(x, self.axis + 1, 0)[way]
        sums = np.cumsum(turned, axis=0, dtype=x.dtype) - (turned if self.exclusive else 0)
        return np.moveaxis(sums[way], 0, self.axis + 1)

    def real(self, *x: Array) -> Array:
        return np.asarray(self._sums(x[0].astype(np.float64)), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        require_tflm(law, where, self)
        require_int8(where, self, x, output)
        multiplier, shift = numerics.quantize_multiplier(math.ldexp(2 * ratio(x.scale, output.scale), -ROOM - 1))
        if shift > 0:
            raise EdgeqError(f"the output scale {output.scale} is too fine for the input's, {x.scale}", where=where, fix="check the scales")
        before, count, after = math.prod(x.shape[: self.axis]), x.shape[self.axis], math.prod(x.shape[self.axis + 1 :])
        sizes = {"before": before, "count": count, "after": after, "exclusive": int(self.exclusive), "reverse": int(self.reverse)}
        stage = {"zero": x.zero_point, "multiplier": multiplier, "right": -shift, "out_offset": output.zero_point}
        return Params(law, {**sizes, **stage})

    def reference(self, params: Params, *x: Array) -> Array:
        p = params
        sums = (self._sums(x[0].astype(np.int64) - p.zero) - p.zero) << ROOM
        sums = ((sums + 2**31) & (2**32 - 1)) - 2**31
        y = numerics.requantize_tflm(sums, p.multiplier, -p.right) + p.out_offset
        return np.asarray(np.clip(y, -128, 127), np.int8)
