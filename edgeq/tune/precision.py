"""Chooses what every node is computed in: an exact integer program over accuracy, flash, RAM and instructions.

Noise is measured node by node (that one in the storage in question, the others in half precision, states carried along) and
taken to add up; what was chosen is then simulated as it is, and chosen again with a stricter limit until it holds. After HAWQ-V3
(Yao et al. 2021) and AdaQuant (Hubara et al. 2021), with costs that are measured on the target.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node
from edgeq.journal import Journal
from edgeq.lower import lower
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.quantize.allocate import (
    INSTRUCTIONS,
    LATENCY,
    NOISE,
    WORK,
    Allocator,
    Costs,
    Goal,
    Point,
    Problem,
    decibels,
    noise_of,
)
from edgeq.quantize.calibrate import Ranges
from edgeq.quantize.decide import listed
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.sensitivity import Probe
from edgeq.quantize.storage import HALF, INT8, INT16, STORAGES, WEIGHTS, Unit, roles, spread, uniform, units
from edgeq.simulate import fit_inputs
from edgeq.target import load as load_target
from edgeq.tune.judge import FRAMES, Judge
from edgeq.tune.measure import costs as costs_of
from edgeq.tune.measure import executed
from edgeq.tune.wanted import Wanted

DROP = 24.0  # dB, where nothing else is asked for
MARGIN = 3.0  # dB that the samples must keep beyond a drop: other recordings differ from them by as much
TURNS = 12  # how often a choice that does not hold is tightened
LENIENT = 0.5  # dB by which a choice may miss that as predicted, not as measured: noises tend to add up to less than their sum
STRICTER = 0.999
CONFIDENCE = 0.9  # in what is said of recordings that nobody has heard
LOUDER, FOLLOWED = 1e-6, 90.0  # an input that is so much louder; dB that outputs of a network that does not amplify keep of 120
# Where nothing is measured: instructions per multiply-accumulate, per element of what is no layer, and per element of a cast.
PER_MAC, PER_ELEMENT, PER_CAST = {INT8: 1.0, HALF: 3.0, WEIGHTS: 4.0, INT16: 2.0}, 20.0, 20.0
INTEGER = {DType.INT8: INT8, DType.INT16: INT16, DType.INT32: INT16}
CASTS = (Quantize.kind(), Dequantize.kind())
Progress = Callable[[int, int], None]
LOG = logging.getLogger("edgeq")


@dataclass(frozen=True)
class Found:
    """The allocation that holds.

    Attributes:
        storage: node -> storage.
        sqnr_db: measured, on samples that the graph was not fitted to.
        judged: the share of these that counted.
        point: what it is predicted to cost.
        front: the Pareto front of cost and noise, cheapest first, without limits.
        cells: what cell states are stored in, where their layers are in integers.
        pieces: the measured dB of every piece of the samples that counted, each judged by what was fitted without its half.
        loss: measured percentage points of right answers, where asked for.
    """

    graph: Graph
    units: tuple[Unit, ...]
    costs: Costs
    storage: Mapping[str, str]
    sqnr_db: float
    judged: float
    point: Point
    front: tuple[Point, ...]
    cells: Mapping[str, DType]
    pieces: tuple[float, ...]
    loss: float | None = None

    def record(self) -> dict[str, Any]:
        """As JSON."""
        nodes = [
            {
                "name": n.name, "storage": self.storage[n.name], "roles": self._roles(n),
                "flash": {s: self.costs.flash[u.name, s] for s in u.choices},
                "instructions": {s: round(self.costs.instructions[u.name, s]) for s in u.choices},
                "sqnr_db": {s: None if s == HALF else round(decibels(self.costs.noise[u.name, s]), 2) for s in u.choices},
            }
            for u in self.units for n in u.computing
        ]  # fmt: skip
        points = [p for p in self.front if p.chosen != self.point.chosen] + [self.point]
        return {
            "costs": "measured" if self.costs.measured else "estimated", "sqnr_db": round(self.sqnr_db, 2), "judged": round(self.judged, 3),
            "worst_piece_db": round(min(self.pieces), 2), "pieces": len(self.pieces), "below_at_most": round(self.below(), 3),
            "nodes": nodes,
            **({} if self.loss is None else {"loss": round(self.loss, 3)}),
            "pareto": [self._row(p) for p in sorted(points, key=lambda p: p.sqnr_db)],
        }  # fmt: skip

    def price(self, aim: str) -> float:
        """Whose lesser value is the better of two forms of one network: flash and instructions, the one that is no aim a tenth."""
        if aim == NOISE:
            return -self.sqnr_db
        flash, work = float(reals.log10(max(1, self.point.flash))), float(reals.log10(max(1.0, self.point.instructions)))
        return work + WORK * flash if aim in (INSTRUCTIONS, LATENCY) else flash + WORK * work

    def below(self) -> float:
        """How many other recordings may do worse than the worst piece, at most, with a confidence of `CONFIDENCE`."""
        return 1 - reals.exp10(float(reals.log10(1 - CONFIDENCE)) / len(self.pieces))

    def _roles(self, node: Node) -> str:
        storage = self.storage[node.name]
        return roles(node, storage, self.cells.get(node.outputs[-1]) if storage == INT8 else None)

    def _row(self, p: Point) -> dict[str, Any]:
        nodes = listed(self.graph, spread(self.units, p.chosen))
        return {
            "flash": p.flash, "instructions": round(p.instructions), "sqnr_db": round(p.sqnr_db, 2),
            "storage": {n: s for n, s in nodes.items() if s != HALF}, "chosen": dict(p.chosen) == dict(self.point.chosen),
        }  # fmt: skip


@dataclass(frozen=True)
class _Tried:
    """What came out of an allocation: noise over signal, that of pieces in dB, bytes of RAM, lost answers; None: not asked for."""

    sqnr_db: float
    pieces: Sequence[float]
    ram: int | None
    loss: float | None


def _tried(judge: Judge, storage: Mapping[str, str], goal: Goal) -> dict[str, Any]:
    """`_Tried` as JSON."""
    outputs = judge.outputs(storage)
    ram = None if goal.ram is None else judge.ram(storage, goal.target)
    loss = None if goal.loss is None else judge.loss(outputs)
    return asdict(_Tried(decibels(judge.noise(outputs)), judge.pieces(outputs), ram, loss))


def search(graph: Graph, ranges: Ranges, wanted: Wanted, kept: Journal, progress: Progress | None = None) -> Found:
    """Choose a storage for every node within a goal.

    Args:
        graph: float.
        ranges: its calibration.
        kept: what was measured, here or by a run that was ended; of this graph, these samples and what is wanted alone.
        progress: called with (graphs measured, graphs in all if no choice holds).

    Raises:
        EdgeqError: see `Wanted.check`; a measure that does not know the graph; nothing keeps to the goal.
    """
    goal = wanted.goal
    if goal.drop is None and goal.loss is None and goal.aim != NOISE:
        goal = replace(goal, drop=DROP)
        wanted = replace(wanted, goal=goal)
    wanted.check()
    warn_of_amplification(graph, ranges, goal)
    judge = Judge(graph, ranges, wanted.options, wanted.labels)
    found = tuple(units(graph))
    count = sum(len(u.choices) - (HALF in u.choices) for u in found if len(u.choices) > 1) + 1 + len(STORAGES)
    done = itertools.count(1)

    def tell() -> None:
        if progress:
            progress(min(next(done), count + TURNS), count + TURNS)

    costs = _costs(graph, found, judge, wanted, kept, tell)
    program = Allocator(Problem(graph, found, costs), wanted.allocate)
    front = tuple(program.front())
    trials = _by_noise(program, goal) if goal.loss is None else _by_loss(program, goal, front)
    lost: list[float] = []
    for trial in trials:
        storage = spread(found, trial.point.chosen)
        came = _Tried(**kept.once(f"trial {json.dumps(storage, sort_keys=True)}", _tried, judge, storage, goal))
        tell()
        trial.sqnr_db, trial.worst_db = came.sqnr_db, min(came.pieces)
        trial.excess = 0 if goal.ram is None or came.ram is None else came.ram - goal.ram
        lost += [] if came.loss is None else [came.loss]
        quiet = goal.drop is None or (trial.sqnr_db >= goal.drop + MARGIN and trial.worst_db >= goal.drop)
        if trial.excess <= 0 and quiet and (goal.loss is None or lost[-1] <= goal.loss):
            measured = (judge.cells, tuple(came.pieces), came.loss)
            return Found(graph, found, costs, storage, trial.sqnr_db, judge.share, trial.point, front, *measured)
    raise _refused(graph, program, front, lost, goal)


def _refused(graph: Graph, program: Allocator, front: Sequence[Point], lost: Sequence[float], goal: Goal) -> EdgeqError:
    """That nothing keeps to the goal, with what is within reach: the least noise, lost answers, and the fastest where time is limited."""
    best = max(front, key=lambda p: p.sqnr_db)
    least = f", {min(lost):.2f} % of the answers lost at least" if lost else ""
    work = "instructions" if goal.cycles is None else "cycles"
    limited = (goal.instructions, goal.cycles) != (None, None)
    fast = (program.solve(Goal(aim=LATENCY, drop=goal.drop)) or program.solve(Goal(aim=LATENCY))) if limited else None
    fastest = f"the fastest takes {fast.instructions:.0f} {work}, with {fast.sqnr_db:.1f} dB; " if fast else ""
    return EdgeqError(
        "no choice of int8 and half precision fits the budget", where=graph.name,
        why=f"{fastest}the least noise, {best.sqnr_db:.1f} dB, takes {best.flash} bytes of flash and {best.instructions:.0f} {work}{least}",
        fix="allow more, see the table of recipe auto with a looser budget",
    )  # fmt: skip


@dataclass
class _Trial:
    """An allocation to be tried, and what came out: noise, that of the worst piece, and bytes of RAM beyond the goal's."""

    point: Point
    sqnr_db: float = 0.0
    worst_db: float = 0.0
    excess: int = 0


