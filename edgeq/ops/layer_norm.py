"""Layer normalization over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params, reciprocals
from edgeq.ops.traits import Axes, Traits


@dataclass(frozen=True)
class LayerNorm(Op):
    """x ``[..., C]``, scale ``[C]``, bias ``[C]`` -> (x - mean) / sqrt(variance + epsilon) * scale + bias, along the last axis.

    On halves: sums in order in float32, mean and variance times the float32 1 / C, then each element's difference times the
    reciprocal root, times scale, plus bias. Differences are multiples of 2^-64 or so and a variance meets epsilon before its
    root: no subnormal takes part for epsilon of 2^-100 and more. On int8 the same of ``q - zero point`` with ``epsilon / scale^2``,
    then times 1 / the output's scale, rounded to nearest, halves to even: scale and bias stay float32.
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
        steps = np.array([self.epsilon / x.scale**2, numerics.quantize_factor("single", output.scale)], np.float32)
        if not (np.isfinite(steps).all() and (steps > 2.0**-100).all()):
            raise EdgeqError(f"scales {x.scale:g} and {output.scale:g} are out of the range of float32", where=where)
        scalars, tables = self._constants(where, inputs, steps)
        return Params(law, {**scalars, "x_zero": x.zero_point, "zero": output.zero_point}, tables)

    def reference(self, params: Params, *x: Array) -> Array:
        steps = self._normalised(params, x[0].astype(np.float32) - np.float32(params.x_zero)) * params.constants[2]
        return np.asarray(np.clip(numerics.round_float(steps, True) + params.zero, -128, 127), np.int8)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        scalars, tables = self._constants(where, inputs, np.array([self.epsilon], np.float32))
        return half_params({**scalars, "normal": _normal(inputs[0].type.shape[-1], tables["scale"], tables["bias"])}, tables)

    def reference_half(self, params: Params, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return half.from_float(self._normalised(params, half.to_float(x[0])))

    @staticmethod
    def _constants(where: str, inputs: tuple[Tensor, ...], further: Array) -> tuple[dict[str, int | str], dict[str, Array]]:
        """Scalars, and tables: ``scale``, ``bias``, and ``constants``, of which 1 / C is the first."""
        x, scale, bias = inputs
        if any(t.data is None or t.type.dtype not in (DType.FLOAT16, DType.FLOAT32) for t in (scale, bias)):
            raise EdgeqError("scale and bias of a layer normalization must be constant numbers", where=where)
        assert scale.data is not None and bias.data is not None
        depth = x.type.shape[-1]
        tables = {n: t.astype(np.float32) for n, t in (("scale", scale.data), ("bias", bias.data))}
        constants = np.concatenate([reciprocals(depth, depth), further])
        return {"rows": x.type.size // depth, "depth": depth}, {**tables, "constants": constants}

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
