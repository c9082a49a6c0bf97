"""What every node is computed in, chosen within a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.quantize import storage
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.plan import Options
from edgeq.quantize.sensitivity import MEASURES, USUAL
from edgeq.recipes._recipe import Job, Made, Recipe, decided, option
from edgeq.tune.allocation import Goal
from edgeq.tune.precision import search


@dataclass(frozen=True)
class Auto(Recipe):
    """Chosen node by node within a budget, see `tune.precision`.

    Attributes:
        sensitivity: how the noise of nodes is foretold, ``output-noise`` where nobody says.
    """

    summary: ClassVar[str] = "chosen node by node within --budget"

    sensitivity: str | None = option(help=f"How the noise of a node is foretold: {', '.join(MEASURES)} (default {USUAL}).")

    def quantize(self, job: Job) -> Made:
        if job.written is not None and storage.covers(job.graph, job.written.nodes):
            return decided(job, "auto")
        goal = job.goal or Goal()
        ranges = calibrate(job.graph, job.given, (job.options or Options()).method, job.stage("calibrate"))
        y = job.labels(ranges.vectors) if job.labels is not None and goal.loss is not None else None
        found = search(job.graph, ranges, goal, job.options, job.stage("measure"), y, self.sensitivity or USUAL)
        made = decided(job, "auto", data=ranges, nodes=found.storage)
        return replace(made, more={**made.more, "allocation": found.record()})


RECIPE = Auto
