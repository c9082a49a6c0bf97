"""ArgMax: where along an axis the largest or smallest element of an integer tensor lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.halves import half_params
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class ArgMax(Op):
    """x int8, int16 or halves -> int32 without `axis`: where along it the largest element is, or the `lowest`; of equals the first."""

    traits: ClassVar[Traits] = Traits("pool", words=True, counts_whole=True)

    axis: int
    lowest: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        if not 0 <= self.axis < len(shape):
            raise EdgeqError(f"axis {self.axis} does not fit input {types[0]}")
        return TensorType(shape[: self.axis] + shape[self.axis + 1 :], DType.INT32)

    def real(self, *x: Array) -> Array:
        return np.asarray((np.argmin if self.lowest else np.argmax)(x[0], axis=self.axis + 1), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        if x.dtype not in (DType.INT8, DType.INT16) or output.dtype is not DType.INT32:
            raise EdgeqError(f"arg_max of {x} does not give {output}", where=where)
        return Params(law, self._sizes(x))

    def _sizes(self, x: TensorType) -> dict[str, int | str]:
        before, count, after = math.prod(x.shape[: self.axis]), x.shape[self.axis], math.prod(x.shape[self.axis + 1 :])
        return {"before": before, "count": count, "after": after, "lowest": int(self.lowest)}

    def reference(self, params: Params, *x: Array) -> Array:
        rows = x[0].reshape(len(x[0]), params.before, params.count, params.after)
        found = (np.argmin if params.lowest else np.argmax)(rows, axis=2)
        return np.asarray(found.reshape(len(x[0]), *x[0].shape[1 : 1 + self.axis], *x[0].shape[2 + self.axis :]), np.int32)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return half_params(self._sizes(inputs[0].type))

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference(params, half.rank(x[0]))
