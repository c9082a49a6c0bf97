"""Layer normalization over the last axis: in int8 in integers alone, on halves in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params, reciprocals
from edgeq.ops.traits import Axes, Traits

DEEPEST = 2**15  # elements of a row
FRACTION = 16  # fraction bits of a normalized value in int8


def inverse_root(x: Array) -> tuple[Array, Array]:
    """``2^16 / sqrt(x)`` as ``inverse / 2^right``, of int64 from 1 to 2^61.

    x times a power of four lies in [2^30, 2^32) and has a root of 16 bits, to nearest; `inverse` is 2^31 over it, to nearest.
    """
    wide = x.astype(np.uint64)
    high = (wide >> np.uint64(32)).astype(np.float64)
    exponent = np.frexp(np.where(high > 0, high, (wide & np.uint64(2**32 - 1)).astype(np.float64)))[1]
    zeros = (32 - exponent + 32 * (high == 0)) & ~1  # leading zeros of 64 bits, an even number of them
    m = ((wide << zeros.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
    root = np.floor(np.sqrt(m.astype(np.float64))).astype(np.int64)  # exact: 32 bits lie far from where float64 rounds a root up
    root += m - root * root > root
    return ((np.int64(1) << 31) + (root >> 1)) // root, 31 - (zeros >> 1).astype(np.int64)


@dataclass(frozen=True)
class LayerNorm(Op):
    """x ``[..., C]``, scale ``[C]``, bias ``[C]`` -> (x - mean) / sqrt(variance + epsilon) * scale + bias, along the last axis.

    On halves: sums in order in float32, mean and variance times the float32 1 / C, then each element's difference times the
    reciprocal root, times scale, plus bias. Differences are multiples of 2^-64 or so and a variance meets epsilon before its
    root: no subnormal takes part for epsilon of 2^-100 and more.

    On int8 in integers alone: ``(C q - sum q) / sqrt(C sum q^2 - (sum q)^2 + C^2 epsilon / scale^2)``, in which the zero point
    cancels, with the square times 4^fine so that a small epsilon counts; see `inverse_root`. The quotient has 16 fraction bits; it
    meets the integers of scale and bias over the output's scale, and the sum is rounded once. Scale and bias are float32 constants.
    """

    traits: ClassVar[Traits] = Traits("normal", axes=Axes(last=True), real=(1, 2), terms=(2,))

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
        x = inputs[0].type
        require_int8(where, self, x, output)
        depth, step, out = x.shape[-1], float(np.float32(x.scale)), float(np.float32(output.scale))
        if depth > DEEPEST:
            raise EdgeqError(f"layer normalization over {depth} elements could overflow", where=where, why=f"at most {DEEPEST}")
        scale, bias = (t.astype(np.float64) for t in self._parameters(where, inputs))
        reach = np.abs(scale).max() / out * math.sqrt(depth) + np.abs(bias / out + output.zero_point).max() + 1
        shift = next((s for s in range(16, 0, -1) if reach * 2.0**s < 2**30), 0)
        fine = (45 - (depth * depth).bit_length()) // 2  # so that 4^fine C^2 var stays below 2^60
        least = min(max(round(math.ldexp(depth**2 * self.epsilon / step**2, 2 * fine)), 1), 2**60)
        if not shift:
            raise EdgeqError(f"the output scale {out:g} is too fine for scale and bias", where=where, fix="check the scales")
        tables = {
            "scale": np.rint(np.ldexp(scale / out, shift)).astype(np.int32),
            "bias": np.rint(np.ldexp(bias / out + output.zero_point + 0.5, shift)).astype(np.int32),
        }
        epsilon = {"least_high": least >> 30, "least_low": least & (2**30 - 1)}
        return Params(law, {"rows": x.size // depth, "depth": depth, "shift": shift, "fine": fine, **epsilon}, tables)

    def reference(self, params: Params, *x: Array) -> Array:
        data = x[0].astype(np.int64)
        total, squares = (v.sum(-1, keepdims=True) for v in (data, data * data))
        least = (params.least_high << 30) + params.least_low
        inverse, right = inverse_root(((params.depth * squares - total * total) << 2 * params.fine) + least)
        right = np.maximum(right - params.fine, 0)  # below 0 where all differences are 0
        normal = ((params.depth * data - total) * inverse + ((np.int64(1) << right) >> 1)) >> right
        steps = ((normal * params.scale.astype(np.int64)) >> FRACTION) + params.bias
        return np.asarray(np.clip(steps >> params.shift, -128, 127), np.int8)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, (scale, bias) = inputs[0].type, self._parameters(where, inputs)
        depth = x.shape[-1]
        constants = np.concatenate([reciprocals(depth, depth), np.array([self.epsilon], np.float32)])
        scalars: dict[str, int | str] = {"rows": x.size // depth, "depth": depth, "normal": _normal(depth, scale, bias)}
        return half_params(scalars, {"scale": scale, "bias": bias, "constants": constants})

    def reference_half(self, params: Params, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return half.from_float(self._normalised(params, half.to_float(x[0])))

    @staticmethod
    def _parameters(where: str, inputs: tuple[Tensor, ...]) -> list[Array]:
        """Scale and bias, float32."""
        _, scale, bias = inputs
        if any(t.data is None or t.type.dtype not in (DType.FLOAT16, DType.FLOAT32) for t in (scale, bias)):
            raise EdgeqError("scale and bias of a layer normalization must be constant numbers", where=where)
        return [np.asarray(t.data, np.float32) for t in (scale, bias)]

    @staticmethod
    def _normalised(params: Params, data: Array) -> Array:
        """float32 ``[..., C]`` in the order of the law."""
        factor, epsilon = params.constants[:2]
        with np.errstate(all="ignore"):
            centred = data - (half.running_sum(data) * factor)[..., None]
            variance = half.running_sum(centred * centred) * factor
            root = np.float32(1) / np.sqrt(variance + epsilon)
            return np.asarray(centred * root[..., None] * params.scale + params.bias, np.float32)


def _normal(depth: int, scale: Array, bias: Array) -> int:
    """1 where no number on the way is subnormal, but for a sum that is an output's last: else 0.

    A mean is 0 or at least 2^-40 where at most 2^16 elements are averaged, so that x - mean is 0 or at least 2^-63 and its square
    2^-126; 1 / root is at least 2^-17.
    """
    small = (np.abs(scale) < 2.0**-40) & (scale != 0)
    return int(depth <= 2**16 and not small.any() and np.array_equal(half.biases(bias), bias))
