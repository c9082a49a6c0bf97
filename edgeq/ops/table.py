"""Unary int8 functions: 256 inputs, so one table of 256 bytes each, computed at build time, and one kernel for all.

In law ``single`` the table is the float meaning of the operator: dequantized in float64, rounded to nearest, halves
away from zero, saturated. In law ``tflm`` it holds what TensorFlow Lite Micro's kernel computes, where it has one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from edgeq import floats, half, numerics
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import word_functions, words
from edgeq.ops.elementwise import require_int8
from edgeq.ops.halves import half_params
from edgeq.ops.traits import Traits, same

INPUTS = np.arange(-128, 128, dtype=np.int64)


@dataclass(frozen=True)
class _Table(Op):
    """x -> f(x), elementwise. A new function overrides `function`, and `tflm` where that law has its own integers."""

    traits: ClassVar[Traits] = Traits(elementwise=True, channels=same, monotone="table")

    domain: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # arguments outside are moved to its ends

    def function(self, x: Array) -> Array:
        """f, elementwise, in the dtype of x (float32 or float64)."""
        raise NotImplementedError

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        """The 256 results of law ``tflm``, not yet saturated; the float meaning unless overridden."""
        return float_table(self, x, output)

    def file_words(self, where: str, x: TensorType, output: TensorType) -> Params:
        """The constants of law ``tflm`` on int16, of functions whose traits say that they have it."""
        raise NotImplementedError

    def kernel_op(self) -> str:
        return "table"

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def real(self, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.function(np.clip(x[0], *self.domain)), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        if self.traits.file_words and words.is_words(x):
            words.require_tflm(law, where, self, x, output)
            own = self.file_words(where, x, output)
            return Params(law, {"size": output.size, **own.scalars}, own.tables)
        require_int8(where, self, x, output)
        values = self.tflm(where, x, output) if law == "tflm" else float_table(self, x, output)
        return Params(law, {"size": output.size}, {"values": np.clip(values, -128, 127).astype(np.int8)})

    def half_function(self) -> tuple[str, tuple[float, ...]]:
        """The function of `floats` that computes it on halves, and what follows x: the attributes, unless overridden."""
        return self.kind(), tuple(float(getattr(self, f.name)) for f in fields(self))

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        name, constants = self.half_function()
        scalars: dict[str, int | str] = {"size": output.size, "function": name, "constants": len(constants)}
        return half_params(scalars, {"values": np.array(constants or [0], np.float32)})

    def reference_half(self, params: Params, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return half.from_float(getattr(floats, params.function)(half.to_float(x[0]), *params.values[: params.constants]))

    def reference(self, params: Params, *x: Array) -> Array:
        if "function" in params.scalars:
            return word_functions.reference(params, x[0])
        return np.asarray(params.values[x[0].astype(np.int16) + 128])


def float_table(op: _Table, x: TensorType, output: TensorType) -> Array:
    """f over all int8 inputs in float64, quantized to nearest, halves away from zero; not a number becomes 0."""
    reals = (INPUTS - x.zero_point) * np.float64(np.float32(x.scale))
    with np.errstate(all="ignore"):
        y = op.function(np.clip(reals, *op.domain)) / np.float64(np.float32(output.scale))
    steps = numerics.round_half_away(np.nan_to_num(y, posinf=1e9, neginf=-1e9))
    return np.asarray(np.clip(steps + output.zero_point, -128, 127))


def ratio(*scales: float) -> float:
    """The first scale times the others but the last, divided by the last: float32 values, float64 arithmetic."""
    *factors, divisor = (float(np.float32(s)) for s in scales)
    return math.prod(factors) / divisor


def rescale_tflm(values: Array, factor: float) -> Array:
    """TFLM's MultiplyByQuantizedMultiplier of integers by a real factor, which may be negative."""
    multiplier, shift = numerics.quantize_multiplier(abs(factor))
    return numerics.requantize_tflm(values, -multiplier if factor < 0 else multiplier, shift)
