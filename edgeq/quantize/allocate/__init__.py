"""What every unit of a graph is stored in, within limits: one method, one file, found by scan.

A method is a module with ``choose(problem, wanted)``: the best choice of a `Problem`, unit -> storage, or None where none keeps to what
is `Wanted`. Its name is the file's. Noises of units, bytes and instructions are taken to add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgeq import reals
from edgeq.ir import Array, Graph, Node
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.quantize.methods import Methods
from edgeq.quantize.storage import HALF, INT8, INTEGERS, Unit
from edgeq.target import Target

CASTS = tuple((stored, kind, sign) for stored in INTEGERS for kind, sign in ((Quantize.kind(), 1.0), (Dequantize.kind(), -1.0)))
CAST_BYTES = 8.0  # of params
POINTS, FINER = 32, 0.5  # of the front, at least so many dB apart
WORK = 0.1  # what instructions weigh against flash where flash is the aim: they decide between what takes about as much of it
FLASH, INSTRUCTIONS, LATENCY, NOISE = "flash", "instructions", "latency", "noise"
AIMS = (FLASH, INSTRUCTIONS, LATENCY, NOISE)
EXACT = "integer-program"
NOTHING = -150.0  # dB, where nothing of a signal is left

Choose = Callable[["Problem", "Wanted"], "Mapping[str, str] | None"]
ALLOCATORS: Mapping[str, Choose] = Methods(__name__, __path__, "choose")


@dataclass(frozen=True)
class Goal:
    """Limits, None where there is none, and what is made small within them.

    Attributes:
        target: whose kernels and instructions count; None: the host's kernels, instructions estimated.
        flash, ram: bytes of weights and tables; of arena and states.
        instructions: per inference.
        cycles: the same, which are measured instead of instructions then.
        drop: dB: the least signal over noise of every output.
        loss: percentage points of right answers that a classifier may lose.
        aim: one of `AIMS`. Latency is taken to follow the instructions.
    """

    target: Target | None = None
    toolchain: str | None = None
    optimize: str = "s"
    flash: int | None = None
    ram: int | None = None
    instructions: int | None = None
    cycles: int | None = None
    drop: float | None = None
    loss: float | None = None
    aim: str = FLASH


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


@dataclass(frozen=True)
class Wanted:
    """What a choice has to keep to, infinite where there is no limit, and what it makes small.

    Attributes:
        flash, ram: bytes.
        instructions: per inference.
        noise: over signal, of every output.
        aim: one of `AIMS`.
    """

    flash: float = math.inf
    ram: float = math.inf
    instructions: float = math.inf
    noise: float = math.inf
    aim: str = FLASH


def noise_of(got: Mapping[str, Array], real: Mapping[str, Array]) -> Array:
    """Noise over signal of every output, ``[outputs]``; both in float64."""
    return np.array([float(((got[n] - a) ** 2).sum()) / max(float((a**2).sum()), 1e-30) for n, a in real.items()])


def decibels(noise: Array) -> float:
    """The least signal over noise of the outputs, at most 150; `NOTHING` where an output is infinite or no number."""
    most = float(np.max(noise))
    return float(-10 * reals.log10(max(1e-15, most))) if math.isfinite(most) else NOTHING


def _cells(node: Node) -> set[str]:
    """The cell states of a node, before and after: what it keeps beside h."""
    return {n for before, after in node.op.traits.states if after for n in (node.inputs[before], node.outputs[after])}


class Problem:
    """The costs of a graph as numbers of variables: one per unit and storage, one per tensor and cast (1 where the cast is made).

    Attributes:
        choices: (unit, storage) of the first variables; `index` is their inverse.
        casts: (tensor, storage, quantize or dequantize) -> variable.
        rows: per possible cast factors of variables; their sum is at most 0 where the cast is made if it has to be.
        flash, instructions: ``[variables]``.
        noise: ``[outputs, variables]``.
        live: per node bytes that are live while it runs: factors of variables, and a constant.
    """

    def __init__(self, graph: Graph, found: tuple[Unit, ...], costs: Costs) -> None:
        self.graph, self.units, self.costs = graph, found, costs
        self.choices = [(u.name, s) for u in found for s in u.choices]
        self.index = {choice: i for i, choice in enumerate(self.choices)}
        unit = {n.name: u.name for u in found for n in u.nodes}
        self.home = {t: unit[n.name] for n in graph.nodes for t in n.outputs}
        self.home |= {a: self.home[b] for a, b in graph.states if b in self.home}
        self.casts: dict[tuple[str, str, str], int] = {}
        self.rows: list[dict[int, float]] = []
        read = [(unit[n.name], t) for n in graph.nodes for t in n.inputs if not graph.tensors[t].is_constant]
        for reader, t in read + [("", t) for t in graph.results]:
            if self.home.get(t, "") != reader:
                self.rows += [self._cast(reader, t, stored, kind, sign) for stored, kind, sign in CASTS]
        self.size = len(self.choices) + len(self.casts)
        self.flash = np.array([float(costs.flash[c]) for c in self.choices] + [CAST_BYTES] * len(self.casts))
        elements = [costs.casts[kind] * graph.type(t).size for t, _, kind in self.casts]
        self.instructions = np.array([costs.instructions[c] for c in self.choices] + elements)
        self.noise = np.array([[costs.noise[c][o] for c in self.choices] + [0.0] * len(self.casts) for o in range(len(costs.base))])

    def _cast(self, reader: str, t: str, stored: str, kind: str, sign: float) -> dict[int, float]:
        """A cast is made if reader and home differ that way."""
        cast = self.casts.setdefault((t, stored, kind), len(self.choices) + len(self.casts))
        row = {cast: -1.0}
        for unit, factor in ((reader, sign), (self.home.get(t, ""), -sign)):
            if (unit, stored) in self.index:
                at = self.index[unit, stored]
                row[at] = row.get(at, 0.0) + factor
        return row

    @cached_property
    def live(self) -> list[tuple[dict[int, float], float]]:
        return [self._bytes(i) for i in range(len(self.graph.nodes))]

    def _bytes(self, at: int) -> tuple[dict[int, float], float]:
        """Live bytes while a node runs. Cell states and the like are counted as halves."""
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
            if (self.home.get(t, ""), INT8) in self.index and not any(t in _cells(n) for n in nodes):
                row[self.index[self.home[t], INT8]] = row.get(self.index[self.home[t], INT8], 0.0) - size
            if t in nodes[at].inputs:
                for stored, kind, _ in CASTS:
                    if (t, stored, kind) in self.casts:
                        row[self.casts[t, stored, kind]] = size if (stored, kind) == (INT8, Quantize.kind()) else 2 * size
        return row, constant

    @cached_property
    def weights(self) -> Array:
        """What flash costs, ``[variables]``, 1 for half precision everywhere, or for the dearest choices where there is none."""
        return self.flash / max(1.0, self._usual(self.flash))

    @cached_property
    def work(self) -> Array:
        """What instructions cost, ``[variables]``, likewise."""
        return self.instructions / max(1.0, self._usual(self.instructions))

    def price(self, aim: str) -> Array:
        """What is made small, ``[variables]``."""
        return self.work + WORK * self.weights if aim in (INSTRUCTIONS, LATENCY) else self.weights + WORK * self.work

    def _usual(self, values: Array) -> float:
        if any(s == HALF for _, s in self.choices):
            return float(sum(v for (_, s), v in zip(self.choices, values, strict=False) if s == HALF))
        return float(sum(max(values[self.index[u.name, s]] for s in u.choices) for u in self.units))

    def variables(self, chosen: Mapping[str, str]) -> Array:
        """A choice as variables: its casts are those that it needs."""
        x = np.zeros(self.size)
        x[[self.index[choice] for choice in chosen.items()]] = 1
        for row in self.rows:
            *others, cast = sorted(row)
            x[cast] = max(x[cast], sum(row[i] * x[i] for i in others))
        return x

    def point(self, chosen: Mapping[str, str]) -> Point:
        """What a choice costs."""
        x = self.variables(chosen)
        flash, instructions = (float((v * x).sum()) for v in (self.flash, self.instructions))
        return Point(chosen, round(flash), instructions, decibels(self.costs.base + (self.noise * x).sum(axis=1)))

    def keeps(self, chosen: Mapping[str, str], wanted: Wanted) -> bool:
        """Whether a choice keeps to what is wanted."""
        x = self.variables(chosen)
        noise = self.costs.base + (self.noise * x).sum(axis=1)
        fits = (self.flash * x).sum() <= wanted.flash and (self.instructions * x).sum() <= wanted.instructions
        if math.isfinite(wanted.ram):
            fits &= all(constant + sum(f * x[i] for i, f in row.items()) <= wanted.ram for row, constant in self.live)
        return bool(fits and (noise <= wanted.noise).all())

    def share(self, point: Point, drop: float) -> float:
        """Predicted noise of a point, as part of what a drop allows."""
        return reals.exp10((drop - point.sqnr_db) / 10)


class Allocator:
    """A problem and the method that solves it."""

    def __init__(self, problem: Problem, method: str = EXACT) -> None:
        self.problem, self._choose = problem, ALLOCATORS[method]

    def solve(self, goal: Goal, limit: float = 1.0, ram: int | None = None) -> Point | None:
        """The best allocation within a goal, None where there is none.

        Args:
            limit: which part of the noise that `goal.drop` allows may be used.
            ram: bytes that may be live.
        """
        most = goal.instructions if goal.cycles is None else goal.cycles
        flash, work, live = (math.inf if v is None else float(v) for v in (goal.flash, most, ram))
        noise = math.inf if goal.drop is None else limit * reals.exp10(-goal.drop / 10)
        if (self.problem.costs.base > noise).any():
            return None
        chosen = self._choose(self.problem, Wanted(flash, live, work, noise, goal.aim))
        return None if chosen is None else self.problem.point(chosen)

    def front(self) -> list[Point]:
        """Allocations that no other beats in both cost and noise, cheapest first; the last is the quietest."""
        points: list[Point] = []
        goal = Goal(drop=-100.0)
        for _ in range(POINTS):
            point = self.solve(goal)
            if point is None or (points and point.sqnr_db <= points[-1].sqnr_db):
                break
            if points and point.flash <= points[-1].flash and point.instructions <= points[-1].instructions:
                points.pop()  # beaten: as cheap, and quieter
            points.append(point)
            goal = Goal(drop=point.sqnr_db + FINER)
        quietest = self.solve(Goal(aim=NOISE))
        if quietest and (not points or quietest.sqnr_db > points[-1].sqnr_db):
            points.append(quietest)
        return points
