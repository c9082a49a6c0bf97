"""Search: options of quantization on trial, and the best of what they give for what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from edgeq import graphfile, recipes
from edgeq import target as targets
from edgeq.api import keywords
from edgeq.api.calibration import calibration_samples, labelled
from edgeq.api.models import Progress, is_quantized
from edgeq.api.recipe import Reading, Recipe, read
from edgeq.api.samples import Samples
from edgeq.api.scoring import check_labels
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.journal import journal
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.quantize.allocate import decibels, noise_of
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.plan import Options
from edgeq.simulate import fit_inputs, real_array, simulate
from edgeq.tune.explore import Model, Point, Space, Trial, front, propose
from edgeq.tune.labels import right
from edgeq.tune.measure import costs, executed, unit
from edgeq.workers import spread

TRIALS = 24
TOGETHER = 8  # trials of a round where a scheduler has the workers
LEAST = 32  # samples that calibrate, or judge
RECIPE = "recipe"
USUAL = {  # what is varied where nobody says it: what has measured a difference on some network (benchmarks/methods.md)
    "weights": ("int8", "int4", "int3"), "method": ("mse", "minmax", "percentile"), "rounding": ("second-order", "nearest"),
    "equalize": ("yes", "no"), "bias_correction": ("yes", "no"),
}  # fmt: skip
SWITCH = {"yes": True, "no": False}


def choices() -> dict[str, tuple[str, ...]]:
    """Every option that may be varied, and all its values."""
    found = {f.name: tuple(f.metadata.get("choices", SWITCH)) for f in fields(Options) if "help" in f.metadata}
    return {RECIPE: tuple(n for n, r in recipes.RECIPES.items() if not r.budgeted), **found}


def space_of(vary: Mapping[str, Sequence[str]] | None) -> Space:
    """The options to vary, the usual value of each first.

    Raises:
        EdgeqError: there is no such option or value.
    """
    known, given = choices(), vary or USUAL
    for name, values in given.items():
        if name not in known:
            raise EdgeqError(f"'{name}' is no option to vary", fix=f"choose from {', '.join(known)}")
        bad = [v for v in values if v not in known[name]]
        if bad or not values:
            raise EdgeqError(f"'{bad[0] if bad else ''}' is no value of '{name}'", fix=f"choose from {', '.join(known[name])}")
    alone = frozenset(n for n, r in recipes.RECIPES.items() if not r.calibrated)  # nothing to choose there
    return Space({name: tuple(dict.fromkeys(values)) for name, values in given.items()}, alone)


@dataclass(frozen=True, eq=False)
class Judge:
    """Samples that calibration does not see.

    Attributes:
        samples: ``[V, *shape]`` by input.
        labels: their classes, int64 ``[V]``, or None: the float model's outputs judge then.
    """

    samples: Mapping[str, Array]
    labels: Array | None

    def __len__(self) -> int:
        return len(next(iter(self.samples.values())))

    def part(self, at: slice) -> Judge:
        """Some of them."""
        return Judge({n: a[at] for n, a in self.samples.items()}, None if self.labels is None else self.labels[at])

    def quality(self, real: Graph, graph: Graph) -> float:
        """Percent of right answers of a quantized graph, or dB of the worst output's signal over its noise beside the float one."""
        found = simulate(graph, fit_inputs(graph, self.samples)).outputs
        outputs = {n: real_array(a, graph.type(n)) for n, a in found.items()}
        if self.labels is not None:
            (answers,) = outputs.values()
            return round(100 * right(answers, self.labels) / len(self.labels), 4)
        exact = evaluate_float(real, self.samples)
        return round(decibels(noise_of(outputs, {n: exact[n].astype(np.float64) for n in outputs})), 3)


