"""Activation functions as table operators."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, TensorType
from edgeq.ops import word_functions
from edgeq.ops.elementwise import require_output
from edgeq.ops.table import INPUTS, _Table, float_table, ratio, rescale_tflm
from edgeq.ops.traits import Natural, Traits

_INTEGER_BITS = 4  # of the fixed-point argument of TFLM's logistic and tanh


def _fixed_point_argument(x: TensorType) -> tuple[Array, Array]:
    """TFLM's Q4.27 argument of logistic and tanh for all inputs, and where it saturates: -1, 0 or 1."""
    fraction = 31 - _INTEGER_BITS
    multiplier, shift = numerics.quantize_multiplier(float(np.float32(x.scale)) * 2.0**fraction)
    radius = math.floor(math.ldexp(2**_INTEGER_BITS - 1, fraction - shift))
    centred = INPUTS - x.zero_point
    saturated = np.sign(centred) * (np.abs(centred) >= radius)
    return numerics.requantize_tflm(np.where(saturated, 0, centred), multiplier, shift), saturated


@dataclass(frozen=True)
class Sigmoid(_Table):
    """1 / (1 + exp(-x))."""

    traits: ClassVar[Traits] = replace(_Table.traits, natural=Natural(1 / 256, -128), file_words=True)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.sigmoid(x))

    def file_words(self, where: str, x: TensorType, output: TensorType) -> Params:
        return word_functions.curve(where, "sigmoid", x, output)

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        require_output(where, "sigmoid", output, 1 / 256, -128)
        argument, saturated = _fixed_point_argument(x)
        y = numerics.rounding_divide_by_pot(numerics.logistic(argument, _INTEGER_BITS), 23) - 128
        return np.where(saturated, np.where(saturated > 0, 127, -128), y)


@dataclass(frozen=True)
class Tanh(_Table):
    """Hyperbolic tangent."""

    traits: ClassVar[Traits] = replace(_Table.traits, natural=Natural(1 / 128, 0), file_words=True)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.tanh(x))

    def file_words(self, where: str, x: TensorType, output: TensorType) -> Params:
        return word_functions.curve(where, "tanh", x, output)

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        require_output(where, "tanh", output, 1 / 128, 0)
        argument, saturated = _fixed_point_argument(x)
        y = numerics.rounding_divide_by_pot(numerics.tanh(argument, _INTEGER_BITS), 24)
        return np.where(saturated, np.where(saturated > 0, 127, -128), y)


@dataclass(frozen=True)
class HardSigmoid(_Table):
    """min(max(alpha x + beta, 0), 1)."""

    traits: ClassVar[Traits] = replace(_Table.traits, natural=Natural(1 / 256, -128), flat=lambda op: op.ends())

    alpha: float = 0.2
    beta: float = 0.5

    def function(self, x: Array) -> Array:
        return np.asarray(np.clip(self.alpha * x + self.beta, 0, 1))

    def ends(self) -> tuple[float, float]:
        """The inputs from which on, and up to which, it is constant."""
        if not self.alpha:
            return -math.inf, math.inf
        low, high = sorted((y - self.beta) / self.alpha for y in (0.0, 1.0))
        return low, high


def _high_mul_int16(a: Array, b: Array | int) -> Array:
    """gemmlowp's SaturatingRoundingDoublingHighMul on int16."""
    return np.asarray(np.minimum((np.asarray(a, np.int64) * b + (1 << 14)) >> 15, 32767))


def _divide_int16(a: Array, exponent: int) -> Array:
    """gemmlowp's RoundingDivideByPOT on int16, whose mask wraps at 16 bits."""
    return numerics.rounding_divide_by_pot(a, exponent) if exponent < 16 else np.where(a < 0, -1, 1)


def _multiplier_int16(factor: np.float32) -> tuple[int, int]:
    """A real factor as a 16-bit multiplier in Q0.15 and a power of two (TFLM's DownScaleInt32ToInt16Multiplier)."""
    multiplier, shift = numerics.quantize_multiplier(float(factor))
    return min((multiplier + (1 << 15)) >> 16, 32767), shift


