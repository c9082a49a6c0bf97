"""Robustness: what bit errors in stored weights and biases cost a classifier, over rates, patterns and layers."""

from __future__ import annotations

import itertools
import logging
import statistics
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np

from edgeq import faults as law
from edgeq import graphfile
from edgeq.api import keywords
from edgeq.api.calibration import calibration_samples, labelled
from edgeq.api.models import Arrays, Progress, select_inputs
from edgeq.api.quantizing import goal_of, quantized
from edgeq.api.recipe import Recipe, read
from edgeq.api.scoring import hits
from edgeq.errors import EdgeqError
from edgeq.faults import Bytes, FaultMap
from edgeq.formats.code import Code
from edgeq.formats.format import Packed
from edgeq.ir import Array, Graph
from edgeq.journal import journal
from edgeq.program import Program
from edgeq.run import gpu
from edgeq.run.patched import patched
from edgeq.simulate import fit_inputs, simulate
from edgeq.target import load as load_target

RATES = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05)
PATTERNS = 50
LAYER_PATTERNS = 10  # per layer, of errors in that layer alone
SAMPLE = 8  # vectors on which the C is compared with the simulator before it is trusted
AT_ONCE = 16  # patterns of a batch on a GPU
COST = 1.0  # points of accuracy that the operating point may cost
Flips = Mapping[str, Bytes]
LOG = logging.getLogger("edgeq")


class Device(Protocol):
    """Runs a hardened program under many fault patterns."""

    def run(self, inputs: Mapping[str, Array], patterns: Iterable[Flips]) -> Iterator[Mapping[str, Array]]:
        """Per pattern (table's symbol -> xor), in order, the outputs ``[V, *shape]``."""
        ...


class _Simulated:
    """The simulator as a device."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(self, inputs: Mapping[str, Array], patterns: Iterable[Flips]) -> Iterator[Mapping[str, Array]]:
        for flips in patterns:
            parameters = law.parameters(law.flipped(self.program, flips))
            yield simulate(self.program.graph, inputs, parameters=parameters).outputs


class _Kernels:
    """The GPU's kernels as a device, `AT_ONCE` patterns at a time."""

    def __init__(self, program: Program, name: str) -> None:
        self.program, self.place = program, gpu.find(name)

    def run(self, inputs: Mapping[str, Array], patterns: Iterable[Flips]) -> Iterator[Mapping[str, Array]]:
        left = iter(patterns)
        while flips := list(itertools.islice(left, AT_ONCE)):
            found = gpu.run_patterns([law.flipped(self.program, f) for f in flips], inputs, device=self.place)
            yield from ({n: a[i] for n, a in found.items()} for i in range(len(flips)))


def device(name: str, program: Program) -> AbstractContextManager[Device]:
    """``cpu``: the emitted C on all cores, by the kernels for their vectors. ``simulator``: numpy. ``gpu``: Triton kernels;
    ``interpreter``: those without a GPU, slowly.

    Raises:
        EdgeqError: there is no such device.
    """
    if name == "cpu":
        return patched(program, vectors=True)
    if name == "simulator":
        return nullcontext(_Simulated(program))
    if name in gpu.NAMES:
        return nullcontext(_Kernels(program, name))
    raise EdgeqError(f"no device '{name}'", fix=f"choose cpu, simulator, {' or '.join(gpu.NAMES)}")


