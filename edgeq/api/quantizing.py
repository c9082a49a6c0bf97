"""Quantize: a float graph becomes a quantized one, with a diagnosis and a precision file to review."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, cast

from edgeq import folder as folders
from edgeq import graphfile, recipes
from edgeq import target as targets
from edgeq.api import keywords, streaming
from edgeq.api.budget import SPEED, cycle_limit
from edgeq.api.calibration import calibration_labels, calibration_samples, is_real, spread
from edgeq.api.models import Arrays, Progress, is_float, is_quantized, read_inputs, stage
from edgeq.api.recipe import Choices, Recipe, read
from edgeq.api.samples import Samples
from edgeq.errors import EdgeqError
from edgeq.files import read_text, reason, write_bytes
from edgeq.ir import Array, Graph
from edgeq.passes import normalise
from edgeq.passes.multiply_out import multiply_out
from edgeq.quantize import fronts, storage
from edgeq.quantize.allocate import Goal
from edgeq.quantize.constraints import given_scales
from edgeq.quantize.diagnosis import diagnose
from edgeq.quantize.fixed_front import fixed
from edgeq.quantize.floating import dequantized
from edgeq.quantize.noise import GOOD
from edgeq.quantize.noise import reason as reason_of
from edgeq.quantize.plan import Options, Precision
from edgeq.quantize.precision_toml import read_precision, split_in
from edgeq.quantize.refine import NONE
from edgeq.quantize.storage import HALF, complete
from edgeq.record import Measured
from edgeq.simulate import fit_inputs, real_array, simulate

PRECISION = "precision.toml"
DIAGNOSED = 64
SPECTRA = ("float32", "int16")  # what the spectra of a float model are computed in


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized graph and what is known about how it came to be.

    Attributes:
        record: the ``quantization`` section of measurements.json, empty where the model came quantized.
        files: files to keep beside the graph: ``precision.toml``.
    """

    graph: Graph
    record: dict[str, Any]
    files: Mapping[str, bytes]

    def predict(self, x: Samples, *, stored: bool = False) -> Any:
        """What the chip would answer, bit for bit, by the simulator.

        Args:
            x: inputs ``[V, ...]`` as `edgeq.simulate` takes them.
            stored: give the stored integers or halves; else real values, float32.

        Returns:
            of the one output an array whose first axis runs over the inputs, as the float model gives a batch: ``[V, 10]`` where
            the graph says ``[1, 10]``; of several outputs a dictionary by name.
        """
        outputs = simulate(self.graph, fit_inputs(self.graph, read_inputs(x, self.graph))).outputs
        found = {n: _batched(a if stored else real_array(a, self.graph.type(n))) for n, a in outputs.items()}
        return next(iter(found.values())) if len(found) == 1 else found


def _batched(a: Array) -> Array:
    """``[V, 1, ...]`` without the graph's own batch of one."""
    return a[:, 0] if a.ndim > 2 and a.shape[1] == 1 else a


def quantized(
    graph: Graph, samples: Arrays | None, recipe: Recipe, progress: Progress | None = None, goal: Goal | None = None
) -> Quantized:
    """Quantize a float graph and diagnose the result; a quantized graph passes as it is.

    Args:
        goal: of recipe ``auto``.

    Raises:
        EdgeqError: the graph is float and there are no samples, or it is quantized and the recipe asks for more than that.
    """
    front = fronts.divided(graph) if is_float(graph) else None
    if front is not None:
        return _behind(front, samples, recipe, progress, goal)
    own = {key: recipe.get(key) for key in recipes.takers()}
    chosen = recipes.make(recipe.get("recipe") or recipes.DEFAULT, own)
    options, path = recipe.get("options"), recipe.get("precision")
    if is_quantized(graph):
        if chosen != recipes.RECIPES[recipes.DEFAULT]() or path is not None or options is not None:
            given = [
                *(["--recipe"] if recipe.get("recipe") else []),
                *(["--precision"] if path else []),
                *(options.flags if options else []),
            ]
            fix = f"leave {', '.join(given) or 'options of quantization'} out"
            raise EdgeqError("the model is quantized already", where=graph.name, fix=fix)
        return Quantized(graph, {} if samples is None else diagnosis(dequantized(graph), graph, samples, {}, progress), {})
    text = _text(path)
    how = split_in(text) if text else NONE
    if how != NONE:
        if options and options.split not in (NONE, how):
            raise EdgeqError(f"channels split by {options.split}, and by {how}", where=str(path), fix="leave --split out")
        options = replace(options or Options(), split=how)
    graph, written = _form(chosen, graph, path, options)
    job = recipes.Job(graph, samples, options, written, goal, lambda count: calibration_labels(graph, recipe, count), progress)
    halves = written is not None and written.nodes and set(complete(graph, written.nodes, chosen.base(graph)).values()) == {HALF}
    if samples is None and not halves and chosen.needs_samples(job):
        what = "parts of the model have no scales" if given_scales(graph) else "the model is float"
        raise EdgeqError(
            f"{what} and there are no calibration samples", where=graph.name,
            fix="give --calib with some tens of real inputs, `--calib data-free` for a classifier without any, `--calib random` to try "
            "the path, or --recipe fp16",
        )  # fmt: skip
    if halves:
        recipes.check_sums(recipe.get("accumulate"), job)
    made = recipes.half_made(job) if halves else chosen.quantize(job)
    record: dict[str, Any] = {"options": dict(made.options), "samples": 0, "tensors": []}
    if samples is not None:
        record = diagnosis(made.real, made.graph, samples, made.options, progress, made.exponents, options or Options())
        ask = not chosen.budgeted and kept_badly(made.graph, record)  # a budget says what is enough
        found = recipes.others(recipe.get("recipe") or recipes.DEFAULT, job, made) if ask else []
        record |= {"others": [o.record() for o in found], "advice": recipes.advice(found)} if found else {}
        if recipe.get("unseen") and is_real(recipe) and chosen.calibrated and not chosen.budgeted:
            record |= {"unseen": judged} if (judged := recipes.unseen(job, chosen)) else {}
    return Quantized(normalise(made.graph), {**record, **made.more}, {PRECISION: made.precision.encode()})


