"""What every node is computed in, chosen within a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.quantize import storage
from edgeq.quantize.allocate import AIMS, ALLOCATORS, EXACT, FLASH, Goal
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.plan import Options
from edgeq.quantize.sensitivity import MEASURES, USUAL
from edgeq.recipes._recipe import FACTORED, Job, Made, Recipe, decided, formed, option
from edgeq.tune.precision import Found, search


@dataclass(frozen=True)
class Auto(Recipe):
    """Chosen node by node within a budget, see `tune.precision`.

    Attributes:
        sensitivity: how the noise of nodes is foretold, ``output-noise`` where nobody says.
        allocate: how storages are chosen by it, ``integer-program`` where nobody says.
        aim: what is made small within the limits, ``flash`` where nobody says.
        factors: see `formed`; None: what makes the aim smaller.
    """

    summary: ClassVar[str] = "chosen node by node within --budget"
    budgeted: ClassVar[bool] = True

    sensitivity: str | None = option(help=f"How the noise of a node is foretold: {', '.join(MEASURES)} (default {USUAL}).")
    allocate: str | None = option(help=f"How storages are chosen by it: {', '.join(ALLOCATORS)} (default {EXACT}).")
    aim: str | None = option(help=f"What is made small within the budget: {', '.join(AIMS)} (default {FLASH}).")

    factors: str | None = option(metavar="keep|multiply", help=FACTORED)

    def form(self, graph: Graph) -> Graph:
        return graph if self.factors is None else formed(graph, self.factors)

    def quantize(self, job: Job) -> Made:
        if job.written is not None and storage.covers(job.graph, job.written.nodes):
            return decided(job, "auto")
        goal = replace(job.goal or Goal(), aim=self.aim or FLASH)
        dense = formed(job.graph, None)
        if self.factors is not None or job.has_nodes or dense is job.graph:
            return self._made(job, goal)[0]
        return self._better(job, replace(job, graph=dense), goal)

    def _better(self, kept: Job, dense: Job, goal: Goal) -> Made:
        """Of a network with factors, and of that in which they are multiplied out, what keeps to the goal at the lower price.

        Raises:
            EdgeqError: neither does.
        """
        found: list[tuple[Made, Found]] = []
        refused: list[EdgeqError] = []
        for job in (kept, dense):
            try:
                found.append(self._made(job, goal))
            except EdgeqError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        return min(found, key=lambda pair: pair[1].price(goal.aim))[0]

    def _made(self, job: Job, goal: Goal) -> tuple[Made, Found]:
        """Of one form of the network."""
        ranges = calibrate(job.graph, job.given, (job.options or Options()).method, job.stage("calibrate"))
        y = job.labels(ranges.vectors) if job.labels is not None and goal.loss is not None else None
        found = search(job.graph, ranges, goal, job.options, job.stage("measure"), y, self.sensitivity or USUAL, self.allocate or EXACT)
        made = decided(job, "auto", data=ranges, nodes=found.storage)
        return replace(made, more={**made.more, "allocation": found.record()}), found


RECIPE = Auto
