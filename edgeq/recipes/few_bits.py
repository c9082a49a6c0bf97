"""int8, with the weights of every layer in as few bits as a budget allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.errors import EdgeqError
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.plan import Precision
from edgeq.recipes._budgeted import Budgeted
from edgeq.recipes._recipe import Job, Made, decided, without_weights
from edgeq.tune import bits


@dataclass(frozen=True)
class FewBits(Budgeted):
    """int8 computation; weights in 8, 6, 5, 4, 3 or 2 bits layer by layer, see `tune.bits`."""

    summary: ClassVar[str] = "int8, with weights in 8, 6, 5, 4, 3 or 2 bits layer by layer, chosen within --budget"

    def quantize(self, job: Job) -> Made:
        if job.has_nodes:
            raise EdgeqError("recipe few-bits computes in int8", where=job.graph.name, fix="give a precision file without [nodes]")
        options = without_weights("few-bits", job)
        written = job.written or Precision(law=options.law, method=options.method)
        ranges = calibrate(job.graph, job.given, written.method, job.stage("calibrate"))
        if written.layers:
            return decided(job, "few-bits", data=ranges)
        goal = self.goal(job)
        with self.journal(replace(job, options=options), goal) as kept:
            wanted = self.wanted(replace(job, options=options), goal, ranges)
            found = bits.search(job.graph, ranges, wanted, kept, job.stage("measure"))
        made = decided(job, "few-bits", data=ranges, weights=found.weights)
        return replace(made, more={**made.more, "allocation": found.record()})


RECIPE = FewBits
