"""int8, stored so that bit errors cost least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgeq.errors import EdgeqError
from edgeq.formats.code import Code
from edgeq.passes import normalise
from edgeq.quantize.calibrate import calibrate
from edgeq.recipes._recipe import Job, Made, Recipe, decided, option, without_weights
from edgeq.tune import robust

RATE = 0.005


@dataclass(frozen=True)
class Robust(Recipe):
    """int8 computation, with the storage code and the clipping of weights that stand bit errors best.

    Attributes:
        p: the bit error rate, 0.005 where nobody says.
        code: the storage code to take instead of the best (`Code.parse`).
        loss: what the outputs may lose of their spread under errors, 0 to 1: what takes least energy within that is chosen, not what
            loses least.
    """

    summary: ClassVar[str] = "int8, stored so that bit errors at rate --p cost least"

    p: float | None = option(metavar="0.5%", rate=True, help="Bit error rate to withstand (default 0.5%).")
    code: str | None = option(
        metavar="5+hamming",
        help="Storage code to use instead of the best: bits of a weight, then +parity, +triple or +hamming, +offset, +asymmetric (a zero "
        "point per channel; 7 bits at most), +crc (a checksum per channel, which is zeroed where damaged), +smallN (tables of at most N "
        "weights three times), +once (biases).",
    )
    loss: float | None = option(
        metavar="5%", rate=True, help="Loss that errors may cause, of the outputs' spread: the code with the fewest stored bits "
        "(least energy) within it is chosen, not the one with the least loss.",
    )  # fmt: skip

    def quantize(self, job: Job) -> Made:
        if job.has_nodes:
            raise EdgeqError("recipe robust computes in int8", where=job.graph.name, fix="give a precision file without [nodes]")
        options, rate = without_weights("robust", job), RATE if self.p is None else self.p
        ranges = calibrate(job.graph, job.given, options.method, job.stage("calibrate"))
        code = None if self.code is None else Code.parse(self.code)
        chosen, tried, judge = robust.search(job.graph, ranges, rate, options, code, job.stage("search"), self.loss)
        made = decided(job, "robust", data=ranges, options=chosen)
        clean = robust.check_clean(normalise(made.graph), judge)
        record = {
            "p": rate, "clean": round(clean, 6), "code": str(chosen.code), "clip": chosen.clip, "candidates": [c.record() for c in tried],
        }  # fmt: skip
        return replace(made, more={**made.more, "robust": record})


RECIPE = Robust
