"""Half precision with int8 weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.ir import Graph
from edgeq.quantize import storage
from edgeq.recipes._recipe import FACTORED, Job, Made, Recipe, decided, formed, option


@dataclass(frozen=True)
class W8A16(Recipe):
    """int8 weights, fitted to the samples, where layers can have them; everything else in half precision.

    Attributes:
        factors: see `formed`.
    """

    summary: ClassVar[str] = "half precision with layers' weights in int8: half the flash of fp16 at nearly its accuracy"
    instead: ClassVar[int] = 3

    factors: str | None = option(metavar="keep|multiply", help=FACTORED)

    def form(self, graph: Graph) -> Graph:
        return formed(graph, self.factors)

    def base(self, graph: Graph) -> storage.Storage:
        return storage.uniform(graph, storage.WEIGHTS)

    def quantize(self, job: Job) -> Made:
        return decided(job, "w8a16", nodes=self.base(job.graph))


RECIPE = W8A16
