"""Mathematical functions of one variable as table operators."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import numerics, reals
from edgeq.ir import Array, Params, TensorType
from edgeq.ops import word_functions
from edgeq.ops.inverse_sqrt import inverse_sqrt
from edgeq.ops.table import INPUTS, _Table, ratio, rescale_tflm
from edgeq.ops.traits import Natural, Traits

ROOM = 20  # fraction bits of an inverse square root in law tflm


@dataclass(frozen=True)
class Abs(_Table):
    """|x|."""

    traits: ClassVar[Traits] = replace(_Table.traits, file_words=True)

    def half_function(self) -> tuple[str, tuple[float, ...]]:
        return "absolute", ()

    def function(self, x: Array) -> Array:
        return np.asarray(np.abs(x))

    def file_words(self, where: str, x: TensorType, output: TensorType) -> Params:
        return word_functions.slopes(x, output, -1.0, (word_functions.LEAST, word_functions.MOST))

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        return rescale_tflm(np.abs(INPUTS - x.zero_point), ratio(x.scale, output.scale)) + output.zero_point


@dataclass(frozen=True)
class Neg(_Table):
    """-x."""

    def half_function(self) -> tuple[str, tuple[float, ...]]:
        return "opposite", ()

    def function(self, x: Array) -> Array:
        return np.asarray(-x)


@dataclass(frozen=True)
class Exp(_Table):
    """e to the x."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.exp(x))


@dataclass(frozen=True)
class Log(_Table):
    """Natural logarithm; of 0 and below, the lowest output."""

    domain: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.log(x))


@dataclass(frozen=True)
class Sqrt(_Table):
    """Square root; of a negative number, 0."""

    domain: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def function(self, x: Array) -> Array:
        return np.asarray(np.sqrt(x))


@dataclass(frozen=True)
class Rsqrt(_Table):
    """1 / sqrt(x); of 0 and below, the highest output. Law ``tflm`` works it out in integers, as TFLM does."""

    domain: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def function(self, x: Array) -> Array:
        return np.asarray(1 / np.sqrt(x))

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        multiplier, shift = numerics.quantize_multiplier(1 / float(np.float32(np.sqrt(np.float32(x.scale))) * np.float32(output.scale)))
        values = np.full(256, 127, np.int64)
        for i, n in enumerate((INPUTS - x.zero_point).astype(int).tolist()):
            if n > 0:
                own, power = inverse_sqrt(n)
                inverse = numerics.requantize_tflm(np.array(1), own, power + ROOM)
                values[i] = int(numerics.requantize_tflm(inverse, multiplier, shift - ROOM)) + output.zero_point
        return values


@dataclass(frozen=True)
class Reciprocal(_Table):
    """1 / x; of 0, the highest output."""

    def function(self, x: Array) -> Array:
        return np.asarray(1 / x)


@dataclass(frozen=True)
class Square(_Table):
    """x times x."""

    def function(self, x: Array) -> Array:
        return np.asarray(x * x)


@dataclass(frozen=True)
class Erf(_Table):
    """The error function."""

    traits: ClassVar[Traits] = replace(_Table.traits, natural=Natural(1 / 128, 0, "unknown"))

    def function(self, x: Array) -> Array:
        return np.asarray(reals.erf(x))


@dataclass(frozen=True)
class Sin(_Table):
    """Sine, x in radians."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.sin(x))


@dataclass(frozen=True)
class Cos(_Table):
    """Cosine, x in radians."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.cos(x))


@dataclass(frozen=True)
class Floor(_Table):
    """The largest integer that is not above x."""

    def function(self, x: Array) -> Array:
        return np.asarray(np.floor(x))


@dataclass(frozen=True)
class Ceil(_Table):
    """The smallest integer that is not below x."""

    def function(self, x: Array) -> Array:
        return np.asarray(np.ceil(x))


@dataclass(frozen=True)
class Round(_Table):
    """The nearest integer, halves to even."""

    def half_function(self) -> tuple[str, tuple[float, ...]]:
        return "nearest", ()

    def function(self, x: Array) -> Array:
        return np.asarray(np.rint(x))


@dataclass(frozen=True)
class Sign(_Table):
    """-1, 0 or 1."""

    def function(self, x: Array) -> Array:
        return np.asarray(np.sign(x))


@dataclass(frozen=True)
class Pow(_Table):
    """x to a constant power; a power that is not whole wants x >= 0 and gives the power of 0 below."""

    exponent: float = 2.0

    def half_function(self) -> tuple[str, tuple[float, ...]]:
        exact = {1.0: "leaky_relu", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal", -0.5: "rsqrt"}.get(self.exponent)
        if exact is not None:
            return exact, (1.0,) if self.exponent == 1 else ()
        return "power", (self.exponent, self.exponent % 2 if self.exponent.is_integer() else -1)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.power(x if float(self.exponent).is_integer() else np.maximum(x, 0), self.exponent))