@dataclass(frozen=True)
class HardSwish(_Table):
    """x min(max(x + 3, 0), 6) / 6."""

    traits: ClassVar[Traits] = replace(_Table.traits, flat=lambda op: (-3.0, math.inf))

    def function(self, x: Array) -> Array:
        return np.asarray(x * (np.clip(x + 3, 0, 6) / 6))

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        fine = np.float32(1 / 128) * np.float32(x.scale)
        to_output, output_shift = _multiplier_int16(fine / np.float32(output.scale))
        to_relu, relu_shift = _multiplier_int16(fine / (np.float32(3) / np.float32(32768)))
        if output_shift > 0:
            raise EdgeqError("the output scale of hard-swish is too fine for its input", where=where, why="rounding tflm")
        value = (INPUTS - x.zero_point) << 7
        relu = value if relu_shift <= 0 else np.clip(value << (relu_shift - 1), -32768, 32767)
        relu = _high_mul_int16(relu, to_relu)
        if relu_shift > 0:
            relu = np.clip(relu << 1, -32768, 32767)
        elif relu_shift < 0:
            relu = _divide_int16(relu, -relu_shift)
        product = ((relu + (1 << 15)) >> 1) * _high_mul_int16(value, to_output)
        truncated = np.sign(product) * (np.abs(product) >> 15)
        return _divide_int16(truncated, -output_shift) + output.zero_point


@dataclass(frozen=True)
class Silu(_Table):
    """x sigmoid(x); also called swish."""

    def function(self, x: Array) -> Array:
        return np.asarray(x * reals.sigmoid(x))


@dataclass(frozen=True)
class Gelu(_Table):
    """x times the normal distribution function of x, or its approximation by tanh."""

    approximate: bool = False

    def half_function(self) -> tuple[str, tuple[float, ...]]:
        return "gelu_tanh" if self.approximate else "gelu", ()

    def function(self, x: Array) -> Array:
        if self.approximate:
            return np.asarray(0.5 * x * (1 + reals.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))))
        return np.asarray(0.5 * x * (1 + reals.erf(x * math.sqrt(0.5))))


@dataclass(frozen=True)
class LeakyRelu(_Table):
    """x where positive, else alpha x."""

    traits: ClassVar[Traits] = replace(_Table.traits, file_words=True)

    alpha: float = 0.01

    def function(self, x: Array) -> Array:
        return np.where(x >= 0, x, self.alpha * x)

    def file_words(self, where: str, x: TensorType, output: TensorType) -> Params:
        return word_functions.slopes(x, output, self.alpha, (word_functions.LEAST, word_functions.MOST))

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        centred = INPUTS - x.zero_point
        positive = rescale_tflm(centred, ratio(x.scale, output.scale))
        negative = rescale_tflm(centred, ratio(x.scale, self.alpha, output.scale))
        return np.where(centred >= 0, positive, negative) + output.zero_point


@dataclass(frozen=True)
class ThresholdedRelu(_Table):
    """x where it is above alpha, else 0."""

    alpha: float = 1.0

    def function(self, x: Array) -> Array:
        return np.where(x > self.alpha, x, 0)


@dataclass(frozen=True)
class Elu(_Table):
    """x where positive, else alpha (exp(x) - 1)."""

    alpha: float = 1.0

    def function(self, x: Array) -> Array:
        return np.where(x >= 0, x, self.alpha * reals.expm1(np.minimum(x, 0)))

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        if self.alpha != 1:
            return float_table(self, x, output)
        values = (INPUTS - x.zero_point).astype(np.float32) * np.float32(x.scale)
        y = np.where(values < 0, reals.exp(np.minimum(values, 0)) - np.float32(1), values)
        return numerics.round_half_away(y * (np.float32(1) / np.float32(output.scale))) + output.zero_point


@dataclass(frozen=True)
class Selu(_Table):
    """gamma times (x where positive, else alpha (exp(x) - 1))."""

    alpha: float = 1.6732632
    gamma: float = 1.0507010

    def function(self, x: Array) -> Array:
        return self.gamma * np.where(x >= 0, x, self.alpha * reals.expm1(np.minimum(x, 0)))


@dataclass(frozen=True)
class Celu(_Table):
    """x where positive, else alpha (exp(x / alpha) - 1)."""

    alpha: float = 1.0

    def function(self, x: Array) -> Array:
        return np.where(x >= 0, x, self.alpha * reals.expm1(np.minimum(x / self.alpha, 0)))


@dataclass(frozen=True)
class Softplus(_Table):
    """log(1 + exp(x))."""

    def function(self, x: Array) -> Array:
        return reals.softplus(x)


@dataclass(frozen=True)
class Softsign(_Table):
    """x / (1 + |x|)."""

    traits: ClassVar[Traits] = replace(_Table.traits, natural=Natural(1 / 128, 0, "unknown"))

    def function(self, x: Array) -> Array:
        return np.asarray(x / (1 + np.abs(x)))


@dataclass(frozen=True)
class Mish(_Table):
    """x tanh(log(1 + exp(x)))."""

    def function(self, x: Array) -> Array:
        return np.asarray(x * reals.tanh(reals.softplus(x)))
