"""int8, with the weights of every layer in as few bits as a budget allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.errors import EdgeqError
from edgeq.quantize.allocate import AIMS, ALLOCATORS, EXACT, FLASH, Goal
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.plan import Options, Precision
from edgeq.quantize.sensitivity import MEASURES, USUAL
from edgeq.recipes._recipe import Job, Made, Recipe, decided, option
from edgeq.tune import bits


@dataclass(frozen=True)
class FewBits(Recipe):
    """int8 computation; weights in 8, 4, 3 or 2 bits layer by layer, see `tune.bits`.

    Attributes:
        sensitivity: how the noise of layers is foretold, ``output-noise`` where nobody says.
        allocate: how bits are chosen by their noise, ``integer-program`` where nobody says.
        aim: what is made small within the limits, ``flash`` where nobody says.
    """

    summary: ClassVar[str] = "int8, with weights in 8, 4, 3 or 2 bits layer by layer, chosen within --budget"
    budgeted: ClassVar[bool] = True

    sensitivity: str | None = option(help=f"How the noise of a layer is foretold: {', '.join(MEASURES)} (default {USUAL}).")
    allocate: str | None = option(help=f"How storages are chosen by their noise: {', '.join(ALLOCATORS)} (default {EXACT}).")
    aim: str | None = option(help=f"What is made small within the budget: {', '.join(AIMS)} (default {FLASH}).")

    def quantize(self, job: Job) -> Made:
        if job.has_nodes:
            raise EdgeqError("recipe few-bits computes in int8", where=job.graph.name, fix="give a precision file without [nodes]")
        options = job.options or Options()
        if options.weights != "int8":
            fix = f"leave --weights out, or add --recipe int8 for {options.weights} in every layer"
            raise EdgeqError("recipe few-bits chooses the format of weights", where=job.graph.name, fix=fix)
        written = job.written or Precision(law=options.law, method=options.method)
        ranges = calibrate(job.graph, job.given, written.method, job.stage("calibrate"))
        if written.layers:
            return decided(job, "few-bits", data=ranges)
        goal = replace(job.goal or Goal(), aim=self.aim or FLASH)
        y = job.labels(ranges.vectors) if job.labels is not None and goal.loss is not None else None
        found = bits.search(job.graph, ranges, goal, options, job.stage("measure"), y, self.allocate or EXACT, self.sensitivity or USUAL)
        made = decided(job, "few-bits", data=ranges, weights=found.weights)
        return replace(made, more={**made.more, "allocation": found.record()})


RECIPE = FewBits
