"""Recurrent layers in int8, the rest in half precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.ir import Graph
from edgeq.quantize import storage
from edgeq.recipes._recipe import FACTORED, Job, Made, Recipe, check_sums, decided, formed, option
from edgeq.recipes.fp16 import ACCUMULATE


@dataclass(frozen=True)
class Mixed(Recipe):
    """Recurrent layers in int8, the rest in half precision.

    Attributes:
        accumulate: ``f16``: layers in half precision that can sum up in halves do so; ``f32`` is the default.
        factors: see `formed`.
    """

    summary: ClassVar[str] = "recurrent layers in int8, the rest in half precision"
    instead: ClassVar[int] = 2

    accumulate: str | None = option(metavar="f32|f16", help=ACCUMULATE)
    factors: str | None = option(metavar="keep|multiply", help=FACTORED)

    def form(self, graph: Graph) -> Graph:
        return formed(graph, self.factors)

    def base(self, graph: Graph) -> storage.Storage:
        return storage.mixed(graph)

    def quantize(self, job: Job) -> Made:
        check_sums(self.accumulate, job)
        graph, nodes = storage.with_sums(job.graph, self.base(job.graph), self.accumulate)
        return decided(job, "mixed", graph=graph, nodes=nodes, extra={"accumulate": self.accumulate} if self.accumulate else {})


RECIPE = Mixed
