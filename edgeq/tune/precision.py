"""Chooses what every node is computed in: an exact integer program over accuracy, flash, RAM and instructions.

Noise is measured node by node (that one in the storage in question, the others in half precision, states carried along) and
taken to add up; what was chosen is then simulated as it is, and chosen anew with a stricter limit until it holds. After HAWQ-V3
(Yao et al. 2021) and AdaQuant (Hubara et al. 2021), with costs that are measured on the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize as solver
from scipy import sparse

from edgeq.build import temporary_folder
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph
from edgeq.lower import lower
from edgeq.ops.reshape import Reshape
from edgeq.plan import plan
from edgeq.quantize.decide import decide, listed
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.options import Options
from edgeq.quantize.quantizer import quantize_decided
from edgeq.quantize.ranges import Ranges
from edgeq.quantize.storage import HALF, INT8, STORAGES, Unit, roles, spread, uniform, units
from edgeq.run import run
from edgeq.simulate import dequantize_array, fit_inputs, simulate
from edgeq.target import Target
from edgeq.target import load as load_target

DROP = 24.0  # dB, where nothing else is asked for
FRAMES = 256  # samples that noise is measured on
TURNS = 12  # how often a choice that does not hold is tightened
POINTS = 24  # of the front
STRICTER = 0.999
# Where nothing is measured: instructions per multiply-accumulate, per element of what is no layer, and per element of a cast.
PER_MAC, PER_ELEMENT, PER_CAST = {INT8: 1.0, HALF: 3.0, "w8a16": 4.0}, 20.0, 20.0
CASTS = ("quantize", "dequantize")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Goal:
    """Limits, None where there is none.

    Attributes:
        target: whose kernels and instructions count; None: the host's kernels, instructions estimated.
        flash, ram: bytes of weights and tables; of arena and states.
        instructions: per inference.
        drop: dB: the least signal over noise of every output. Without it noise is made as small as the other limits allow.
    """

    target: Target | None = None
    toolchain: str | None = None
    optimize: str = "s"
    flash: int | None = None
    ram: int | None = None
    instructions: int | None = None
    drop: float | None = None


@dataclass(frozen=True)
class Costs:
    """Per unit and storage; casts per element.

    Attributes:
        noise: noise over signal per output, ``[outputs]``, beyond that of half precision everywhere.
        base: of half precision everywhere.
    """

    flash: Mapping[tuple[str, str], int]
    instructions: Mapping[tuple[str, str], float]
    casts: Mapping[str, float]
    noise: Mapping[tuple[str, str], Array]
    base: Array
    measured: bool


@dataclass(frozen=True)
class Point:
    """One allocation, unit -> storage, with what it costs and the least predicted signal over noise."""

    chosen: Mapping[str, str]
    flash: int
    instructions: float
    sqnr_db: float


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


def decibels(noise: Array) -> float:
    """The least signal over noise of the outputs."""
    return float(-10 * np.log10(max(1e-15, float(np.max(noise)))))


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
    program = _Program(graph, found, costs)
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
            t = quantized.type(name)
            values = dequantize_array(got[name], t.scale, t.zero_point) if t.q else got[name].astype(np.float64)
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
        with temporary_folder() as work:
            folder = Path(work) / "model"
            write(emit(program, plan(program), "model"), folder)
            inputs = {n: a[:1] for n, a in fit_inputs(graph, samples).items()}
            ran = run(folder, goal.target, inputs, steps=True, chain=goal.toolchain, optimize=f"-O{goal.optimize}")
        if ran.step_instructions is None:
            raise EdgeqError(f"runner {ran.runner} counts no instructions", where=goal.target.name, fix="leave the target out")
        counts = [float(n) for n in ran.step_instructions]
    else:
        for c in program.calls:
            first = graph.type(c.output)
            weights = next((t for n, t in c.tables.items() if n.endswith("weights")), None)
            halves = first.dtype is DType.FLOAT16
            kind = "w8a16" if halves and weights is not None and weights.dtype == np.int8 else HALF if halves else INT8
            counts.append(c.macs * PER_MAC[kind] + first.size * (PER_CAST if c.node.op.kind() in CASTS else PER_ELEMENT))
    for c, n in zip(program.calls, counts, strict=True):
        if c.node.op.kind() in CASTS:
            rates[c.node.op.kind()].append(n / graph.type(c.output).size)
    return tables, {c.node.name: n for c, n in zip(program.calls, counts, strict=True)}


class _Program:
    """The integer program. Variables: one per unit and storage, one per tensor and cast (1 where the cast is made)."""

    def __init__(self, graph: Graph, found: tuple[Unit, ...], costs: Costs) -> None:
        self.graph, self.costs = graph, costs
        self.choices = [(u.name, s) for u in found for s in u.choices]
        self.index = {choice: i for i, choice in enumerate(self.choices)}
        self.unit = {n.name: u.name for u in found for n in u.nodes}
        self.home = {t: self.unit[n.name] for n in graph.nodes for t in n.outputs}
        self.home |= {a: self.home[b] for a, b in graph.states if b in self.home}
        self.casts: dict[tuple[str, str], int] = {}
        rows: list[dict[int, float]] = []
        for reader, t in [(self.unit[n.name], t) for n in graph.nodes for t in n.inputs if not graph.tensors[t].is_constant] + [
            ("", t) for t in graph.results
        ]:
            if self.home.get(t, "") != reader:
                for kind, sign in (("quantize", 1.0), ("dequantize", -1.0)):  # a cast is made if reader and home differ that way
                    cast = self.casts.setdefault((t, kind), len(self.choices) + len(self.casts))
                    row = {cast: -1.0}
                    for unit, factor in ((reader, sign), (self.home.get(t, ""), -sign)):
                        if (unit, INT8) in self.index:
                            row[self.index[unit, INT8]] = row.get(self.index[unit, INT8], 0.0) + factor
                    rows.append(row)
        self.size = len(self.choices) + len(self.casts)
        one = [{self.index[u.name, s]: 1.0 for s in u.choices} for u in found]
        self.fixed = [self._constraint(rows, -np.inf, 0.0)] if rows else []
        self.fixed.append(self._constraint(one, 1.0, 1.0))
        self.flash = np.array([float(costs.flash[c]) for c in self.choices] + [8.0] * len(self.casts))
        elements = [costs.casts[kind] * graph.type(t).size for t, kind in self.casts]
        self.instructions = np.array([costs.instructions[c] for c in self.choices] + elements)
        self.noise = np.array([[costs.noise[c][o] for c in self.choices] + [0.0] * len(self.casts) for o in range(len(costs.base))])
        self.live = [self._bytes(i) for i in range(len(graph.nodes))]

    def _constraint(self, rows: list[dict[int, float]], low: float, high: float) -> solver.LinearConstraint:
        matrix = sparse.lil_matrix((len(rows), self.size))
        for i, row in enumerate(rows):
            for j, value in row.items():
                matrix[i, j] = value
        return solver.LinearConstraint(matrix.tocsr(), low, high)

    def _bytes(self, at: int) -> tuple[dict[int, float], float]:
        """Live bytes while a node runs: factors of the variables, and a constant. Cell states and the like are counted as halves."""
        graph, nodes = self.graph, self.graph.nodes
        row: dict[int, float] = {}
        constant = 0.0
        kept = {a for a, _ in graph.states}
        for t, tensor in graph.tensors.items():
            if tensor.is_constant:
                continue
            made = next((i for i, n in enumerate(nodes) if t in n.outputs), -1)
            last = max((i for i, n in enumerate(nodes) if t in n.inputs), default=made)
            last = len(nodes) if t in graph.outputs or t in kept else last
            if not made <= at <= last or (made >= 0 and isinstance(nodes[made].op, Reshape)):
                continue
            size = float(tensor.type.size)
            constant += 2 * size
            if (self.home.get(t, ""), INT8) in self.index and len(self._tied(t)) == 0:
                row[self.index[self.home[t], INT8]] = row.get(self.index[self.home[t], INT8], 0.0) - size
            if t in nodes[at].inputs:
                for kind, factor in (("quantize", size), ("dequantize", 2 * size)):
                    if (t, kind) in self.casts:
                        row[self.casts[t, kind]] = factor
        return row, constant

    def _tied(self, t: str) -> tuple[str, ...]:
        """The recurrent layers whose cell state a tensor is."""
        return tuple(n.name for n in self.graph.nodes if n.op.kind() == "lstm" and t in (*n.inputs[5:], *n.outputs[1:]))

    def share(self, point: Point, drop: float) -> float:
        """Predicted noise of a point, as part of what a drop allows."""
        return float(10 ** ((drop - point.sqnr_db) / 10))

    def solve(self, goal: Goal, limit: float, ram: int | None) -> Point | None:
        """The best allocation within a goal, None where there is none.

        Args:
            limit: which part of the noise that `goal.drop` allows may be used.
            ram: bytes that may be live.
        """
        base = self.costs.base
        constraints = list(self.fixed)
        weights = self.flash / max(1.0, self._half(self.flash)) + self.instructions / max(1.0, self._half(self.instructions))
        if goal.flash is not None:
            constraints.append(solver.LinearConstraint(self.flash[None], -np.inf, float(goal.flash)))
        if goal.instructions is not None:
            constraints.append(solver.LinearConstraint(self.instructions[None], -np.inf, float(goal.instructions)))
        if ram is not None:
            for row, constant in self.live:
                constraints.append(self._constraint([row], -np.inf, ram - constant))
        if goal.drop is not None:
            allowed = limit * 10 ** (-goal.drop / 10)
            if (base > allowed).any():
                return None
            constraints.append(solver.LinearConstraint(self.noise / allowed, -np.inf, 1 - base / allowed))
        else:  # as little noise as may be: one more variable, above that of every output
            return self._quietest(constraints, weights)
        return self._solved(solver.milp(weights, constraints=constraints, integrality=self._whole(), bounds=solver.Bounds(0, 1)))

    def _quietest(self, constraints: list[solver.LinearConstraint], weights: Array) -> Point | None:
        scale = max(float(self.noise.max()), 1e-15)
        padded = [(sparse.hstack([sparse.csr_matrix(c.A), sparse.csr_matrix((c.A.shape[0], 1))]), c) for c in constraints]
        wide = [solver.LinearConstraint(matrix, c.lb, c.ub) for matrix, c in padded]
        bound = np.hstack([self.noise / scale, -np.ones((len(self.noise), 1))])
        wide.append(solver.LinearConstraint(bound, -np.inf, -self.costs.base / scale))
        whole = np.append(self._whole(), 0)
        limits = solver.Bounds(0, np.append(np.ones(self.size), np.inf))
        return self._solved(solver.milp(np.append(weights * 1e-6, 1.0), constraints=wide, integrality=whole, bounds=limits))

    def _whole(self) -> Array:
        """Which variables are whole: casts follow from the choices."""
        return np.array([int(i < len(self.choices)) for i in range(self.size)])

    def _half(self, values: Array) -> float:
        return float(sum(v for (_, s), v in zip(self.choices, values, strict=False) if s == HALF))

    def _solved(self, result: Any) -> Point | None:
        if result.x is None:
            return None
        x = np.asarray(result.x)[: self.size]
        x[: len(self.choices)] = np.rint(x[: len(self.choices)])
        chosen = {unit: s for (unit, s), value in zip(self.choices, x, strict=False) if value > 0.5}
        return Point(chosen, round(float(self.flash @ x)), float(self.instructions @ x), decibels(self.costs.base + self.noise @ x))

    def front(self) -> list[Point]:
        """Allocations that no other beats in both cost and noise, cheapest first."""
        points: list[Point] = []
        goal = Goal(drop=-100.0)
        while len(points) < POINTS:
            point = self.solve(goal, 1.0, None)
            if point is None:
                break
            points.append(point)
            goal = Goal(drop=point.sqnr_db + 0.01)
        return points
