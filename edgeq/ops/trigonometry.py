"""Trigonometric and hyperbolic functions and their inverses as table operators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import reals
from edgeq.ir import Array
from edgeq.ops.table import _Table


@dataclass(frozen=True)
class Tan(_Table):
    """Tangent, x in radians."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.tan(x))


@dataclass(frozen=True)
class Sinh(_Table):
    """Hyperbolic sine."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.sinh(x))


@dataclass(frozen=True)
class Cosh(_Table):
    """Hyperbolic cosine."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.cosh(x))


@dataclass(frozen=True)
class Asin(_Table):
    """Inverse sine; x is limited to +-1."""

    domain: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.asin(x))


@dataclass(frozen=True)
class Acos(_Table):
    """Inverse cosine; x is limited to +-1."""

    domain: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.acos(x))


@dataclass(frozen=True)
class Atan(_Table):
    """Inverse tangent."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.atan(x))


@dataclass(frozen=True)
class Asinh(_Table):
    """Inverse hyperbolic sine."""

    def function(self, x: Array) -> Array:
        return np.asarray(reals.asinh(x))


@dataclass(frozen=True)
class Acosh(_Table):
    """Inverse hyperbolic cosine; of less than 1, 0."""

    domain: ClassVar[tuple[float, float]] = (1.0, math.inf)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.acosh(x))


@dataclass(frozen=True)
class Atanh(_Table):
    """Inverse hyperbolic tangent; of +-1 and beyond, the largest output of that sign."""

    domain: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def function(self, x: Array) -> Array:
        return np.asarray(reals.atanh(x))