def _by_noise(program: Allocator, goal: Goal) -> Iterator[_Trial]:
    """The best allocation, again and again with stricter limits where it did not hold."""
    limit, ram = reals.exp10((LENIENT - MARGIN) / 10), goal.ram
    for _ in range(TURNS):
        point = program.solve(goal, limit, ram)
        if point is None:
            return
        trial = _Trial(point)
        yield trial
        if ram is not None and trial.excess > 0:
            ram -= trial.excess
        elif goal.drop is not None:  # by half of what is missing
            missing = min(trial.sqnr_db - goal.drop - MARGIN, trial.worst_db - goal.drop)
            limit = min(limit * reals.exp10(missing / 20), STRICTER * program.problem.share(point, goal.drop))


def _by_loss(program: Allocator, goal: Goal, front: tuple[Point, ...]) -> Iterator[_Trial]:
    """The cheapest allocations for less and less noise; with less RAM where it did not suffice."""
    seen: list[Mapping[str, str]] = []
    ram = goal.ram
    for limit in (p.sqnr_db for p in front):
        for _ in range(TURNS):
            point = program.solve(replace(goal, drop=max(limit, goal.drop or limit)), ram=ram)
            if point is None or point.chosen in seen:
                break
            seen.append(point.chosen)
            trial = _Trial(point)
            yield trial
            if ram is None or trial.excess <= 0:
                break
            ram -= trial.excess


