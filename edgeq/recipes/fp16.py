"""Everything in half precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.quantize import storage
from edgeq.recipes._recipe import FACTORED, Job, Made, Recipe, check_sums, decided, formed, half_made, option

ACCUMULATE = (
    "Accumulators of layers in half precision: f32 (default), or f16: less than half the instructions on Helium, at the cost of accuracy."
)


@dataclass(frozen=True)
class Fp16(Recipe):
    """Half precision, inputs and outputs too, without calibration.

    Attributes:
        accumulate: ``f16``: layers that can sum up in halves do so; ``f32`` is the default.
        factors: see `formed`.
    """

    summary: ClassVar[str] = (
        "everything in half precision, inputs and outputs too (float32 arrays are rounded on entry), without calibration"
    )
    instead: ClassVar[int] = 4

    calibrated: ClassVar[bool] = False

    accumulate: str | None = option(metavar="f32|f16", help=ACCUMULATE)
    factors: str | None = option(metavar="keep|multiply", help=FACTORED)

    def form(self, graph: Graph) -> Graph:
        return formed(graph, self.factors)

    def base(self, graph: Graph) -> storage.Storage:
        return storage.uniform(graph, storage.HALF)

    def needs_samples(self, job: Job) -> bool:
        return job.written is not None

    def quantize(self, job: Job) -> Made:
        check_sums(self.accumulate, job)
        if job.written is None:
            return half_made(job, self.accumulate)
        if not job.written.nodes:
            fix = "give a precision file with [nodes], or none"
            raise EdgeqError("recipe fp16 has no scales to choose", where=job.graph.name, fix=fix)
        return decided(job, "fp16", nodes=self.base(job.graph))


RECIPE = Fp16
