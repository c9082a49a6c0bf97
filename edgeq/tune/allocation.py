"""The integer program that gives every unit of a graph a storage: exact, over noise, flash, RAM and instructions (HiGHS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from edgeq.ir import Array, Graph, Node
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.quantize.storage import HALF, INT8, INTEGERS, Unit
from edgeq.target import Target

CASTS = tuple((stored, kind, sign) for stored in INTEGERS for kind, sign in ((Quantize.kind(), 1.0), (Dequantize.kind(), -1.0)))
POINTS, FINER = 32, 0.5  # of the front, at least so many dB apart
WORK = 0.1  # what instructions weigh against flash: they decide between what takes about as much of it


def _cells(node: Node) -> set[str]:
    """The cell states of a node, before and after: what it keeps beside h."""
    return {n for before, after in node.op.traits.states[1:] for n in (node.inputs[before], node.outputs[after])}


@dataclass(frozen=True)
class Goal:
    """Limits, None where there is none.

    Attributes:
        target: whose kernels and instructions count; None: the host's kernels, instructions estimated.
        flash, ram: bytes of weights and tables; of arena and states.
        instructions: per inference.
        drop: dB: the least signal over noise of every output. Without it noise is made as small as the other limits allow.
        loss: percentage points of right answers that a classifier may lose.
    """

    target: Target | None = None
    toolchain: str | None = None
    optimize: str = "s"
    flash: int | None = None
    ram: int | None = None
    instructions: int | None = None
    drop: float | None = None
    loss: float | None = None


@dataclass(frozen=True)
class Costs:
    """Per unit and storage; casts per element.

    Attributes:
        noise: noise over signal per output (of every stream that judges), ``[outputs]``, beyond that of half precision everywhere.
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


def decibels(noise: Array) -> float:
    """The least signal over noise of the outputs."""
    return float(-10 * np.log10(max(1e-15, float(np.max(noise)))))


