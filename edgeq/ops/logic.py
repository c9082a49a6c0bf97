"""Truth values as numbers: 1 is true, 0 false. Comparisons of two tensors are made of a difference and one of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array
from edgeq.ops.table import _Table


@dataclass(frozen=True)
class Step(_Table):
    """1 where x is above 0, `at_zero` where it is 0, else 0."""

    at_zero: float = 0.0

    def function(self, x: Array) -> Array:
        return np.where(x > 0, 1, np.where(x == 0, self.at_zero, 0)).astype(x.dtype)


@dataclass(frozen=True)
class IsZero(_Table):
    """1 where x is 0, else 0: also the negation of a truth value."""

    def function(self, x: Array) -> Array:
        return np.asarray(x == 0, x.dtype)
