"""Quantize: a float graph becomes a quantized one, with a diagnosis and a precision file to review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from edgeq import folder as folders
from edgeq import graphfile, recipes
from edgeq import target as targets
from edgeq.api import keywords, streaming
from edgeq.api.budget import SPEED, cycle_limit
from edgeq.api.models import Arrays, Consts, Progress, Shapes, States, is_quantized, load, random_inputs, read_inputs, select_inputs, stage
from edgeq.api.samples import Samples, collect
from edgeq.errors import EdgeqError
from edgeq.files import read_arrays, reason, write_bytes
from edgeq.ir import Array, DType, Graph
from edgeq.passes import normalise
from edgeq.quantize import images, storage
from edgeq.quantize.allocate import Goal
from edgeq.quantize.constraints import given_scales
from edgeq.quantize.diagnosis import LOW, diagnose
from edgeq.quantize.floating import dequantized
from edgeq.quantize.images import Pixels
from edgeq.quantize.plan import Options, Precision
from edgeq.quantize.precision_toml import read_precision
from edgeq.quantize.storage import HALF, complete
from edgeq.record import Measured
from edgeq.simulate import fit_inputs, real_array, simulate
from edgeq.tune.labels import LABELS, labels

RANDOM, DATA_FREE = "random", "data-free"
PRECISION = "precision.toml"
RANDOM_CALIBRATION = 64
DIAGNOSED = 64


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


class Choices(TypedDict, total=False):
    """How a float model is quantized; keywords of `quantize`, and of `build` and `accuracy`.

    recipe: ``int8`` (the default; needs calibration samples), ``fp16``: everything in half precision, no samples needed; ``mixed``:
        recurrent layers in int8, the rest in half precision; ``auto``: chosen node by node within a budget (see `Goal`);
        ``few-bits``: int8 with weights in 8, 4, 3 or 2 bits layer by layer, within a budget;
        ``robust``: int8 computation, with the storage code and the clipping of weights that stand bit errors at rate `p` best.
    accumulate: ``f16``: layers in half precision that can sum up in halves (recipes ``fp16`` and ``mixed``); ``f32`` is the default.
    calibration_limit: use at most N of them.
    stored: ``(scale, zero_point)``: integer samples mean ``scale * (q - zero_point)``.
    pixels: the values of black and white that the model expects of images and of uint8 samples.
    mean, std: per channel or for all, what those values are reduced by and divided by after that, as torchvision's ``Normalize`` does.
    classes: names of the classes in the model's order, where labels are the names of folders or of a column (default: sorted).
    options: method, law, rounding and more; the defaults measured best.
    precision: a precision.toml that somebody edited.
    sensitivity: of ``auto`` and ``few-bits``, how the noise of nodes is foretold.
    allocate: of ``auto`` and ``few-bits``, how storages are chosen by it.
    aim: of ``auto`` and ``few-bits``, what is made small within the budget: ``flash``, ``instructions``, ``latency`` or ``noise``.
    p: of ``robust``, the bit error rate.
    code: of ``robust``, the storage code to take instead of the best (`Code.parse`).
    loss: of ``robust``, what the outputs may lose of their spread under errors: the least energy within that is chosen.
    """

    recipe: str | None
    accumulate: str | None
    calibration_limit: int | None
    stored: tuple[float, float] | None
    pixels: tuple[float, float] | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    classes: Sequence[str] | None
    options: Options | None
    precision: str | Path | None
    sensitivity: str | None
    allocate: str | None
    aim: str | None
    p: float | None
    code: str | None
    loss: float | None


class Recipe(Choices, total=False):
    """`Choices` and the samples themselves; keywords of `build` and `accuracy`.

    calibration: a path (.npz, .npy, a folder of samples or of images), ``"random"``, ``"data-free"`` (see
        `quantize.data_free`), arrays by input name, one array or tensor, or
        an iterable of samples or batches, a ``DataLoader`` for example (see `edgeq.api.samples.collect`).
    """

    calibration: Samples | None


def _channels(value: float | Sequence[float] | None, default: float) -> tuple[float, ...]:
    """One number, or one per channel."""
    if value is None:
        return (default,)
    return tuple(float(v) for v in np.atleast_1d(np.asarray(value, np.float64)))


def pixels_of(recipe: Mapping[str, Any]) -> Pixels | None:
    """What a recipe's `pixels`, `mean` and `std` say about images; None where it says nothing.

    Raises:
        EdgeqError: they contradict each other.
    """
    pixels, mean, std = (recipe.get(key) for key in ("pixels", "mean", "std"))
    if pixels is None and mean is None and std is None:
        return None
    black, white = pixels or (0.0, 1.0)
    return Pixels(black, white, _channels(mean, 0.0), _channels(std, 1.0))


def real_samples(graph: Graph, arrays: Arrays, recipe: Mapping[str, Any]) -> dict[str, Array]:
    """Samples by input with what the recipe says that they mean: integers by its scale, uint8 ones as pixels.

    Raises:
        EdgeqError: the scale is not positive, or what is said about pixels does not fit the samples.
    """
    stored, pixels = recipe.get("stored"), pixels_of(recipe)
    if stored is None:
        return images.real_samples(graph, arrays, pixels)
    scale, zero = stored
    if not scale > 0:
        raise EdgeqError(f"a scale of {scale} is not positive", fix="write --stored SCALE,ZERO")
    if pixels is not None:
        raise EdgeqError("samples stored with a scale, and pixels", fix="give either --stored, or --pixels, --mean and --std")
    return {n: ((a.astype(np.float64) - zero) * scale).astype(np.float32) if a.dtype.kind in "iu" else a for n, a in arrays.items()}


def spread(graph: Graph, arrays: Arrays, limit: int | None) -> dict[str, Array]:
    """At most `limit` vectors, evenly spread, so that sorted samples stay represented; the first of a graph with states."""

    def some(a: Array) -> Array:
        return a if limit is None or len(a) <= limit else a[:limit] if graph.states else a[np.arange(limit) * len(a) // limit]

    return {n: some(a) for n, a in arrays.items()}


def check_keywords(recipe: Mapping[str, Any]) -> None:
    """Refuse keywords that no recipe has.

    Raises:
        UnknownKeyword: there is one.
    """
    keywords.check(recipe, {*Recipe.__annotations__, *recipes.takers()})


def calibration_samples(graph: Graph, recipe: Recipe) -> dict[str, Array] | None:
    """Calibration vectors for a graph's inputs, ``[V, *shape]`` each; None where the recipe names none.

    Raises:
        EdgeqError: they cannot be read, do not fit the inputs, or hold NaN.
    """
    check_keywords(recipe)
    limit = recipe.get("calibration_limit")
    if limit is not None and limit < 1:
        raise EdgeqError(f"a limit of {limit} samples", fix="ask for one or more")
    source = collect(recipe.get("calibration"), graph, limit=limit, labels=True)
    if source is None:
        return None
    if isinstance(source, str) and source == RANDOM:
        return random_inputs(graph, limit or RANDOM_CALIBRATION)
    if isinstance(source, str) and source == DATA_FREE:
        return made_samples(graph, recipe, limit)
    if recipe.get("stored") is not None and not isinstance(source, Mapping):
        source = select_inputs(graph, read_arrays(Path(source)), str(source))
    if isinstance(source, Mapping):
        arrays = real_samples(graph, select_inputs(graph, source), recipe)
        return spread(graph, fit_inputs(graph, arrays), limit)
    from edgeq.quantize.samples import load_samples

    samples = load_samples(Path(source), graph, limit=limit, pixels=pixels_of(recipe))
    real = {n for n in samples if graph.type(n).dtype is DType.FLOAT32}  # integers are values there, not what an int8 input stores
    with np.errstate(over="ignore"):  # what is infinite then is met again, and refused, in the float model
        return {n: a.astype(np.float32, copy=False) if n in real else a for n, a in samples.items()}


def made_samples(graph: Graph, recipe: Recipe, limit: int | None) -> dict[str, Array] | None:
    """Calibration vectors that a float classifier makes itself, see `quantize.data_free`; the recipe's pixels are their limits.

    Raises:
        EdgeqError: it is no classifier, or an operator has no gradient.
    """
    from edgeq.quantize import data_free

    if is_quantized(graph):
        return None
    pixels = pixels_of(recipe)
    known = pixels is not None and len({*pixels.mean}) == len({*pixels.std}) == 1
    limits = None
    if pixels is not None and known:
        black, white = ((v - pixels.mean[0]) / pixels.std[0] for v in (pixels.black, pixels.white))
        limits = (min(black, white), max(black, white))
    return data_free.samples(graph, limit or data_free.SAMPLES, limits)


def labelled(source: Samples, graph: Graph, limit: int | None, recipe: Mapping[str, Any]) -> tuple[dict[str, Array], Array]:
    """Samples with the meaning that a recipe gives them, by name, and their class numbers, int64 ``[V]``.

    Args:
        source: arrays with labels ``y``, their .npz, an iterable of samples with labels, a folder of class folders, or a .csv with a
            column of labels.
        limit: of folders that many, evenly spread; of other sources the first ones.

    Raises:
        EdgeqError: they cannot be read, do not fit, or there are no labels.
    """
    where = str(source) if isinstance(source, (str, Path)) else ""
    if where and (Path(where).is_dir() or Path(where).suffix.lower() == ".csv"):
        from edgeq.quantize.samples import load_labelled

        return load_labelled(Path(where), graph, limit=limit, pixels=pixels_of(recipe), names=recipe.get("classes"))
    found = collect(source, graph, limit=limit, labels=True)
    arrays = dict(found) if isinstance(found, Mapping) else read_arrays(Path(str(found)))
    y = labels(where, arrays)[:limit]
    given = select_inputs(graph, {n: a[:limit] for n, a in arrays.items() if n not in (*LABELS, "names")}, where)
    return real_samples(graph, given, recipe), y


def calibration_labels(graph: Graph, recipe: Recipe, count: int) -> Array:
    """The labels of `calibration_samples`, int64 ``[V]``.

    Raises:
        EdgeqError: there are none, or not one for each sample, or the graph is no classifier.
    """
    source, limit = recipe.get("calibration"), recipe.get("calibration_limit")
    if isinstance(source, (str, Path)) and source in (RANDOM, DATA_FREE):
        raise EdgeqError("no labels", where=str(source), fix="give samples with their classes, or drop in dB")
    y = spread(graph, {"y": labelled(source, graph, None, recipe)[1]}, limit)["y"]
    if len(y) != count or len(graph.results) != 1:
        why = f"{len(y)} labels, {count} samples, {len(graph.results)} outputs"
        raise EdgeqError("a drop in % needs one label for each sample and one output", where=graph.name, why=why)
    return y


def quantized(
    graph: Graph, samples: Arrays | None, recipe: Recipe, progress: Progress | None = None, goal: Goal | None = None
) -> Quantized:
    """Quantize a float graph and diagnose the result; a quantized graph passes as it is.

    Args:
        goal: of recipe ``auto``.

    Raises:
        EdgeqError: the graph is float and there are no samples, or it is quantized and the recipe asks for more than that.
    """
    own = {key: recipe.get(key) for key in recipes.takers()}
    chosen = recipes.make(recipe.get("recipe") or recipes.DEFAULT, own)
    options, path = recipe.get("options"), recipe.get("precision")
    if is_quantized(graph):
        if chosen != recipes.RECIPES[recipes.DEFAULT]() or path is not None or options is not None:
            raise EdgeqError("the model is quantized already", where=graph.name, fix="leave --precision, --method, --law and the like out")
        return Quantized(graph, {} if samples is None else diagnosis(dequantized(graph), graph, samples, {}, progress), {})
    written = read_precision_file(path, graph)
    if written is not None and written.nodes:
        graph, kept = storage.with_sums(graph, written.nodes, None)
        written = replace(written, nodes=kept)
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
    return Quantized(normalise(made.graph), {**record, **made.more}, {PRECISION: made.precision.encode()})


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
    return {"options": dict(options), "samples": count, "tensors": tensors}


def kept_badly(graph: Graph, record: Mapping[str, Any]) -> bool:
    """Whether an output is so noisy that other recipes are asked."""
    found = {t["name"]: t["sqnr_db"] for t in record["tensors"]}
    return any(found.get(n, LOW) < LOW for n in graph.results)


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
    if path is None:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        raise EdgeqError("cannot read the precision file", where=str(path), why=reason(e)) from e
    return read_precision(text, graph, str(path))


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
        EdgeqError: the samples do not fit, or the graph is quantized already.
    """
    if is_quantized(graph):
        raise EdgeqError("the model is quantized already", where=graph.name)
    recipe: Recipe = {"calibration": calibration, **choices}
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


def write_quantized(
    model: str | Path | Graph,
    output: str | Path,
    *,
    shapes: Shapes | None = None,
    const: Consts | None = None,
    states: States | None = None,
    signature: str | None = None,
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
        graph = model if isinstance(model, Graph) else load(model, shapes=shapes, const=const, states=states, signature=signature)
        if is_quantized(graph) and not stream:
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