@dataclass(frozen=True, eq=False)
class Bench:
    """What a trial needs; it can travel to another process.

    Attributes:
        model: the float graph, as a graph file's bytes.
        samples: that calibrate, ``[V, *shape]`` by input.
        judge: by which points are chosen.
        unseen: what chooses nothing, or None.
        recipe: what is not varied.
        target: whose kernels and costs count; the host's where it is empty.
    """

    model: bytes
    samples: Mapping[str, Array]
    judge: Judge
    unseen: Judge | None
    recipe: Recipe
    target: str

    def __call__(self, named: Mapping[str, str]) -> dict[str, Any]:
        """Quantize by these values; the fields of a `Trial` as JSON."""
        try:
            graph, real = self._quantized(named), graphfile.loads(self.model)
            quality = self.judge.quality(real, graph)
            more = {"unseen": self.unseen.quality(real, graph)} if self.unseen else {}
        except EdgeqError as e:
            return {"refused": f"{e.what} ({e.why})" if e.why else e.what}
        return {"quality": quality, "costs": self._costs(graph), **more}

    def _quantized(self, named: Mapping[str, str]) -> Graph:
        given = {key: SWITCH.get(value, value) for key, value in named.items() if key != RECIPE}
        written = self.recipe.get("options")
        options = replace(written or Options(), **given) if written or given else None  # type: ignore[arg-type]
        name = named.get(RECIPE) or self.recipe.get("recipe") or recipes.DEFAULT
        if name in recipes.RECIPES and not recipes.RECIPES[name].calibrated and options == Options():
            options = None  # there is nothing to choose there
        own = {key: self.recipe.get(key) for key in recipes.takers()}
        chosen = recipes.make(name, own)
        job = recipes.Job(recipes.divided(chosen.form(graphfile.loads(self.model)), options), self.samples, options)
        return normalise(chosen.quantize(job).graph)

    def _costs(self, graph: Graph) -> dict[str, float]:
        """Bytes of tables, and what an inference takes on a chip that counts it."""
        chip = targets.load(self.target or "host")
        program = lower(graph, chip)
        found = {"flash": float(sum(t.nbytes for c in program.calls for t in c.stored.values()))}
        if chip.runners[0] != "host":
            inputs = {n: a[:1] for n, a in fit_inputs(graph, self.judge.samples).items()}
            found[unit(chip)] = float(sum(costs(executed(program, chip, inputs, None, "s")[0])[1]))
        return found


@dataclass(frozen=True)
class Searched:
    """What `search` found.

    Attributes:
        space: what was varied.
        trials: in the order of trial.
        unit: of their quality: ``% right`` or ``dB``.
        samples: how many calibrated, how many judged, and how many did neither.
    """

    space: Space
    trials: tuple[Trial, ...]
    unit: str
    samples: tuple[int, int, int]

    @property
    def front(self) -> list[Trial]:
        """Trials that none beats in quality and cost."""
        return front(self.trials)

    def effects(self) -> dict[str, dict[str, dict[str, float]]]:
        """Option -> value -> what it adds to the quality, and by which factor it changes each cost, against the usual value; without
        values that no trial could be made with."""
        model = Model(self.space, self.trials)
        found: dict[str, dict[str, dict[str, float]]] = {}
        for i, (name, values) in enumerate(self.space.options.items()):
            usual = self.space.usual
            base = model(usual)
            made = {t.point[i] for t in self.trials if not t.refused}
            for value in (v for v in values if v in made):
                other = model((*usual[:i], value, *usual[i + 1 :]))
                factors = {key: round(cost / base.costs[key], 4) for key, cost in other.costs.items()}
                found.setdefault(name, {})[value] = {"quality": round(other.quality - base.quality, 3), **factors}
        return found

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "unit": self.unit, "calibrated_on": self.samples[0], "judged_on": self.samples[1], "unseen": self.samples[2],
            "options": {name: list(values) for name, values in self.space.options.items()},
            "trials": [self._row(t) for t in self.trials], "front": [self._row(t) for t in self.front], "effects": self.effects(),
        }  # fmt: skip

    def _row(self, trial: Trial) -> dict[str, Any]:
        named = self.space.named(trial.point)
        if trial.refused:
            return {**named, "refused": trial.refused}
        return {**named, "quality": trial.quality, **({} if trial.unseen is None else {"unseen": trial.unseen}), **trial.costs}


def flags(named: Mapping[str, str]) -> str:
    """The options of `edgeq build` that say the same."""
    texts = []
    for name, value in named.items():
        flag = name.replace("_", "-")
        texts.append(f"--{'' if SWITCH[value] else 'no-'}{flag}" if value in SWITCH else f"--{flag} {value}")
    return " ".join(texts)


