"""What every node is computed in, chosen within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.journal import Journal
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
        forms = [job] if self.factors is not None or job.has_nodes or dense is job.graph else [job, replace(job, graph=dense)]
        with ExitStack() as open_:  # until the last form is measured: a run that is ended there goes on there
            kept = [open_.enter_context(self.journal(form, goal)) for form in forms]
            return self._best(forms, kept, goal)

    def _best(self, forms: Sequence[Job], journals: Sequence[Journal], goal: Goal) -> Made:
        """Of forms of a network, with factors and multiplied out, what keeps to the goal at the lower price.

        Raises:
            EdgeqError: none does.
        """
        found: list[tuple[Made, Found]] = []
        refused: list[EdgeqError] = []
        for job, kept in zip(forms, journals, strict=True):
            try:
                found.append(self._made(job, goal, kept))
            except EdgeqError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        return min(found, key=lambda pair: pair[1].price(goal.aim))[0]

    def _made(self, job: Job, goal: Goal, kept: Journal) -> tuple[Made, Found]:
        """Of one form of the network."""
        ranges = calibrate(job.graph, job.given, (job.options or Options()).method, job.stage("calibrate"))
        found = search(job.graph, ranges, self.wanted(job, goal, ranges), kept, job.stage("measure"))
        made = decided(job, "auto", data=ranges, nodes=found.storage)
        return replace(made, more={**made.more, "allocation": found.record()}), found


RECIPE = Auto
