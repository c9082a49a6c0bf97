"""Selection between two integer tensors, element by element, by truth values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.traits import Traits, same


@dataclass(frozen=True)
class Selection(Op):
    """condition int8 without a scale, a, b of one type and shape -> a where the condition is not 0, else b, unchanged.

    A quantized file alone has it: in float it is built of products.
    """

    traits: ClassVar[Traits] = Traits("move", elementwise=True, channels=same, words=True)

    def infer(self, *types: TensorType) -> TensorType:
        condition, a, b = types
        if not condition.shape == a.shape == b.shape or a.dtype is not b.dtype:
            raise EdgeqError(f"{condition} does not select between {a} and {b}", why="shapes and types must be equal")
        return a

    def real(self, *x: Array) -> Array:
        return np.asarray(np.where(x[0] != 0, x[1], x[2]), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        condition, a, b = (t.type for t in inputs)
        integers = condition.dtype is DType.INT8 and output.dtype in (DType.INT8, DType.INT16, DType.INT32)
        if not integers or not a.q == b.q == output.q or not a.dtype is b.dtype is output.dtype:
            raise EdgeqError(f"{condition} does not select between {a} and {b} giving {output}", where=where, why="one scale is needed")
        return Params(law, {"size": output.size})

    def reference(self, params: Params, *x: Array) -> Array:
        return np.asarray(np.where(x[0] != 0, x[1], x[2]))
