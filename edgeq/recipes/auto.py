"""What every node is computed in, chosen within a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.quantize import storage
from edgeq.quantize.allocate import AIMS, ALLOCATORS, EXACT, FLASH, Goal
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.plan import Options
from edgeq.quantize.sensitivity import MEASURES, USUAL
from edgeq.recipes._recipe import Job, Made, Recipe, decided, option
from edgeq.tune.precision import search


@dataclass(frozen=True)
class Auto(Recipe):
    """Chosen node by node within a budget, see `tune.precision`.

    Attributes:
        sensitivity: how the noise of nodes is foretold, ``output-noise`` where nobody says.
        allocate: how storages are chosen by it, ``integer-program`` where nobody says.
        aim: what is made small within the limits, ``flash`` where nobody says.
    """

    summary: ClassVar[str] = "chosen node by node within --budget"
    budgeted: ClassVar[bool] = True

    sensitivity: str | None = option(help=f"How the noise of a node is foretold: {', '.join(MEASURES)} (default {USUAL}).")
    allocate: str | None = option(help=f"How storages are chosen by it: {', '.join(ALLOCATORS)} (default {EXACT}).")
    aim: str | None = option(help=f"What is made small within the budget: {', '.join(AIMS)} (default {FLASH}).")

    def quantize(self, job: Job) -> Made:
        if job.written is not None and storage.covers(job.graph, job.written.nodes):
            return decided(job, "auto")
        goal = replace(job.goal or Goal(), aim=self.aim or FLASH)
        ranges = calibrate(job.graph, job.given, (job.options or Options()).method, job.stage("calibrate"))
        y = job.labels(ranges.vectors) if job.labels is not None and goal.loss is not None else None
        found = search(job.graph, ranges, goal, job.options, job.stage("measure"), y, self.sensitivity or USUAL, self.allocate or EXACT)
        made = decided(job, "auto", data=ranges, nodes=found.storage)
        return replace(made, more={**made.more, "allocation": found.record()})


RECIPE = Auto
