"""Cast between float32 and float16."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.traits import Traits

OTHER = {DType.FLOAT32: DType.FLOAT16, DType.FLOAT16: DType.FLOAT32}


@dataclass(frozen=True)
class Cast(Op):
    """x float32 -> float16, to nearest, halves to even; x float16 -> float32, exact."""

    traits: ClassVar[Traits] = Traits("cast", casts=True, elementwise=True)

    def infer(self, *types: TensorType) -> TensorType:
        return replace(types[0], dtype=OTHER.get(types[0].dtype, types[0].dtype))

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        if OTHER.get(inputs[0].type.dtype) is not output.dtype:
            raise EdgeqError(f"{inputs[0].type} is not cast to {output}", where=where, why="one is float32, the other float16")
        return Params(law, {"size": output.size, "half": int(output.dtype is DType.FLOAT16)})

    def reference(self, params: Params, *x: Array) -> Array:
        return half.from_float(x[0]) if params.half else half.to_float(x[0])
