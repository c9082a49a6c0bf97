"""Chooses the storage code and the clipping of weights for the best worst case at a bit error rate, after training, on calibration data.

Post-training clipping is that of Stutz et al. (MLSys 2021); here the code is searched with it, and what is compared is not an error
of labels, which calibration data do not have, but how far outputs move from the float model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.codes import Code
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap, apply, hardened, parameters
from edgeq.ir import Array, Graph
from edgeq.lower import Program
from edgeq.quantize.decide import decide
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.options import Options
from edgeq.quantize.quantizer import quantize_decided
from edgeq.quantize.ranges import Ranges
from edgeq.simulate import dequantize_array, simulate
from edgeq.target import load

CODES = tuple(Code(bits, check=check, votes=True) for bits, check in ((8, "none"), (6, "triple"), (5, "hamming"), (6, "hamming")))
CLIPS = (1.0, 0.85, 0.7)
PATTERNS = 12
VECTORS = 48
TOLERANCE = 0.02  # of loss without faults, beyond that of plain 8 bits
SEED = 1000  # of the first pattern; users' patterns begin at 0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidate:
    """A code with a clip, and what it loses: per vector the squared distance from the float outputs over their spread, at most 1.

    Attributes:
        clean: the mean loss without faults.
        mean: over the patterns.
        worst: over the worst third of them, which is steadier than the worst one.
    """

    code: Code
    clip: float
    clean: float
    mean: float
    worst: float

    def record(self) -> dict[str, Any]:
        """As JSON."""
        numbers = {k: round(getattr(self, k), 6) for k in ("clip", "clean", "mean", "worst")}
        return {"code": str(self.code), **numbers}


def search(
    graph: Graph, ranges: Ranges, p: float, options: Options, codes: Iterable[Code] = CODES, progress: Progress | None = None
) -> tuple[Options, tuple[Candidate, ...]]:
    """The options of quantization with the least worst loss, and all that were tried.

    Args:
        graph: float.
        ranges: its calibration.
        p: the bit error rate to be robust against.
        options: for the rest.
        codes: those to choose from.
        progress: called with (candidates tried, in all).

    Raises:
        EdgeqError: the rate is no probability, or the graph holds no integer weights.
    """
    if not 0 < p <= 0.5:
        raise EdgeqError(f"a bit error rate of {p}", fix="give 0 < p <= 0.5, like --p 0.5%")
    codes = tuple(codes)
    judge, tried = _Judge(graph, ranges, p, options), []
    total = len(codes) + len(CLIPS) - 1
    for code in codes:
        tried.append(judge.candidate(code, 1.0))
        if progress:
            progress(len(tried), total)
    allowed = min(c.clean for c in tried) + TOLERANCE
    best = min((c for c in tried if c.clean <= allowed), key=lambda c: (c.worst, c.mean))
    for clip in CLIPS[1:]:
        tried.append(judge.candidate(best.code, clip))
        if progress:
            progress(len(tried), total)
    best = min((c for c in tried if c.clean <= allowed), key=lambda c: (c.worst, c.mean))
    return judge.options(options, best.code, best.clip), tuple(tried)


class _Judge:
    """Measures candidates on some of the calibration vectors, quantized by the fastest rounding."""

    def __init__(self, graph: Graph, ranges: Ranges, p: float, options: Options) -> None:
        self.graph, self.ranges, self.p, self.given = graph, ranges, p, options
        count = min(VECTORS, ranges.vectors)
        at = np.arange(count) if graph.states else np.arange(count) * ranges.vectors // count
        self.samples = {n: a[at] for n, a in ranges.samples.items() if n in graph.given}
        outputs = evaluate_float(graph, self.samples)
        self.real = {n: outputs[n].reshape(count, -1).astype(np.float64) for n in graph.results}

    @staticmethod
    def options(given: Options, code: Code, clip: float) -> Options:
        return replace(given, code=code, clip=clip, centre=True)

    def candidate(self, code: Code, clip: float) -> Candidate:
        options = replace(self.options(self.given, code, clip), rounding="nearest")
        graph = quantize_decided(decide(self.graph, self.ranges, options))
        program = hardened(graph, load("host"))
        losses = sorted(self.loss(graph, apply(program, FaultMap(seed=SEED + i, p=self.p))) for i in range(PATTERNS))
        worst = losses[-(PATTERNS // 3) :]
        return Candidate(code, clip, self.loss(graph, program), float(np.mean(losses)), float(np.mean(worst)))

    def loss(self, graph: Graph, program: Program) -> float:
        outputs = simulate(graph, self.samples, parameters=parameters(program)).outputs
        return float(np.mean([_distance(self.real[n], _real(graph, n, outputs[n])) for n in graph.results]))


def _real(graph: Graph, name: str, stored: Array) -> Array:
    t = graph.type(name)
    values = stored if t.q is None else dequantize_array(stored, t.scale, t.zero_point)
    return np.asarray(values.reshape(len(stored), -1), np.float64)


def _distance(real: Array, found: Array) -> float:
    """Mean over vectors of the squared distance over the outputs' spread, each at most 1."""
    spread = np.maximum(((real - real.mean(0)) ** 2).sum(1).mean(), 1e-12)
    return float(np.minimum(((real - found) ** 2).sum(1) / spread, 1.0).mean())