def _behind(front: fronts.Front, samples: Arrays | None, recipe: Recipe, progress: Progress | None, goal: Goal | None) -> Quantized:
    """A float graph of which the front end stays in float32, or becomes integers: record and precision file are of the rest.

    Raises:
        EdgeqError: there is no such choice, or the front end has no meaning on integers.
    """
    chosen = recipe.get("spectrum") or SPECTRA[0]
    if chosen not in SPECTRA:
        raise EdgeqError(f"unknown storage '{chosen}' of spectra", fix=f"choose one of {', '.join(SPECTRA)}")
    fitted = None if samples is None else fit_inputs(front.whole, samples)
    given = None if fitted is None or front.rest is None else front.samples(fitted)
    step = None if front.rest is None else quantized(front.rest, given, recipe, progress, goal)
    if chosen == "int16":
        front = fixed(front, fitted, step.graph if step else None)
    if step is None:
        return Quantized(normalise(front.graph), {}, {})
    return replace(step, graph=normalise(fronts.joined(front, step.graph)))


def _form(chosen: recipes.Recipe, graph: Graph, path: str | Path | None, options: Options | None) -> tuple[Graph, Precision | None]:
    """The recipe's form of a graph, and the precision file; where the file speaks of factors otherwise, the form that it fits.

    Raises:
        EdgeqError: the file cannot be read or fits no form.
    """
    refused = None
    for real in (chosen.form(graph), graph, multiply_out(graph), multiply_out(graph, always=True)):
        try:
            form = recipes.divided(real, options)
            written = read_precision_file(path, form)
            if written is not None and written.nodes:
                form, kept = storage.with_sums(form, written.nodes, None)
                complete(form, kept, chosen.base(form))
                written = replace(written, nodes=kept)
            return form, written
        except EdgeqError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def diagnosis(
    real: Graph, graph: Graph, samples: Arrays, options: Mapping[str, str], progress: Progress | None,
    exponents: Mapping[str, tuple[int, ...]] | None = None, given: Options | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The ``quantization`` section of measurements.json: options, and how each tensor fares on some of the samples."""
    count = len(next(iter(samples.values())))
    stats = diagnose(real, graph, spread(graph, samples, DIAGNOSED), stage(progress, "diagnose"), exponents, given)
    tensors = [
        {
            "name": t.name, "low": float(f"{t.seen_low:.6g}"), "high": float(f"{t.seen_high:.6g}"),
            "sqnr_db": round(t.sqnr_db, 2), "own_sqnr_db": round(t.own_sqnr_db, 2),
            "saturated": round(t.saturation, 6), "zeros": round(t.zeros, 6), "used": round(t.used, 6), "equalized": t.equalized,
            "cause": t.cause, "fix": t.fix,
            "histogram": {
                "ends": [float(f"{e:.6g}") for e in t.histogram.ends], "real": t.histogram.real.tolist(),
                "stored": t.histogram.stored.tolist(),
            },
        }
        for t in stats
    ]  # fmt: skip
    why = reason_of(stats, graph.results)
    return {"options": dict(options), "samples": count, "tensors": tensors, **({"reason": why} if why else {})}


def kept_badly(graph: Graph, record: Mapping[str, Any]) -> bool:
    """Whether an output is so noisy that other recipes are asked."""
    found = {t["name"]: t["sqnr_db"] for t in record["tensors"]}
    return any(found.get(n, GOOD) < GOOD for n in graph.results)


def on_stream(step: Quantized, stream: str, samples: Arrays | None) -> tuple[Quantized, dict[str, Array] | None]:
    """A quantized network over a window as one on a stream, with its difference in the record; and its samples as steps.

    Args:
        stream: see `edgeq.api.streaming.parse`.

    Raises:
        EdgeqError: there is no such stream.
    """
    made = streaming.streamed(step.graph, streaming.parse(stream))
    found = streaming.difference(step.graph, made, samples)
    record = {"options": {}, "samples": 0, "tensors": [], **step.record, "stream": streaming.record(made, found)}
    given = None if samples is None else streaming.steps(made, fit_inputs(step.graph, samples))
    return Quantized(made.graph, record, step.files), given


def read_precision_file(path: str | Path | None, graph: Graph) -> Precision | None:
    """An edited precision.toml, None for no path.

    Raises:
        EdgeqError: it cannot be read or does not fit the graph.
    """
    text = _text(path)
    return None if text is None else read_precision(text, graph, str(path))


def _text(path: str | Path | None) -> str | None:
    """What is in a precision file, None for no path.

    Raises:
        EdgeqError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return read_text(Path(path))
    except (OSError, ValueError) as e:
        raise EdgeqError("cannot read the precision file", where=str(path), why=reason(e)) from e


@keywords.verb
def quantize(
    graph: Graph, calibration: Samples | None = None, *, budget: Mapping[str, float] | None = None,
    target: str | None = None, progress: Progress | None = None, **choices: Unpack[Choices],
) -> Quantized:  # fmt: skip
    """Quantize a float graph to int8, half precision or both; see `Choices` for the keywords.

    Args:
        budget, target: of recipe ``auto``, see `goal_of`.
        calibration: see `Recipe`.

    Returns:
        ``.graph``, the quantized graph, and what is known about how it came to be.

    Raises:
        EdgeqError: the samples do not fit, or it is no graph, or one that is quantized already.
    """
    if isinstance(graph, Quantized):
        graph = graph.graph
    if not isinstance(graph, Graph):
        fix = "edgeq.load(model) reads a file, edgeq.load(module, x) a torch.nn.Module"
        raise EdgeqError(f"an object of type {type(graph).__name__} is no graph", fix=fix)
    if not is_float(graph):
        raise EdgeqError("the model is quantized already", where=graph.name, fix="build it as it is")
    recipe = cast(Recipe, {"calibration": calibration, **choices})
    return quantized(graph, calibration_samples(graph, recipe), recipe, progress, goal_of(budget, target, choices.get("recipe")))


def goal_of(
    budget: Mapping[str, float] | None, target: str | None, recipe: str | None, toolchain: str | None = None, optimize: str = "s"
) -> Goal | None:
    """What recipes ``auto`` and ``few-bits`` aim at; None for other recipes.

    Args:
        budget: ``flash`` and ``ram`` in bytes, ``instructions`` or ``cycles`` per inference or its ``latency`` in seconds,
            ``drop`` in dB of signal over noise at the outputs,
            ``loss`` in percentage points of right answers (the samples need labels).
        target: whose instructions are measured; without one, or on one that counts none, they are estimated.

    Raises:
        EdgeqError: a budget for another recipe.
    """
    if recipe is None or recipe not in recipes.RECIPES or not recipes.RECIPES[recipe].budgeted:
        if budget and {"instructions", "drop", "loss"} & set(budget):
            raise EdgeqError("a budget for instructions or drop needs recipe auto", fix="add --recipe auto, or --recipe few-bits")
        return None
    budget = budget or {}
    flash, ram, instructions = (int(value) if (value := budget.get(key)) else None for key in ("flash", "ram", "instructions"))
    chip = targets.load(target) if target else None
    speed = [key for key in SPEED if key in budget]
    if speed and (chip is None or instructions is not None):
        why = "its cycles depend on the chip" if chip is None else "both limit the work of an inference"
        what = f"a budget of {speed[0]}{'' if chip is None else ' and of instructions'}"
        raise EdgeqError(what, why=why, fix="give --target, and one of them")
    cycles = cycle_limit(chip, budget) if chip else None
    return Goal(chip, toolchain, optimize, flash, ram, instructions, cycles, budget.get("drop"), budget.get("loss"))


@keywords.verb
def write_quantized(
    model: str | Path | Graph,
    output: str | Path,
    *,
    budget: Mapping[str, float] | None = None,
    target: str | None = None,
    stream: str = "",
    force: bool = False,
    progress: Progress | None = None,
    **recipe: Unpack[Recipe],
) -> Quantized:
    """Quantize a float model into a folder (graph.eqg, precision.toml) or, if `output` ends with .eqg, into that file.

    Args:
        stream: see `edgeq.build`; the model may be quantized already then.
        force: see `edgeq.build`.

    Raises:
        EdgeqError: see `quantize`; or the place cannot be written. Nothing is left behind then.
    """
    place = Path(output)
    single = place.suffix == graphfile.SUFFIX
    with ExitStack() as held:
        if not single:
            place = held.enter_context(folders.claimed(place, force=force))
        graph = read(model, recipe)
        if not is_float(graph) and not stream:
            raise EdgeqError("the model is quantized already", where=str(model))
        goal, samples = goal_of(budget, target, recipe.get("recipe")), calibration_samples(graph, recipe)
        result = quantized(graph, samples, recipe, progress, goal)
        if stream:
            result, _ = on_stream(result, stream, samples)
        if single:
            write_bytes(place, graphfile.dumps(result.graph))
        else:
            files = {graphfile.NAME: graphfile.dumps(result.graph), **result.files}
            measured = Measured(quantization=result.record, files=folders.digests(files))
            folders.write(place, {**files, folders.MEASUREMENTS: measured.text().encode()}, force=force)
        return result
