"""Chooses in how many bits the weights of every layer are stored, within limits of noise, of lost answers, of flash or of instructions.

Activations and sums stay int8 and int32. The noise of a layer in few bits is that of the outputs with that layer alone in them, rounded
as it will be, measured on samples that it was not fitted to (HAWQ-V3, Yao et al., 2021), or what another measure of `sensitivity` says of
it; noises are taken to add up.
The choice is the integer program's (`allocate`), and what it gives is quantized and judged on unseen samples before it is handed out: for
a limit of lost answers by bisection over the front of flash and noise, for they grow together.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.formats import even, parse
from edgeq.ir import Array, Graph
from edgeq.journal import Journal
from edgeq.lower import lower
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.quantize.allocate import NOISE, Allocator, Costs, Goal, Point, Problem, decibels, noise_of
from edgeq.quantize.calibrate import Ranges, calibrate
from edgeq.quantize.decide import decide
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.plan import Options, with_weights
from edgeq.quantize.refine import NONE
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import INT8, Unit
from edgeq.quantize.walk import quantize_decided
from edgeq.simulate import fit_inputs, real_array, simulate
from edgeq.target import Target
from edgeq.target import load as load_target
from edgeq.tune.labels import right
from edgeq.tune.measure import executed
from edgeq.tune.wanted import Wanted

DROP = 16.0  # dB, where no limit is given
LEAST = 32  # samples that a graph is fitted to, or judged by, where they are not the same
PROBES, JUDGES = 96, 500  # samples that measure a layer's noise, and that judge a choice
TURNS = 8  # how often a choice that does not hold is tightened
PER_MAC = {8: 1.0, 6: 1.5, 5: 1.5, 4: 1.1, 3: 1.6, 2: 1.4}  # instructions, where nothing is measured
Progress = Callable[[int, int], None]
Outputs = Mapping[str, Array]


def named(weights: str) -> str:
    """What a storage of weights is called beside int8 activations: ``w4a8`` for ``int4``."""
    return f"w{bits(weights)}a8"


def bits(weights: str) -> int:
    """Of a weight, two's complement."""
    return int(2 * parse(weights).levels[-1] + 1).bit_length()


@dataclass(frozen=True, eq=False)
class Found:
    """The choice that holds.

    Attributes:
        weights: layer -> its storage format.
        point: what it is predicted to cost.
        front: choices that no other beats in both flash and noise, cheapest first.
        sqnr_db: measured, on samples that the graph was not fitted to, the least of both halves.
        loss: measured percentage points of right answers, where asked for.
    """

    units: tuple[Unit, ...]
    costs: Costs
    weights: Mapping[str, str]
    point: Point
    front: tuple[Point, ...]
    pieces: tuple[float, ...]
    loss: float | None

    def record(self) -> dict[str, Any]:
        """As JSON, in the form of recipe auto's."""
        layers = [u for u in self.units if len(u.choices) > 1]
        nodes = [
            {
                "name": u.name, "storage": self.point.chosen[u.name], "roles": f"x s8, W s{self.point.chosen[u.name][1]}",
                "flash": {s: self.costs.flash[u.name, s] for s in u.choices},
                "instructions": {s: round(self.costs.instructions[u.name, s]) for s in u.choices},
                "sqnr_db": {s: None if s == USUAL else round(decibels(self.costs.noise[u.name, s]), 2) for s in u.choices},
            }
            for u in layers
        ]  # fmt: skip
        points = [p for p in self.front if p.chosen != self.point.chosen] + [self.point]
        rows = [
            {
                "flash": p.flash, "instructions": round(p.instructions), "sqnr_db": round(p.sqnr_db, 2),
                "storage": {u.name: p.chosen[u.name] for u in layers if p.chosen[u.name] != USUAL},
                "chosen": p.chosen == self.point.chosen,
            }
            for p in sorted(points, key=lambda p: p.sqnr_db)
        ]  # fmt: skip
        return {
            "usual": USUAL, "costs": "measured" if self.costs.measured else "estimated", "judged": 1.0,
            "sqnr_db": round(min(self.pieces), 2), "worst_piece_db": round(min(self.pieces), 2), "pieces": len(self.pieces),
            "nodes": nodes, "pareto": rows,
            **({} if self.loss is None else {"loss": round(self.loss, 3)}),
        }  # fmt: skip


USUAL = named(INT8)


@dataclass(frozen=True, eq=False)
class _Fold:
    """What a graph is fitted to, and the samples that judge it: which these are, and what float makes of them."""

    ranges: Ranges
    at: Array
    samples: Mapping[str, Array]
    real: Outputs


