"""What recipes share that choose storages within a budget."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq import graphfile
from edgeq.ir import Array
from edgeq.journal import Journal, journal
from edgeq.quantize.allocate import AIMS, ALLOCATORS, EXACT, FLASH, Goal
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.sensitivity import MEASURES, USUAL
from edgeq.recipes._recipe import Job, Recipe, option
from edgeq.tune.wanted import Wanted


@dataclass(frozen=True)
class Budgeted(Recipe):
    """A recipe that chooses storages by the predicted noise and price of each.

    Attributes:
        sensitivity: how noise is predicted, ``output-noise`` by default.
        allocate: how storages are chosen by it, ``integer-program`` where nobody says.
        aim: what is made small within the limits, ``flash`` where nobody says.
    """

    budgeted: ClassVar[bool] = True

    sensitivity: str | None = option(help=f"How the noise of a node or layer is predicted: {', '.join(MEASURES)} (default {USUAL}).")
    allocate: str | None = option(help=f"How storage formats are chosen from these predictions: {', '.join(ALLOCATORS)} (default {EXACT}).")
    aim: str | None = option(help=f"What is minimized within the budget: {', '.join(AIMS)} (default {FLASH}).")

    def goal(self, job: Job) -> Goal:
        """The budget, with the aim."""
        return replace(job.goal or Goal(), aim=self.aim or FLASH)

    def wanted(self, job: Job, goal: Goal, ranges: Ranges) -> Wanted:
        """As the searches take it."""
        return Wanted(goal, job.options, self._labels(job, goal, ranges.vectors), self.sensitivity or USUAL, self.allocate or EXACT)

    def journal(self, job: Job, goal: Goal) -> AbstractContextManager[Journal]:
        """Of the measurements of a search; see `edgeq.journal.journal`."""
        samples = [part for n, a in sorted(job.given.items()) for part in (n, str(a.shape), str(a.dtype), a.tobytes())]
        labels = self._labels(job, goal, len(next(iter(job.given.values()))))
        right = b"" if labels is None else labels.tobytes()
        choices = (self, goal, job.options, job.written)
        return journal("quantize", [graphfile.dumps(job.graph), *samples, right, *map(repr, choices)])

    @staticmethod
    def _labels(job: Job, goal: Goal, vectors: int) -> Array | None:
        """The classes of the calibration samples, where the goal counts right answers."""
        return job.labels(vectors) if job.labels is not None and goal.loss is not None else None