@dataclass(frozen=True)
class Point:
    """One rate. Errors are in percent of the vectors, one per pattern."""

    p: float
    errors: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.errors)

    @property
    def std(self) -> float:
        return statistics.pstdev(self.errors)

    @property
    def worst(self) -> int:
        """The seed with the largest error."""
        return int(np.argmax(self.errors))

    @property
    def voltage(self) -> float:
        return law.voltage(self.p)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "p": self.p, "mean": self.mean, "std": self.std, "worst": max(self.errors), "worst_seed": self.worst,
            "voltage": self.voltage, "errors": list(self.errors),
        }  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        step, name: of the program.
        bits: stored ones that faults may hit.
        mean, std: errors in percent with faults in this layer alone, at the rate `Robustness.layer_p`.
        predicted, injected: variance of the noise of its weights at that rate, in squares of the weights' step: what `noise` expects,
            and the mean over the patterns. None where no rate describes the map.
    """

    step: int
    name: str
    bits: int
    mean: float
    std: float
    predicted: float | None
    injected: float


@dataclass(frozen=True)
class Robustness:
    """What `robustness` found; errors in percent.

    Attributes:
        stored: bits that the memory holds of weights and biases, over those of plain int8 and int32.
    """

    model: str
    kind: str
    device: str
    code: str
    samples: int
    clean: float
    points: tuple[Point, ...]
    layers: tuple[Layer, ...]
    layer_p: float
    stored: float

    def energy(self, point: Point) -> float:
        """Of the memory that holds the weights, over that of plain int8 at the least voltage without errors: stored bits times V^2."""
        return self.stored * point.voltage**2

    @property
    def operating_point(self) -> Point | None:
        """The largest rate, up to which none costs more than `COST` points on average; None where the least one does."""
        found = None
        for point in self.points:
            if point.mean > self.clean + COST:
                break
            found = point
        return found

    def record(self) -> dict[str, Any]:
        """As JSON."""
        best = self.operating_point
        return {
            "model": self.model, "map": self.kind, "device": self.device, "code": self.code, "samples": self.samples, "clean": self.clean,
            "stored": self.stored, "points": [{**p.record(), "energy": self.energy(p)} for p in self.points],
            "layer_p": self.layer_p, "layers": [vars(row) for row in self.layers],
            "operating_point": None if best is None else {"p": best.p, "voltage": best.voltage, "energy": self.energy(best)},
        }  # fmt: skip


def _code(graph: Graph) -> Code:
    """The storage code of a graph's weights; that of plain bytes where they have none."""
    return next((f for f in graph.formats if isinstance(f, Code)), Code())


def noise(program: Program, faults: FaultMap, step: int) -> float | None:
    """The expected variance of the noise of a layer's weights under a map, exactly, in squares of their step.

    None for a list, and for weak columns where rows have checksums, for a row may hold bits of one column.
    """
    call, code = program.calls[step], _code(program.graph)
    if faults.kind == "list" or (faults.kind == "columns" and code.crc):
        return None
    weights = {n: a for n, a in call.tables.items() if "weights" in n and a.dtype == np.int8}
    errors = []
    for name, table in weights.items():
        stage = call.staged.get(name)
        form = stage.format if stage and isinstance(stage.format, Packed) else code
        errors.append(form.errors(stage.stored_form(table) if stage else table, *faults.rates).ravel())
    return float(np.concatenate(errors).mean())


def injected(program: Program, flips: Flips, step: int) -> float:
    """The mean square of what flips do to a layer's weights, in squares of their step."""
    before, after = program.calls[step].tables, law.flipped(program, flips).calls[step].tables
    names = [n for n, a in before.items() if "weights" in n and a.dtype == np.int8]
    errors = [(after[n].astype(np.float64) - before[n].astype(np.float64)).ravel() ** 2 for n in names]
    return float(np.concatenate(errors).mean())


@dataclass(frozen=True)
class _Trial:
    """A map on the whole program, or on one step of it alone; no map: no faults."""

    faults: FaultMap | None = None
    step: int | None = None

    def flips(self, program: Program) -> Flips:
        if self.faults is None:
            return {}
        return law.flips(program, self.faults, None if self.step is None else frozenset([self.step]))

    @property
    def name(self) -> str:
        """In the journal."""
        if self.faults is None:
            return "clean"
        m = self.faults
        listed = zlib.crc32(repr(m.entries).encode()) if m.entries else 0
        return f"{m.kind} {m.ratio!r} {listed:08x} seed {m.seed} p {m.p!r}" + ("" if self.step is None else f" step {self.step}")


def _proved(fast: Device, program: Program, inputs: Arrays, trial: _Trial) -> Device:
    """`fast` where it gives the simulator's bytes for some vectors, without faults and with those of a trial; else the simulator."""
    sample = {n: np.asarray(a[:SAMPLE]) for n, a in inputs.items()}
    patterns, slow = [{}, trial.flips(program)], _Simulated(program)
    for got, wanted in zip(fast.run(sample, patterns), slow.run(sample, patterns), strict=True):
        if any(not np.array_equal(got[n], wanted[n]) for n in wanted):
            LOG.warning("the C on this computer gives other bytes than the simulator, which is used instead: please report it")
            return slow
    return fast


