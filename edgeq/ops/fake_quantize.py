"""FakeQuantize: the scale that somebody else gave a tensor of a float graph, as a pair of QuantizeLinear and DequantizeLinear does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.ir import Array
from edgeq.ops.requantize import Requantize
from edgeq.ops.traits import Natural, Traits

LOW, HIGH = -128, 127


@dataclass(frozen=True)
class FakeQuantize(Requantize):
    """x rounded to the multiples of `scale` that int8 holds, halves to even; in int8 its result has that scale and zero point.

    On halves it is x itself: what a scale is for has gone.
    """

    traits: ClassVar[Traits] = replace(Requantize.traits, casts=False, saturates=True, natural=Natural(1.0, 0, "given"))

    scale: float = 1.0
    zero_point: int = 0

    def function(self, x: Array) -> Array:
        step = np.float32(self.scale).astype(x.dtype)
        return np.asarray((np.clip(np.rint(x / step) + self.zero_point, LOW, HIGH) - self.zero_point) * step, x.dtype)