def warn_of_amplification(graph: Graph, ranges: Ranges, goal: Goal) -> None:
    """Say, in one line, if the float network itself makes more of a tiny change of its inputs: no rounding is small enough for it."""
    samples = {n: ranges.samples[n][:FRAMES] for n in graph.given}
    usual = evaluate_float(graph, samples)
    moved = evaluate_float(graph, {n: (a * np.float32(1 + LOUDER)).astype(np.float32) for n, a in samples.items()})
    kept = decibels(noise_of(moved, {n: a.astype(np.float64) for n, a in usual.items()}))
    if kept < FOLLOWED:
        LOG.warning(
            "the float network amplifies: inputs that are %g louder keep %.0f of 120 dB at its outputs, so that other recordings may fall "
            "far below the %s asked for. Fix: calibrate with all that it will hear, or train it with noise on its states",
            LOUDER, kept, "noise" if goal.drop is None else f"{goal.drop:g} dB",
        )  # fmt: skip


def _costs(graph: Graph, found: tuple[Unit, ...], judge: Judge, wanted: Wanted, kept: Journal, tell: Callable[[], None]) -> Costs:
    """Measure what every unit costs in every storage."""
    goal = wanted.goal
    half, folds = uniform(graph, HALF), 2 if graph.states else 1  # the halves of a stream differ, other samples are drawn alike
    halves = judge.outputs(half, folds)
    if goal.drop is not None and graph.states:
        judge.spare(halves, goal.drop + MARGIN)
    base = judge.noise(halves)
    tell()
    zero = np.zeros_like(base)
    probe = Probe(graph, judge.samples, half, base, lambda storage: judge.noise(judge.outputs(storage, folds)))
    noise = {(u.name, s): zero for u in found for s in u.choices}
    for u in found:
        for s in u.choices if len(u.choices) > 1 else ():
            if s != HALF:
                noise[u.name, s] = wanted.noise(kept, probe, u, s)
                tell()
    flash: dict[tuple[str, str], int] = {}
    instructions: dict[tuple[str, str], float] = {}
    rates: list[tuple[str, float]] = []
    measured = goal.target is not None and goal.target.runners[0] != "host"
    for s in STORAGES:
        storage = uniform(graph, s)
        tables, steps, casts = kept.once(f"costs {s}", _measure, judge, storage, goal, measured)
        rates += casts
        for u in found:
            if storage[u.name] not in u.choices or (storage[u.name] != s and s != HALF):
                continue
            flash[u.name, storage[u.name]] = sum(tables.get(n.name, 0) for n in u.nodes)
            instructions[u.name, storage[u.name]] = sum(steps.get(n.name, 0.0) for n in u.nodes)
        tell()
    means = {kind: float(np.mean(seen)) if (seen := [n for k, n in rates if k == kind]) else PER_CAST for kind in CASTS}
    return Costs(flash, instructions, means, noise, base, measured)


