"""Sum along axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.ops.mean import Mean
from edgeq.ops.reduce import _Reduction
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class ReduceSum(Mean):
    """The sum along `axes`."""

    traits: ClassVar[Traits] = replace(_Reduction.traits, averages=True, file_words=True)

    divides: ClassVar[bool] = False

    def kernel_op(self) -> str:
        return "mean"