class Judge:
    """Quantizes each half of the samples with weights in some formats, and judges it by the other half; few samples serve both purposes."""

    def __init__(self, graph: Graph, ranges: Ranges, options: Options, labels: Array | None) -> None:
        self.graph, self.options, self.labels = graph, options, labels
        every = np.arange(ranges.vectors)
        if ranges.vectors < 2 * LEAST:
            self.folds = [self._fold(ranges, ranges, every)]
        else:
            a, b = np.array_split(every, 2) if graph.states else (every[::2], every[1::2])
            self.folds = [self._fold(ranges, self._fitted(ranges, own), other) for own, other in ((a, b), (b, a))]

    def _fitted(self, ranges: Ranges, at: Array) -> Ranges:
        return calibrate(self.graph, {n: a[at] for n, a in ranges.samples.items()}, ranges.method)

    def _fold(self, ranges: Ranges, fitted: Ranges, at: Array) -> _Fold:
        at = at[:JUDGES] if self.graph.states else at[np.arange(min(JUDGES, len(at))) * len(at) // min(JUDGES, len(at))]
        samples = {n: ranges.samples[n][at] for n in self.graph.given}
        outputs = evaluate_float(self.graph, samples)
        return _Fold(fitted, at, samples, {n: outputs[n].astype(np.float64) for n in self.graph.results})

    def quantized(self, fold: _Fold, weights: Mapping[str, str], refine: bool = True) -> Graph:
        """Of one fold, layers in these formats, the others in the options'."""
        options = self.options if refine else replace(self.options, refine=NONE)
        decision = decide(self.graph, fold.ranges, options)
        return quantize_decided(replace(decision, precision=with_weights(decision.precision, weights)))

    def pieces(self, weights: Mapping[str, str]) -> tuple[tuple[float, ...], float | None]:
        """The dB of each half, and the percentage points of right answers that are lost where there are labels."""
        found, lost, count = [], 0, 0
        for fold in self.folds:
            graph = self.quantized(fold, weights)
            got = outputs(graph, fold.samples)
            found.append(decibels(noise_of(got, fold.real)))
            if self.labels is not None:
                (name,), y = self.graph.results, self.labels[fold.at]
                lost, count = lost + right(fold.real[name], y) - right(got[name], y), count + len(y)
        return tuple(found), 100 * lost / count if count else None


def outputs(graph: Graph, samples: Mapping[str, Array]) -> dict[str, Array]:
    """Real results on real samples."""
    return {n: real_array(a, graph.type(n)).astype(np.float64) for n, a in simulate(graph, samples).outputs.items()}


def search(graph: Graph, ranges: Ranges, wanted: Wanted, kept: Journal, progress: Progress | None = None) -> Found:
    """Choose the bits of every layer's weights within a goal; without a limit of noise, answers or flash `DROP` is one.

    Args:
        graph: float.
        ranges: its calibration.
        kept: what was measured, here or by a run that was ended; of this graph, these samples and what is wanted alone.
        progress: called with (steps done, in all at most).

    Raises:
        EdgeqError: see `Wanted.check`; a measure that does not know the graph; nothing keeps to the goal.
    """
    goal = wanted.goal
    if goal.drop is None and goal.loss is None:
        goal = replace(goal, aim=NOISE) if goal.flash is not None or goal.aim == NOISE else replace(goal, drop=DROP)
    wanted = replace(wanted, goal=goal)
    wanted.check()
    judge, formats = Judge(graph, ranges, wanted.options or Options(), wanted.labels), even()
    done = itertools.count(1)
    layers = [n.name for n in graph.nodes if n.op.traits.products]
    total = len(formats) + len(layers) * (len(formats) - 1) + TURNS

    def tell() -> None:
        if progress:
            progress(min(next(done), total), total)

    costs, units = _costs(graph, judge, wanted, kept, tell)
    allocator = Allocator(Problem(graph, units, costs), wanted.allocate)
    front = tuple(allocator.front())
    storages = {named(f): f for f in formats}
    trials = _by_noise(allocator, goal) if goal.loss is None else _by_loss(allocator, goal, front)
    best: Found | None = None
    reached: list[tuple[float, float | None]] = []
    for trial in trials:
        weights = {n: storages[trial.point.chosen[n]] for n in layers}
        pieces, loss = kept.once(f"trial {json.dumps(weights, sort_keys=True)}", judge.pieces, weights)
        tell()
        trial.sqnr_db = min(pieces)
        reached.append((trial.sqnr_db, loss))
        trial.holds = (goal.drop is None or min(pieces) >= goal.drop) and (goal.loss is None or (loss or 0.0) <= goal.loss)
        if trial.holds:
            best = Found(units, costs, weights, trial.point, front, tuple(pieces), loss)
    if best is not None:
        return best
    raise _refused(graph, front, reached)


def _refused(graph: Graph, front: Sequence[Point], reached: Sequence[tuple[float, float | None]]) -> EdgeqError:
    """That nothing keeps to the goal, with what is within reach: the front, and what was judged, dB and lost answers."""
    quietest = max(front, key=lambda p: p.sqnr_db)
    why = f"the least predicted noise, {quietest.sqnr_db:.1f} dB, takes {quietest.flash} bytes, {quietest.instructions:.0f} instructions"
    if reached:
        db, loss = max(reached)
        why += f"; on unseen samples {db:.1f} dB was the best" + ("" if loss is None else f", with {loss:.1f} % of the right answers lost")
    return EdgeqError(
        "no choice of bits fits the budget", where=graph.name, why=why,
        fix="allow more, or let --recipe auto choose, which has half precision too",
    )  # fmt: skip


@dataclass(eq=False)
class _Trial:
    """A choice to be tried, and what came out."""

    point: Point
    sqnr_db: float = 0.0
    holds: bool = False


def _by_noise(allocator: Allocator, goal: Goal) -> Iterator[_Trial]:
    """The best choice, with less noise again and again until one holds."""
    aim = goal.drop
    for _ in range(TURNS):
        point = allocator.solve(goal if aim is None else replace(goal, drop=aim))
        if point is None:
            return
        trial = _Trial(point)
        yield trial
        if trial.holds or aim is None or goal.drop is None:
            return
        aim = max(aim + (goal.drop - trial.sqnr_db) / 2, point.sqnr_db + 0.01)


def _by_loss(allocator: Allocator, goal: Goal, front: Sequence[Point]) -> Iterator[_Trial]:
    """Choices of the front within the other limits, by bisection: the cheapest that holds comes last of those that do."""
    limits = [goal if goal.drop is None else replace(goal, drop=max(goal.drop, p.sqnr_db)) for p in front]
    able = [(i, q) for i, p in enumerate(front) if (q := allocator.solve(replace(limits[i], drop=p.sqnr_db - 1e-6))) is not None]
    low, high = 0, len(able)
    while low < high:
        middle = (low + high) // 2
        trial = _Trial(able[middle][1])
        yield trial
        low, high = (low, middle) if trial.holds else (middle + 1, high)


def _costs(graph: Graph, judge: Judge, wanted: Wanted, kept: Journal, tell: Callable[[], None]) -> tuple[Costs, tuple[Unit, ...]]:
    """What every layer costs in every format, and the units that have a choice or none."""
    fold, storages = judge.folds[0], {named(f): f for f in even()}
    layers = [n.name for n in graph.nodes if n.op.traits.products]
    whole = {}
    for s, f in storages.items():
        whole[s] = judge.quantized(fold, dict.fromkeys(layers, f), refine=False)
        tell()
    count = min(PROBES, len(next(iter(fold.samples.values()))))
    samples, real = {n: a[:count] for n, a in fold.samples.items()}, {n: a[:count] for n, a in fold.real.items()}
    base = noise_of(outputs(whole[USUAL], samples), real)
    found = tuple(Unit((n,), tuple(storages) if n.name in layers else (USUAL,)) for n in graph.nodes)

    def measured(storage: Mapping[str, str]) -> Array:
        made = whole[USUAL]
        for name, s in storage.items():
            made = made if s == USUAL else _alone(made, whole[s], name)
        return noise_of(outputs(made, samples), real)

    limits = {s: int(parse(f).levels[-1]) for s, f in storages.items()}
    probe = Probe(graph, samples, {n.name: USUAL for n in graph.nodes}, base, measured, limits)
    lost = {(u.name, s): np.zeros_like(base) for u in found for s in u.choices}
    for u in found:
        for s in u.choices:
            if s != USUAL:
                lost[u.name, s] = wanted.noise(kept, probe, u, s)
                tell()
    flash: dict[tuple[str, str], int] = {(u.name, s): 0 for u in found for s in u.choices}
    work: dict[tuple[str, str], float] = dict.fromkeys(flash, 0.0)
    goal = wanted.goal
    counted = goal.target is not None and goal.target.runners[0] != "host"
    for s, f in storages.items():
        for name, (size, steps) in kept.once(f"costs {s}", _measure, whole[s], bits(f), fold.samples, goal, counted).items():
            if (name, s) in flash:
                flash[name, s], work[name, s] = size, steps
    return Costs(flash, work, dict.fromkeys((Quantize.kind(), Dequantize.kind()), 0.0), lost, base, counted), found


def _alone(usual: Graph, other: Graph, name: str) -> Graph:
    """The usual graph with one layer as another graph has it."""
    node, own = (next(n for n in g.nodes if n.name == name) for g in (other, usual))
    fresh = {n: f"{n}.{name}.alone" for n in node.inputs if other.tensors[n].is_constant}
    tensors = {**usual.tensors, **{new: replace(other.tensors[old], name=new) for old, new in fresh.items()}}
    inputs = tuple(fresh.get(n, m) for n, m in zip(node.inputs, own.inputs, strict=True))
    nodes = tuple(replace(node, inputs=inputs) if n is own else n for n in usual.nodes)
    return replace(usual, tensors=tensors, nodes=nodes)


def _measure(graph: Graph, width: int, samples: Mapping[str, Array], goal: Goal, measured: bool) -> dict[str, tuple[int, float]]:
    """Per node bytes of tables as they are stored, and instructions of one inference."""
    target: Target = goal.target or load_target("host")
    program = lower(graph, target)
    counts: Sequence[float] = [c.macs * PER_MAC[width] for c in program.calls]
    if measured:
        inputs = {n: a[:1] for n, a in fit_inputs(graph, samples).items()}
        counts = [float(n) for n in executed(program, target, inputs, goal.toolchain, goal.optimize)[1]]
    sizes = [sum(t.nbytes for t in c.stored.values()) for c in program.calls]
    return {c.node.name: (s, n) for c, s, n in zip(program.calls, sizes, counts, strict=True)}