class Allocator:
    """The integer program of a graph. Variables: one per unit and storage, one per tensor and cast (1 where the cast is made)."""

    def __init__(self, graph: Graph, found: tuple[Unit, ...], costs: Costs) -> None:
        self.graph, self.costs = graph, costs
        self.choices = [(u.name, s) for u in found for s in u.choices]
        self.index = {choice: i for i, choice in enumerate(self.choices)}
        self.unit = {n.name: u.name for u in found for n in u.nodes}
        self.home = {t: self.unit[n.name] for n in graph.nodes for t in n.outputs}
        self.home |= {a: self.home[b] for a, b in graph.states if b in self.home}
        self.casts: dict[tuple[str, str, str], int] = {}
        rows: list[dict[int, float]] = []
        for reader, t in [(self.unit[n.name], t) for n in graph.nodes for t in n.inputs if not graph.tensors[t].is_constant] + [
            ("", t) for t in graph.results
        ]:
            if self.home.get(t, "") != reader:
                for stored, kind, sign in CASTS:  # a cast is made if reader and home differ that way
                    cast = self.casts.setdefault((t, stored, kind), len(self.choices) + len(self.casts))
                    row = {cast: -1.0}
                    for unit, factor in ((reader, sign), (self.home.get(t, ""), -sign)):
                        if (unit, stored) in self.index:
                            row[self.index[unit, stored]] = row.get(self.index[unit, stored], 0.0) + factor
                    rows.append(row)
        self.size = len(self.choices) + len(self.casts)
        one = [{self.index[u.name, s]: 1.0 for s in u.choices} for u in found]
        self.fixed = [self._constraint(rows, -np.inf, 0.0)] if rows else []
        self.fixed.append(self._constraint(one, 1.0, 1.0))
        self.flash = np.array([float(costs.flash[c]) for c in self.choices] + [8.0] * len(self.casts))
        elements = [costs.casts[kind] * graph.type(t).size for t, _, kind in self.casts]
        self.instructions = np.array([costs.instructions[c] for c in self.choices] + elements)
        self.noise = np.array([[costs.noise[c][o] for c in self.choices] + [0.0] * len(self.casts) for o in range(len(costs.base))])
        self.live = [self._bytes(i) for i in range(len(graph.nodes))]

    def _constraint(self, rows: list[dict[int, float]], low: float, high: float) -> scipy.optimize.LinearConstraint:
        matrix = scipy.sparse.lil_matrix((len(rows), self.size))
        for i, row in enumerate(rows):
            for j, value in row.items():
                matrix[i, j] = value
        return scipy.optimize.LinearConstraint(matrix.tocsr(), low, high)

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
            if not made <= at <= last or (made >= 0 and nodes[made].op.traits.view):
                continue
            size = float(tensor.type.size)
            constant += 2 * size
            if (self.home.get(t, ""), INT8) in self.index and len(self._tied(t)) == 0:
                row[self.index[self.home[t], INT8]] = row.get(self.index[self.home[t], INT8], 0.0) - size
            if t in nodes[at].inputs:
                for stored, kind, _ in CASTS:
                    if (t, stored, kind) in self.casts:
                        row[self.casts[t, stored, kind]] = size if (stored, kind) == (INT8, Quantize.kind()) else 2 * size
        return row, constant

    def _tied(self, t: str) -> tuple[str, ...]:
        """The recurrent layers whose cell state a tensor is."""
        return tuple(n.name for n in self.graph.nodes if t in _cells(n))

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
        work = self.instructions / max(1.0, self._half(self.instructions))
        weights = self.flash / max(1.0, self._half(self.flash)) + WORK * work
        if goal.flash is not None:
            constraints.append(scipy.optimize.LinearConstraint(self.flash[None], -np.inf, float(goal.flash)))
        if goal.instructions is not None:
            constraints.append(scipy.optimize.LinearConstraint(self.instructions[None], -np.inf, float(goal.instructions)))
        if ram is not None:
            for row, constant in self.live:
                constraints.append(self._constraint([row], -np.inf, ram - constant))
        if goal.drop is not None:
            allowed = limit * 10 ** (-goal.drop / 10)
            if (base > allowed).any():
                return None
            constraints.append(scipy.optimize.LinearConstraint(self.noise / allowed, -np.inf, 1 - base / allowed))
        else:  # as little noise as may be: one more variable, above that of every output
            return self._quietest(constraints, weights)
        bounds = scipy.optimize.Bounds(0, 1)
        return self._solved(scipy.optimize.milp(weights, constraints=constraints, integrality=self._whole(), bounds=bounds))

    def _quietest(self, constraints: list[scipy.optimize.LinearConstraint], weights: Array) -> Point | None:
        scale = max(float(self.noise.max()), 1e-15)
        padded = [(scipy.sparse.hstack([scipy.sparse.csr_matrix(c.A), scipy.sparse.csr_matrix((c.A.shape[0], 1))]), c) for c in constraints]
        wide = [scipy.optimize.LinearConstraint(matrix, c.lb, c.ub) for matrix, c in padded]
        bound = np.hstack([self.noise / scale, -np.ones((len(self.noise), 1))])
        wide.append(scipy.optimize.LinearConstraint(bound, -np.inf, -self.costs.base / scale))
        whole = np.append(self._whole(), 0)
        limits = scipy.optimize.Bounds(0, np.append(np.ones(self.size), np.inf))
        return self._solved(scipy.optimize.milp(np.append(weights * 1e-6, 1.0), constraints=wide, integrality=whole, bounds=limits))

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
        """Allocations that no other beats in both cost and noise, cheapest first; the last is the quietest."""
        points: list[Point] = []
        goal = Goal(drop=-100.0)
        while len(points) < POINTS and (point := self.solve(goal, 1.0, None)):
            points.append(point)
            goal = Goal(drop=point.sqnr_db + FINER)
        quietest = self.solve(Goal(), 1.0, None)
        if quietest and (not points or quietest.sqnr_db > points[-1].sqnr_db):
            points.append(quietest)
        return points
