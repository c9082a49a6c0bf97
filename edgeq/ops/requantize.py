"""Requantize: the same values in another scale and zero point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.ir import Array, TensorType
from edgeq.ops.table import INPUTS, _Table, ratio, rescale_tflm
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Requantize(_Table):
    """x int8 -> x int8 in the output's scale."""

    traits: ClassVar[Traits] = replace(_Table.traits, family="cast", casts=True)

    def function(self, x: Array) -> Array:
        return x

    def half_function(self) -> tuple[str, tuple[float, ...]]:
        return "leaky_relu", (1.0,)  # x itself

    def tflm(self, where: str, x: TensorType, output: TensorType) -> Array:
        return rescale_tflm(INPUTS - x.zero_point, ratio(x.scale, output.scale)) + output.zero_point
