"""Chooses the storage code, the tables that are stored three times and the clipping of weights for the best worst case at a bit error
rate, after training, on calibration data.

Or, where it is said what may be lost, the code and the clipping of least energy that keep to it: energy counts stored bits.

Post-training clipping is that of Stutz et al. (MLSys 2021); here the code is searched with it, and what is compared is not an error
of labels, which calibration data do not have, but how far outputs move from the float model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap, apply, hardened, parameters, stored, tables, voltage
from edgeq.formats.code import Code
from edgeq.ir import Array, Graph
from edgeq.passes import normalise
from edgeq.program import Program
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.decide import decide
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.plan import Options
from edgeq.quantize.rounding import quick
from edgeq.quantize.walk import quantize_decided
from edgeq.simulate import real_array, simulate
from edgeq.target import load

CODES = tuple(Code(bits, check=check, votes=True) for bits, check in ((8, "none"), (6, "triple"), (5, "hamming"), (6, "hamming")))
FRUGAL = tuple(
    Code(bits, check=check, votes=True)
    for bits, check in ((4, "none"), (5, "none"), (6, "none"), (8, "none"), (4, "hamming"), (5, "hamming"), (6, "triple"), (6, "hamming"))
)
EXTRA = (0.0, 1.0, 3.0)  # stored bits per weight that copies of small tables may add, where energy counts
CLIPS = (1.0, 0.85, 0.7)
WIDTHS = (14.0, 11.0)  # stored bits per weight that copies of small tables may bring a code to: most, and less
MARGIN = 0.01  # of loss under errors that copies or a clip have to save
PATTERNS = 12
VECTORS = 48
LARGEST = 0.1  # loss without faults of a result that is handed out
TOLERANCE = 0.02  # of loss without faults, beyond that of the code that loses least
SEED = 1000  # of the first pattern; users' patterns begin at 0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidate:
    """A code with a clip, and what it loses: per vector the squared distance from the float outputs over their spread, at most 1.

    Attributes:
        width: stored bits per weight of the network.
        energy: of the memory at the rate's voltage, over that of plain int8 at the least voltage without errors.
        clean: the mean loss without faults.
        mean: over the patterns.
        worst: over the worst third of them, which is steadier than the worst one.
    """

    code: Code
    clip: float
    width: float
    energy: float
    clean: float
    mean: float
    worst: float

    def record(self) -> dict[str, Any]:
        """As JSON."""
        numbers = {k: round(getattr(self, k), 6) for k in ("clip", "width", "energy", "clean", "mean", "worst")}
        return {"code": str(self.code), **numbers}


def search(
    graph: Graph, ranges: Ranges, p: float, options: Options, code: Code | None = None, progress: Progress | None = None,
    loss: float | None = None,
) -> tuple[Options, tuple[Candidate, ...], Judge]:  # fmt: skip
    """The options of quantization with the least worst loss, all that were tried, and who measured them.

    Args:
        graph: float.
        ranges: its calibration.
        p: the bit error rate to be robust against.
        options: for the rest.
        code: the one to take, for which a clip is chosen.
        progress: called with (candidates tried, in all).
        loss: the worst loss that may be; what takes least energy is searched instead.

    Raises:
        EdgeqError: the rate or the loss is out of range, the graph holds no integer weights, or nothing keeps to the loss.
    """
    if not 0 < p <= 0.5:
        raise EdgeqError(f"a bit error rate of {p}", fix="give 0 < p <= 0.5, like --p 0.5%")
    if loss is not None and not 0 < loss < 1:
        raise EdgeqError(f"a loss of {loss} of the outputs' spread", fix="give 0 < loss < 1, like --loss 5%")
    judge = Judge(graph, ranges, p, options)
    trials = _Trials(judge, progress)
    best = _least_loss(trials, code) if loss is None else _least_energy(trials, code, loss)
    trials.finish()
    return judge.options(options, best.code, best.clip), tuple(trials.tried), judge


class _Trials:
    """What was tried, each once.

    Attributes:
        total: how many there will be at most.
    """

    def __init__(self, judge: Judge, progress: Progress | None) -> None:
        self.judge, self._progress, self._done, self.total = judge, progress, 0, 1
        self.tried: list[Candidate] = []

    def measure(self, code: Code, clip: float = 1.0) -> Candidate:
        """A candidate; measured where it is not known."""
        found = next((c for c in self.tried if (c.code, c.clip) == (code, clip)), None)
        if found is None:
            found = self.judge.candidate(code, clip)
            self.tried.append(found)
        self._done += 1
        if self._progress:
            self._progress(min(self._done, self.total), self.total)
        return found

    def finish(self) -> None:
        """Tell that there will be no more."""
        if self._progress:
            self._progress(self.total, self.total)


def _least_loss(trials: _Trials, code: Code | None) -> Candidate:
    """Every code of `CODES` with as many small tables three times as the larger of `WIDTHS` allows; with the best of them fewer, taken
    where that loses at most `MARGIN`; then clips, taken where they save more than that."""
    sizes = trials.judge.sizes
    codes = [_with_copies(c, sizes, WIDTHS[0]) for c in CODES] if code is None else [code]
    trials.total = len(codes) + len(CLIPS) - 1 + (len(WIDTHS) if code is None else 0)
    for each in codes:
        trials.measure(each)
    allowed = min(c.clean for c in trials.tried) + TOLERANCE
    best = min((c for c in trials.tried if c.clean <= allowed), key=lambda c: (c.worst, c.mean))
    if code is None:
        for width in (*WIDTHS[1:], 0.0):
            trials.measure(_with_copies(best.code, sizes, width))
        alike = [c for c in trials.tried if replace(c.code, small=0) == replace(best.code, small=0)]
        best = min((c for c in alike if c.worst <= best.worst + MARGIN), key=lambda c: c.width)
    for clip in CLIPS[1:]:
        if trials.measure(best.code, clip).worst > best.worst:
            break
    better = [c for c in trials.tried if c.code == best.code and c.clean <= allowed and c.worst < best.worst - MARGIN]
    return min(better, key=lambda c: c.worst, default=best)


def _least_energy(trials: _Trials, code: Code | None, loss: float) -> Candidate:
    """The first that keeps to the loss of `FRUGAL`'s codes with few, some or no copies of small tables, those of fewest stored bits
    first; each with harder clips as long as they help.

    Raises:
        EdgeqError: none does.
    """
    sizes = trials.judge.sizes
    codes = {_with_copies(c, sizes, c.width + extra) for c in FRUGAL for extra in EXTRA} if code is None else {code}
    trials.total = len(codes) * len(CLIPS)
    for each in sorted(codes, key=lambda c: (mean_width(c, sizes), -c.bits, str(c))):
        best = trials.measure(each)
        for clip in CLIPS[1:] if best.worst > loss else ():
            found = trials.measure(each, clip)
            if found.worst > best.worst:
                break
            best = found
        if best.worst <= loss:
            return best
    least = min(trials.tried, key=lambda c: c.worst)
    raise EdgeqError(
        f"no code keeps the loss at {100 * loss:g} % of the outputs' spread", where=trials.judge.graph.name,
        why=f"{least.code} with clip {least.clip:g} loses least, {100 * least.worst:.2f} %", fix="allow a larger --loss, or a smaller --p",
    )  # fmt: skip


def check_clean(result: Graph, judge: Judge) -> float:
    """What the quantized graph loses without faults.

    Raises:
        EdgeqError: more than `LARGEST`: nothing that is stored robustly is worth that.
    """
    loss = judge.loss(result, hardened(result, load("host")))
    if loss > LARGEST:
        raise EdgeqError(
            f"recipe robust loses {100 * loss:.0f} % of the outputs' spread without a single bit error", where=result.name,
            why=f"at most {100 * LARGEST:.0f} % are accepted", fix="use recipe int8, or a --code of more bits",
        )  # fmt: skip
    return loss


def mean_width(code: Code, sizes: Iterable[int]) -> float:
    """Stored bits per weight, over tables of these sizes."""
    sizes = tuple(sizes)
    return code.width * sum(code.copies(n) * n for n in sizes) / sum(sizes)


def _with_copies(code: Code, sizes: Iterable[int], width: float) -> Code:
    """The code with as many small tables three times as bring it to at most `width` stored bits per weight."""
    sizes = tuple(sizes)
    found = [c for c in (replace(code, small=n) for n in sorted({0, *sizes})) if mean_width(c, sizes) <= width]
    return found[-1] if found else replace(code, small=0)


class Judge:
    """Measures candidates on some of the calibration vectors, quantized by a fast rounding."""

    def __init__(self, graph: Graph, ranges: Ranges, p: float, options: Options) -> None:
        self.graph, self.ranges, self.p, self.given = graph, ranges, p, options
        self.rounding = quick(options.rounding)
        count = min(VECTORS, ranges.vectors)
        at = np.arange(count) if graph.states else np.arange(count) * ranges.vectors // count
        self.samples = {n: a[at] for n, a in ranges.samples.items() if n in graph.given}
        outputs = evaluate_float(graph, self.samples)
        self.real = {n: outputs[n].reshape(count, -1).astype(np.float64) for n in graph.results}
        plain = hardened(self.quantized(replace(options, rounding=self.rounding)), load("host"))
        self.sizes = [c.array.size for _, c in tables(plain) if c.array.dtype == np.int8]
        if not self.sizes:
            raise EdgeqError("the model has no integer weights that a code could store", where=graph.name, fix="use recipe int8")

    def quantized(self, options: Options) -> Graph:
        """Without dead channels, as the recipe's result is."""
        return normalise(quantize_decided(decide(self.graph, self.ranges, options)))

    @staticmethod
    def options(given: Options, code: Code, clip: float) -> Options:
        """Those of a candidate."""
        return replace(given, code=code, clip=clip, centre=True)

    def candidate(self, code: Code, clip: float) -> Candidate:
        """A code and a clip, quantized and measured under `PATTERNS` patterns of bit errors."""
        options = replace(self.options(self.given, code, clip), rounding=self.rounding)
        graph = self.quantized(options)
        program = hardened(graph, load("host"))
        losses = sorted(self.loss(graph, apply(program, FaultMap(seed=SEED + i, p=self.p))) for i in range(PATTERNS))
        worst = losses[-(PATTERNS // 3) :]
        held = sum(c.data.size for _, c in tables(program) if any("weights" in name for _, name in c.users))
        width = 8 * held / sum(self.sizes)
        energy = stored(program) * voltage(self.p) ** 2
        return Candidate(code, clip, width, energy, self.loss(graph, program), float(np.mean(losses)), float(np.mean(worst)))

    def loss(self, graph: Graph, program: Program) -> float:
        """How far outputs lie from the float ones: the squared distance over their spread, 0 to 1, the mean over vectors and outputs."""
        outputs = simulate(graph, self.samples, parameters=parameters(program)).outputs
        found = {n: real_array(outputs[n], graph.type(n)).reshape(len(outputs[n]), -1).astype(np.float64) for n in graph.results}
        return float(np.mean([_distance(self.real[n], found[n]) for n in graph.results]))


def _distance(real: Array, found: Array) -> float:
    """Mean over vectors of the squared distance over the outputs' spread, each at most 1."""
    spread = np.maximum(((real - real.mean(0)) ** 2).sum(1).mean(), 1e-12)
    return float(np.minimum(((real - found) ** 2).sum(1) / spread, 1.0).mean())
