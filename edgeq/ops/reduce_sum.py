"""Sum along axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.ops.mean import Mean


@dataclass(frozen=True)
class ReduceSum(Mean):
    """The sum along `axes`."""

    divides: ClassVar[bool] = False

    def kernel_op(self) -> str:
        return "mean"
