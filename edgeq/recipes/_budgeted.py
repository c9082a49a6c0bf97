"""What recipes share that choose storages within a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.ir import Array
from edgeq.quantize.allocate import AIMS, ALLOCATORS, EXACT, FLASH, Goal
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.sensitivity import MEASURES, USUAL
from edgeq.recipes._recipe import Job, Recipe, option


@dataclass(frozen=True)
class Budgeted(Recipe):
    """A recipe that chooses storages by the noise and the price that each is foretold.

    Attributes:
        sensitivity: how noise is foretold, ``output-noise`` where nobody says.
        allocate: how storages are chosen by it, ``integer-program`` where nobody says.
        aim: what is made small within the limits, ``flash`` where nobody says.
    """

    budgeted: ClassVar[bool] = True

    sensitivity: str | None = option(help=f"How the noise of a node or layer is foretold: {', '.join(MEASURES)} (default {USUAL}).")
    allocate: str | None = option(help=f"How storages are chosen by it: {', '.join(ALLOCATORS)} (default {EXACT}).")
    aim: str | None = option(help=f"What is made small within the budget: {', '.join(AIMS)} (default {FLASH}).")

    def goal(self, job: Job) -> Goal:
        """The budget, with the aim."""
        return replace(job.goal or Goal(), aim=self.aim or FLASH)

    @property
    def methods(self) -> dict[str, str]:
        """Of sensitivity and allocation, as the searches take them."""
        return {"sensitivity": self.sensitivity or USUAL, "allocate": self.allocate or EXACT}

    @staticmethod
    def labels(job: Job, goal: Goal, ranges: Ranges) -> Array | None:
        """The classes of the calibration samples, where the goal counts right answers."""
        return job.labels(ranges.vectors) if job.labels is not None and goal.loss is not None else None