@keywords.verb
def search(
    model: str | Path | Graph, data: Samples = None, *, target: str = "", vary: Mapping[str, Sequence[str]] | None = None,
    trials: int = TRIALS, workers: int | str = 1, progress: Progress | None = None, **recipe: Unpack[Recipe],
) -> Searched:  # fmt: skip
    """Try options of quantization on a float model and find the Pareto front of quality and cost.

    The usual options come first, then each change of one option, then what a model of these promises most of (`tune.explore`). Where an
    earlier run of the same model, data and options was ended, its trials are not made again.

    Args:
        data: labelled samples of a classifier, see `accuracy`: right answers judge. Without them the float model's outputs do, on every
            second calibration sample, which then does not calibrate.
        target: whose kernels are counted; on a chip that an emulator runs, cycles or instructions are a cost too.
        vary: option -> its values, the usual one first; see `choices` and `USUAL`.
        trials: at most so many.
        workers: processes, or ``HOST:PORT`` of a Dask scheduler.
        recipe: how the model is read, the calibration samples, and what is not varied; ``unseen=True`` keeps every second of the judging
            samples, of a stream the second half, from choosing, and tells what each trial is worth on them: the best of many trials
            looks better than it is on those that chose it.

    Raises:
        EdgeqError: the model is quantized, there are too few samples, labels do not fit, an option is unknown, or no trial could be made.
    """
    if trials < 1 or (isinstance(workers, int) and workers < 1):
        raise EdgeqError(f"{trials} trials by {workers} workers", fix="ask for one or more")
    if recipe.get("precision") is not None:
        raise EdgeqError("a search and a precision file", why="the file says what the search would vary", fix="leave --precision out")
    space, graph = space_of(vary), read(model, recipe)
    if is_quantized(graph):
        raise EdgeqError("the model is quantized already", where=graph.name, fix="give the float model")
    bench = _bench(graph, data, target, recipe)
    with spread(workers) as run:
        done = _trials(bench, space, trials, workers if isinstance(workers, int) else TOGETHER, run, progress)
    if all(t.refused for t in done):
        raise EdgeqError("no trial could be made", where=graph.name, why=done[0].refused, fix="vary other options, see --vary")
    unit = "dB" if bench.judge.labels is None else "% right"
    counts = (len(next(iter(bench.samples.values()))), len(bench.judge), len(bench.unseen or ()))
    return Searched(space, tuple(done), unit, counts)


def _bench(model: Graph, data: Samples, target: str, recipe: Recipe) -> Bench:
    samples: Mapping[str, Array] | None = calibration_samples(model, recipe)
    if samples is None:
        raise EdgeqError("there are no calibration samples", where=model.name, fix="give --calib with some tens of real inputs")
    if data is not None:
        judged, labels = labelled(data, model, None, recipe)
        judge = Judge(fit_inputs(model, judged), labels)
        check_labels(model, len(judge), labels)
    else:
        judge = Judge(samples, None)
        if len(judge) < 2 * LEAST:
            why = f"{len(judge)} samples: half of them calibrate, the others judge"
            raise EdgeqError("too few samples to judge by", where=model.name, why=why, fix=f"give {2 * LEAST} or more, or --data")
        first, second = _halves(model, judge)
        samples, judge = first.samples, second
    unseen = None
    if recipe.get("unseen"):
        if len(judge) < 2 * LEAST:
            why = f"{len(judge)} samples judge, and half of them would be kept unseen"
            raise EdgeqError("too few samples to keep some unseen", where=model.name, why=why, fix="give more, or leave unseen out")
        judge, unseen = _halves(model, judge)
    left_out = {"calibration", "unseen", *Reading.__annotations__}
    kept: Recipe = {key: value for key, value in recipe.items() if key not in left_out}  # type: ignore[assignment]
    return Bench(graphfile.dumps(model), samples, judge, unseen, kept, target)


def _halves(model: Graph, judge: Judge) -> tuple[Judge, Judge]:
    """Every second sample, and the others; of a stream the first half and the second."""
    middle = len(judge) // 2
    parts = (slice(middle), slice(middle, None)) if model.states else (slice(None, None, 2), slice(1, None, 2))
    return judge.part(parts[0]), judge.part(parts[1])


def _trials(bench: Bench, space: Space, count: int, together: int, run: Any, progress: Progress | None) -> list[Trial]:
    """Rounds of trials, each proposed by what the earlier ones gave."""
    done: list[Trial] = []
    judges = [bench.judge, *([bench.unseen] if bench.unseen else [])]
    given = [bench.samples, *(j.samples for j in judges)]
    arrays = [part for a in given for n in sorted(a) for part in (n, str(a[n].shape), a[n].tobytes())]
    labels = [b"" if j.labels is None else j.labels.tobytes() for j in judges]
    with journal("search", [bench.model, *arrays, *labels, bench.target, repr(sorted(bench.recipe.items(), key=str))]) as kept:
        while len(done) < count:
            points = propose(space, done, min(together, count - len(done)))
            if not points:
                break
            missing = [p for p in points if _name(space, p) not in kept.found]
            for point, found in zip(missing, run(bench, [space.named(p) for p in missing]), strict=True):
                kept.note(_name(space, point), found)
                if progress:
                    progress("trials", len(done) + 1 + points.index(point), min(count, len(space)))
            done += [Trial(p, **kept.found[_name(space, p)]) for p in points]
    return done


def _name(space: Space, point: Point) -> str:
    return flags(space.named(point))