def _scores(
    program: Program, trials: Sequence[_Trial], inputs: Arrays, labels: tuple[Array, str], device_name: str, progress: Progress | None
) -> list[int]:
    """Right answers per trial. Those of an earlier run that was ended are read from its journal."""
    y, where = labels
    arrays = [part for n in sorted(inputs) for part in (n, str(inputs[n].shape), inputs[n].dtype.str, inputs[n].tobytes())]
    with journal("faults", [graphfile.dumps(program.graph), *arrays, str(y.dtype), y.tobytes(), device_name]) as kept:
        missing = [t for t in trials if t.name not in kept.found]
        done = len(trials) - len(missing)
        if missing:
            with device(device_name, program) as chosen:
                found = chosen if device_name != "cpu" else _proved(chosen, program, inputs, missing[-1])
                for trial, outputs in zip(missing, found.run(inputs, (t.flips(program) for t in missing)), strict=True):
                    kept.note(trial.name, hits(program.graph, outputs, y, where))
                    done += 1
                    if progress:
                        progress("patterns", done, len(trials))
        return [kept.found[t.name] for t in trials]


@keywords.verb
def robustness(
    model: str | Path | Graph,
    data: str | Path | Arrays,
    *,
    rates: Sequence[float] = RATES,
    patterns: int = PATTERNS,
    kind: str = "random",
    device_name: str = "cpu",
    layers: bool = True,
    limit: int | None = None,
    budget: Mapping[str, float] | None = None,
    progress: Progress | None = None,
    **recipe: Unpack[Recipe],
) -> Robustness:
    """The error of a classifier under bit errors in its stored weights and biases.

    Errors persist: pattern i has seed i, and what is faulty at some rate is so at every larger one. Where an earlier run of the
    same model and data was ended, what it found is not run again (`edgeq.journal`).

    Args:
        model: quantized, or float with calibration samples in `recipe`.
        data: see `accuracy`.
        rates: bit error rates, ascending.
        patterns: how many seeds, from 0 on.
        kind: a map as `faults.parse` reads it.
        device_name: see `device`.
        layers: also put errors into one layer at a time, at the middle rate.
        limit: see `accuracy`.

    Raises:
        EdgeqError: the model is float or no classifier, the data do not fit, or a rate is no probability.
    """
    rates = sorted(set(rates))
    if not rates or patterns < 1 or not all(0 <= p <= 1 for p in rates):
        raise EdgeqError(f"{len(rates)} rates and {patterns} patterns", fix="give rates from 0 to 1, and one pattern or more")
    chosen = law.parse(kind)
    graph = read(model, recipe)
    where = str(data) if isinstance(data, (str, Path)) else ""
    arrays, y = labelled(data, graph, limit, recipe)
    graph = quantized(graph, calibration_samples(graph, recipe), recipe, progress, goal_of(budget, None, recipe.get("recipe"))).graph
    program = law.hardened(graph, load_target("host"))
    if not law.tables(program):
        raise EdgeqError("the model has no integer weights that faults could hit", where=graph.name)
    inputs = fit_inputs(graph, select_inputs(graph, arrays, where))
    seeds = range(patterns if chosen.kind != "list" else 1)
    tests = [replace(chosen, seed=s, p=p) for p in rates for s in seeds]
    hit = law.tables(program)
    steps = sorted({step for _, c in hit for step, _ in c.users}) if layers else []
    layer_p, layer_seeds = rates[len(rates) // 2], seeds[:LAYER_PATTERNS]
    alone = [_Trial(replace(chosen, seed=s, p=layer_p), step) for step in steps for s in layer_seeds]
    trials = [_Trial(), *(_Trial(m) for m in tests), *alone]
    right = _scores(program, trials, inputs, (y, where), device_name, progress)
    errors = [100 * (1 - n / len(y)) for n in right]
    count, own = len(seeds), errors[1 + len(tests) :]
    points = [Point(p, tuple(errors[1 + i * count : 1 + (i + 1) * count])) for i, p in enumerate(rates)]
    rows = []
    for i, step in enumerate(steps):
        mine, maps = own[i * len(layer_seeds) :][: len(layer_seeds)], [replace(chosen, seed=s, p=layer_p) for s in layer_seeds]
        bits = 8 * sum(len(c.data) for _, c in hit if any(u[0] == step for u in c.users))
        real = statistics.fmean(injected(program, law.flips(program, m, frozenset([step])), step) for m in maps)
        expected = noise(program, maps[0], step)
        rows.append(Layer(step, program.calls[step].node.name, bits, statistics.fmean(mine), statistics.pstdev(mine), expected, real))
    code, stored = str(_code(graph)), law.stored(program)
    return Robustness(graph.name, kind, device_name, code, len(y), errors[0], tuple(points), tuple(rows), layer_p, stored)
