"""Layer normalization over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.halves import half_params, reciprocals


@dataclass(frozen=True)
class LayerNorm(Op):
    """x ``[..., C]``, scale ``[C]``, bias ``[C]`` -> (x - mean) / sqrt(variance + epsilon) * scale + bias, along the last axis.

    On halves: sums in order in float32, mean and variance times the float32 1 / C, then each element's difference times the
    reciprocal root, times scale, plus bias. Differences are multiples of 2^-64 or so and a variance meets epsilon before its
    root: no subnormal takes part for epsilon of 2^-100 and more.
    """

    epsilon: float = 1e-5

    parameters: ClassVar[tuple[int, ...]] = (1, 2)

    def infer(self, *types: TensorType) -> TensorType:
        x, scale, bias = types
        if not x.shape or scale.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
            raise EdgeqError(f"scale {scale} and bias {bias} do not fit {x}", why="one of each per element of the last axis is needed")
        if not 1e-30 <= self.epsilon <= 1e30:
            raise EdgeqError(f"an epsilon of {self.epsilon} has no use", fix="1e-5 is usual")
        return x

    def real(self, *x: Array) -> Array:
        data = x[0].astype(np.float64)
        centred = data - data.mean(-1, keepdims=True)
        variance = np.square(centred).mean(-1, keepdims=True)
        return np.asarray(centred / np.sqrt(variance + self.epsilon) * x[1] + x[2], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        raise EdgeqError("layer normalization is not computed in int8", where=where, fix="build with --recipe fp16")

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, scale, bias = inputs
        if any(t.data is None or t.type.dtype not in (DType.FLOAT16, DType.FLOAT32) for t in (scale, bias)):
            raise EdgeqError("scale and bias of a layer normalization must be constant numbers", where=where)
        assert scale.data is not None and bias.data is not None
        depth = x.type.shape[-1]
        constants = np.concatenate([reciprocals(depth, depth), np.array([self.epsilon], np.float32)])
        tables = {"scale": scale.data.astype(np.float32), "bias": bias.data.astype(np.float32), "constants": constants}
        scalars: dict[str, int | str] = {"rows": x.type.size // depth, "depth": depth}
        return half_params({**scalars, "normal": _normal(depth, tables["scale"], tables["bias"])}, tables)

    def reference_half(self, params: Params, *x: Array) -> Array:
        factor, epsilon = params.constants
        data = half.to_float(x[0])
        with np.errstate(all="ignore"):
            centred = data - (half.running_sum(data) * factor)[..., None]
            variance = half.running_sum(centred * centred) * factor
            root = np.float32(1) / np.sqrt(variance + epsilon)
            return half.from_float(centred * root[..., None] * params.scale + params.bias)


def _normal(depth: int, scale: Array, bias: Array) -> int:
    """1 where no number on the way is subnormal, but for a sum that is an output's last: else 0.

    A mean is 0 or at least 2^-40 where at most 2^16 elements are averaged, so that x - mean is 0 or at least 2^-63 and its square
    2^-126; 1 / root is at least 2^-17.
    """
    small = (np.abs(scale) < 2.0**-40) & (scale != 0)
    return int(depth <= 2**16 and not small.any() and np.array_equal(half.biases(bias), bias))