def _measure(
    judge: Judge, storage: Mapping[str, str], goal: Goal, measured: bool
) -> tuple[dict[str, int], dict[str, float], list[tuple[str, float]]]:
    """Per node bytes of tables and instructions of one inference; of every cast its kind and instructions per element."""
    graph = judge.coarse(storage)
    program = lower(graph, goal.target or load_target("host"))
    tables = {c.node.name: sum(t.nbytes for t in c.tables.values()) for c in program.calls}
    counts: list[float] = []
    if measured and goal.target is not None:
        inputs = {n: a[:1] for n, a in fit_inputs(graph, judge.samples).items()}
        ran, instructions = executed(program, goal.target, inputs, goal.toolchain, goal.optimize)
        counts = [float(n) for n in (instructions if goal.cycles is None else costs_of(ran)[1])]
    else:
        for c in program.calls:
            first = graph.type(c.output)
            weights = next((t for n, t in c.tables.items() if n.endswith("weights")), None)
            halves = first.dtype is DType.FLOAT16
            kind = WEIGHTS if halves and weights is not None and weights.dtype == np.int8 else HALF if halves else INTEGER[first.dtype]
            counts.append(c.macs * PER_MAC[kind] + first.size * (PER_CAST if c.node.op.traits.casts else PER_ELEMENT))
    pairs = list(zip(program.calls, counts, strict=True))
    casts = [(c.node.op.kind(), n / graph.type(c.output).size) for c, n in pairs if c.node.op.traits.casts]
    return tables, {c.node.name: n for c, n in pairs}, casts
