"""What every node is computed in, chosen within a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.quantize import storage
from edgeq.quantize.allocate import Goal
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.plan import Options
from edgeq.recipes._budgeted import Budgeted
from edgeq.recipes._recipe import FACTORED, Job, Made, decided, formed, option
from edgeq.tune.precision import Found, search


@dataclass(frozen=True)
class Auto(Budgeted):
    """Chosen node by node within a budget, see `tune.precision`.

    Attributes:
        factors: see `formed`; None: what makes the aim smaller.
    """

    summary: ClassVar[str] = "chosen node by node within --budget"

    factors: str | None = option(metavar="keep|multiply", help=FACTORED)

    def form(self, graph: Graph) -> Graph:
        return graph if self.factors is None else formed(graph, self.factors)

    def quantize(self, job: Job) -> Made:
        if job.written is not None and storage.covers(job.graph, job.written.nodes):
            return decided(job, "auto")
        goal = self.goal(job)
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
        y = self.labels(job, goal, ranges)
        found = search(job.graph, ranges, goal, job.options, job.stage("measure"), y, **self.methods)
        made = decided(job, "auto", data=ranges, nodes=found.storage)
        return replace(made, more={**made.more, "allocation": found.record()}), found


RECIPE = Auto
