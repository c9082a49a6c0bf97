"""Everything in int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.recipes._recipe import Job, Made, Recipe, decided


@dataclass(frozen=True)
class Int8(Recipe):
    """int8 weights and activations, from calibration samples."""

    summary: ClassVar[str] = "everything in int8, from calibration samples"
    instead: ClassVar[int] = 1

    def quantize(self, job: Job) -> Made:
        return decided(job, "int8")


RECIPE = Int8
