"""TFLite's L2 normalization on int8: rows divided by their length, by TFLM's arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import reach, require_int8, require_output, require_tflm
from edgeq.ops.inverse_sqrt import inverse_sqrt
from edgeq.ops.traits import Axes, Traits

BITS = 7  # fraction bits of the output
LEAST = 1e-6  # length of a row that is shorter


@dataclass(frozen=True)
class L2Normalization(Op):
    """x ``[..., C]`` -> x divided by its length along the last axis; int8 output has scale 1/128 and zero point 0.

    Law ``tflm`` alone: in float it is built of other operators.
    """

    traits: ClassVar[Traits] = Traits("normal", axes=Axes(last=True))

    def infer(self, *types: TensorType) -> TensorType:
        if not types[0].shape:
            raise EdgeqError("L2 normalization of a scalar")
        return types[0]

    def real(self, *x: Array) -> Array:
        wide = x[0].astype(np.float64)
        return np.asarray(wide / np.maximum(np.sqrt(np.square(wide).sum(-1, keepdims=True)), LEAST), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        require_tflm(law, where, self)
        require_int8(where, self, x, output)
        require_output(where, "L2 normalization", output, 1 / 128, 0)
        depth = x.shape[-1]
        numerics.check_accumulator(where, np.array([depth * reach(x) ** 2]))
        return Params(law, {"rows": x.size // depth, "depth": depth, "zero": x.zero_point})

    def reference(self, params: Params, *x: Array) -> Array:
        data = x[0].astype(np.int64) - params.zero
        lengths, at = np.unique(np.square(data).sum(-1, keepdims=True), return_inverse=True)
        factors = np.array([inverse_sqrt(int(n)) for n in lengths])[at.reshape(*data.shape[:-1], 1)]
        return np.clip(numerics.requantize_tflm(data, factors[..., 0], factors[..., 1] + BITS), -128, 127).astype(np.int8)
