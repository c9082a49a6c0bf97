"""Chooses what every node is computed in: an exact integer program over accuracy, flash, RAM and instructions.

Noise is measured node by node (that one in the storage in question, the others in half precision, states carried along) and
taken to add up; what was chosen is then simulated as it is, and chosen anew with a stricter limit until it holds. After HAWQ-V3
(Yao et al. 2021) and AdaQuant (Hubara et al. 2021), with costs that are measured on the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.quantize.decide import decide, listed
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.options import Options
from edgeq.quantize.quantizer import quantize_decided
from edgeq.quantize.ranges import Ranges
from edgeq.quantize.storage import HALF, INT8, STORAGES, WEIGHTS, Unit, roles, spread, uniform, units
from edgeq.simulate import fit_inputs, real_array, simulate
from edgeq.target import load as load_target
from edgeq.tune.allocation import Allocator, Costs, Goal, Point, decibels
from edgeq.tune.measure import executed

DROP = 24.0  # dB, where nothing else is asked for
FRAMES = 256  # samples that noise is measured on
TURNS = 12  # how often a choice that does not hold is tightened
STRICTER = 0.999
# Where nothing is measured: instructions per multiply-accumulate, per element of what is no layer, and per element of a cast.
PER_MAC, PER_ELEMENT, PER_CAST = {INT8: 1.0, HALF: 3.0, WEIGHTS: 4.0}, 20.0, 20.0
CASTS = ("quantize", "dequantize")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Found:
    """The allocation that holds.

    Attributes:
        storage: node -> storage.
        sqnr_db: measured.
        point: what it is predicted to cost.
        front: the Pareto front of cost and noise, cheapest first, without limits.
    """

    graph: Graph
    units: tuple[Unit, ...]
    costs: Costs
    storage: Mapping[str, str]
    sqnr_db: float
    point: Point
    front: tuple[Point, ...]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        nodes = [
            {
                "name": n.name, "storage": self.storage[n.name], "roles": roles(n, self.storage[n.name]),
                "flash": {s: self.costs.flash[u.name, s] for s in u.choices},
                "instructions": {s: round(self.costs.instructions[u.name, s]) for s in u.choices},
                "sqnr_db": {s: None if s == HALF else round(decibels(self.costs.noise[u.name, s]), 2) for s in u.choices},
            }
            for u in self.units for n in u.computing
        ]  # fmt: skip
        points = [p for p in self.front if p.chosen != self.point.chosen] + [self.point]
        return {
            "costs": "measured" if self.costs.measured else "estimated", "sqnr_db": round(self.sqnr_db, 2), "nodes": nodes,
            "pareto": [self._row(p) for p in sorted(points, key=lambda p: p.sqnr_db)],
        }  # fmt: skip

    def _row(self, p: Point) -> dict[str, Any]:
        nodes = listed(self.graph, spread(self.units, p.chosen))
        return {
            "flash": p.flash, "instructions": round(p.instructions), "sqnr_db": round(p.sqnr_db, 2),
            "storage": {n: s for n, s in nodes.items() if s != HALF}, "chosen": dict(p.chosen) == dict(self.point.chosen),
        }  # fmt: skip


def search(graph: Graph, ranges: Ranges, goal: Goal, options: Options | None = None, progress: Progress | None = None) -> Found:
    """Choose a storage for every node within a goal.

    Args:
        graph: float.
        ranges: its calibration.
        options: of quantization.
        progress: called with (graphs measured, graphs in all).

    Raises:
        EdgeqError: nothing keeps to the goal; says what is within reach.
    """
    if all(v is None for v in (goal.flash, goal.ram, goal.instructions, goal.drop)):
        goal = Goal(goal.target, goal.toolchain, goal.optimize, drop=DROP)
    judge = _Judge(graph, ranges, options)
    found = tuple(units(graph))
    costs = _costs(graph, found, judge, goal, progress)
    program = Allocator(graph, found, costs)
    limit, ram = 1.0, goal.ram
    for _ in range(TURNS):
        point = program.solve(goal, limit, ram)
        if point is None:
            break
        storage = spread(found, point.chosen)
        quantized = judge.quantized(storage)
        sqnr = decibels(judge.noise(quantized))
        lowered = lower(quantized, goal.target or load_target("host"))
        need = plan(lowered).arena_bytes + sum(quantized.type(a).bytes for a, _ in quantized.states)
        if goal.ram is not None and ram is not None and need > goal.ram:
            ram -= need - goal.ram
        elif goal.drop is not None and sqnr < goal.drop:
            limit = min(limit * 10 ** ((sqnr - goal.drop) / 10), STRICTER * program.share(point, goal.drop))
        else:
            return Found(graph, found, costs, storage, sqnr, point, tuple(program.front()))
    best = max(program.front(), key=lambda p: p.sqnr_db)
    raise EdgeqError(
        "no choice of int8 and half precision keeps to the budget", where=graph.name,
        why=f"the least noise, {best.sqnr_db:.1f} dB, takes {best.flash} bytes of flash and {best.instructions:.0f} instructions",
        fix="allow more, see the table of recipe auto with a looser budget",
    )  # fmt: skip


class _Judge:
    """Quantizes by a storage and measures what comes out against the float graph."""

    def __init__(self, graph: Graph, ranges: Ranges, options: Options | None) -> None:
        self.graph, self.ranges, self.options = graph, ranges, options
        count = min(FRAMES, ranges.vectors)
        at = np.arange(count) if graph.states else np.arange(count) * ranges.vectors // count
        self.samples = {n: ranges.samples[n][at] for n in graph.given}
        outputs = evaluate_float(graph, self.samples)
        self.real = {n: outputs[n].astype(np.float64) for n in graph.results}

    def quantized(self, storage: Mapping[str, str]) -> Graph:
        return quantize_decided(decide(self.graph, self.ranges, self.options, nodes=storage))

    def noise(self, quantized: Graph) -> Array:
        """Noise over signal per output."""
        got = simulate(quantized, self.samples).outputs
        result = []
        for name, real in self.real.items():
            values = real_array(got[name], quantized.type(name)).astype(np.float64)
            result.append(float(((values - real) ** 2).sum()) / max(float((real**2).sum()), 1e-30))
        return np.array(result)


def _costs(graph: Graph, found: tuple[Unit, ...], judge: _Judge, goal: Goal, progress: Progress | None) -> Costs:
    """Measure what every unit costs in every storage."""
    alone = [(u, s) for u in found for s in u.choices if s != HALF and len(u.choices) > 1]
    total, done = len(alone) + 1 + len(STORAGES), 0
    half = uniform(graph, HALF)
    base = judge.noise(judge.quantized(half))
    zero = np.zeros_like(base)
    noise = {(u.name, s): zero for u in found for s in u.choices}
    for u, s in alone:
        noise[u.name, s] = np.maximum(judge.noise(judge.quantized({**half, **{n.name: s for n in u.nodes}})) - base, 0)
        done += 1
        if progress:
            progress(done, total)
    flash: dict[tuple[str, str], int] = {}
    instructions: dict[tuple[str, str], float] = {}
    rates: dict[str, list[float]] = {kind: [] for kind in CASTS}
    measured = goal.target is not None and goal.target.runners[0] != "host"
    for s in STORAGES:
        storage = uniform(graph, s)
        tables, steps = _measure(judge.quantized(storage), judge.samples, goal, measured, rates)
        for u in found:
            if storage[u.name] not in u.choices or (storage[u.name] != s and s != HALF):
                continue
            flash[u.name, storage[u.name]] = sum(tables.get(n.name, 0) for n in u.nodes)
            instructions[u.name, storage[u.name]] = sum(steps.get(n.name, 0.0) for n in u.nodes)
        done += 1
        if progress:
            progress(done, total)
    casts = {kind: float(np.mean(found)) if found else PER_CAST for kind, found in rates.items()}
    return Costs(flash, instructions, casts, noise, base, measured)


def _measure(
    graph: Graph, samples: Mapping[str, Array], goal: Goal, measured: bool, rates: dict[str, list[float]]
) -> tuple[dict[str, int], dict[str, float]]:
    """Per node bytes of tables and instructions of one inference; casts add to `rates`."""
    program = lower(graph, goal.target or load_target("host"))
    tables = {c.node.name: sum(t.nbytes for t in c.tables.values()) for c in program.calls}
    counts: list[float] = []
    if measured and goal.target is not None:
        inputs = {n: a[:1] for n, a in fit_inputs(graph, samples).items()}
        counts = [float(n) for n in executed(program, goal.target, inputs, goal.toolchain, goal.optimize)[1]]
    else:
        for c in program.calls:
            first = graph.type(c.output)
            weights = next((t for n, t in c.tables.items() if n.endswith("weights")), None)
            halves = first.dtype is DType.FLOAT16
            kind = WEIGHTS if halves and weights is not None and weights.dtype == np.int8 else HALF if halves else INT8
            counts.append(c.macs * PER_MAC[kind] + first.size * (PER_CAST if c.node.op.kind() in CASTS else PER_ELEMENT))
    for c, n in zip(program.calls, counts, strict=True):
        if c.node.op.kind() in CASTS:
            rates[c.node.op.kind()].append(n / graph.type(c.output).size)
    return tables, {c.node.name: n for c, n in zip(program.calls, counts, strict=True)}
