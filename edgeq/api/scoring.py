"""Accuracy: how many labelled vectors a classifier gets right, as float model, on the simulator and on a runner."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from edgeq.api import keywords
from edgeq.api.calibration import calibration_samples, labelled
from edgeq.api.devices import evaluate
from edgeq.api.devices import simulated as simulated_outputs
from edgeq.api.execution import is_emitted, run
from edgeq.api.models import Arrays, Progress, is_quantized, is_written, select_inputs, stage
from edgeq.api.quantizing import goal_of, quantized
from edgeq.api.recipe import Recipe, read
from edgeq.api.samples import Samples
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.quantize.floating import dequantized, evaluate_float
from edgeq.record import Score, manifest, measured, note
from edgeq.simulate import fit_inputs, real_array
from edgeq.tune.labels import confusion, right

CLASSES = 40  # up to that many a table of answers is kept


@dataclass(frozen=True)
class Accuracy:
    """Right answers out of `samples`.

    Attributes:
        simulator: of the quantized model.
        real: of the float model, None where there is none.
        runner: of `runner_name`, None where none was asked for.
        bit_exact: the runner's outputs equal the simulator's, None without a runner.
        confusion: ``float``, ``simulator`` or the runner's name -> how often each class was the answer, a row per true class; of up to
            `CLASSES` classes.
    """

    samples: int
    simulator: int | None
    real: int | None
    runner: int | None
    runner_name: str | None
    bit_exact: bool | None
    confusion: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)


@keywords.verb
def accuracy(
    model: str | Path | Graph,
    data: Samples,
    *,
    float_model: str | Path | Graph | None = None,
    runner: str | None = None,
    target: str | None = None,
    toolchain: str | None = None,
    device: str | None = None,
    limit: int | None = None,
    trust: bool = False,
    progress: Progress | None = None,
    budget: Mapping[str, float] | None = None,
    **recipe: Unpack[Recipe],
) -> Accuracy:
    """Top-1 accuracy of a classifier on labelled data.

    Args:
        model: quantized or float: any model file, folder or graph. A float one is scored as it is and, where the
            recipe names calibration samples, quantized.
        data: arrays ``x`` (or by input name; stored dtype or float32) and ``y`` (class numbers), their .npz, an iterable of
            samples or batches with labels, a ``DataLoader`` for example, a folder with a sub-folder of images or arrays per class, or a
            .csv with a column of labels.
        float_model: scored beside a quantized `model`.
        runner, target, toolchain: score the emitted C as well, where a runner or a target is given (see `run`).
        device: let ``cpu``, ``gpu`` or ``interpreter`` (`edgeq.api.devices`) score in place of the simulator, as the runner of that name.
        limit: use the first N vectors; of folders and .csv files N that are evenly spread.
        trust: see `run`.
        budget: of recipe ``auto``, see `quantizing.goal_of`.
        recipe: see `Recipe`; ``stored`` says what integer `data` mean to a float model.

    Raises:
        EdgeqError: the data do not fit the model, the model is no classifier with one output, or there is no such device.
    """
    if device is not None and (runner is not None or target is not None):
        raise EdgeqError("a device and a runner", why="one scores in place of the simulator, one beside it", fix="give one of them")
    written = isinstance(model, Graph) or is_written(model)
    graph = read(model, {} if written and float_model is not None else recipe)
    if limit is not None and limit < 1:
        raise EdgeqError(f"a limit of {limit} vectors", fix="ask for one or more")
    where = str(data) if isinstance(data, (str, Path)) else ""
    arrays, y = labelled(data, graph, limit, recipe)
    reference = None if is_quantized(graph) else graph
    if float_model is not None:
        reference = read(float_model, {n: v for n, v in recipe.items() if n in ("shapes", "const")})
    real = simulated = ran = exact = name = None
    answers = _Answers(y, where)
    if reference is not None:
        real = answers.score("float", reference, score_float(reference, arrays, where, progress))
    samples = None if is_quantized(graph) else calibration_samples(graph, recipe)
    if is_quantized(graph) or samples is not None or recipe.get("recipe") is not None:
        graph = quantized(graph, samples, recipe, progress, goal_of(budget, target, recipe.get("recipe"))).graph
        inputs = select_inputs(graph, arrays, where)
        if device is not None:
            evaluated = evaluate(device, graph, fit_inputs(graph, inputs), progress)
            name, ran = evaluated.runner, answers.score(evaluated.runner, graph, evaluated.outputs)
        else:
            simulated = answers.score("simulator", graph, simulated_outputs(graph, fit_inputs(graph, inputs), progress))
        if runner is not None or target is not None:
            source = model if is_emitted(model) else graph
            outcome = run(source, inputs, target=target, runner=runner, toolchain=toolchain, steps=False, trust=trust, progress=progress)
            name, ran = outcome.run.runner, answers.score(outcome.run.runner, graph, outcome.run.outputs)
            exact = outcome.comparison.bit_exact if outcome.comparison else None
    elif runner is not None or target is not None or device is not None:
        raise EdgeqError(
            "the model is float: there is no C to run", where=graph.name, fix="give --calib, or the folder that `edgeq build` wrote"
        )
    result = Accuracy(len(y), simulated, real, ran, name, exact, answers.tables)
    if is_emitted(model) and os.access(str(model), os.W_OK):
        record_scores(Path(str(model)), result)
    return result


@dataclass
class _Answers:
    """What all give as answers to the same questions.

    Attributes:
        labels: class numbers, int64 ``[V]``.
        where: they come from.
        tables: how often each class was the answer, a row per true class, of each that was asked.
    """

    labels: Array
    where: str
    tables: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)

    def score(self, who: str, graph: Graph, outputs: Mapping[str, Array]) -> int:
        """Right answers of a graph's outputs; the answers themselves go to `tables`."""
        found = hits(graph, outputs, self.labels, self.where)
        name = graph.results[0]
        classes = max(2, graph.type(name).size)
        if classes <= CLASSES:
            self.tables[who] = confusion(real_array(outputs[name], graph.type(name)), self.labels, classes)
        return found


def score_float(graph: Graph, arrays: Arrays, where: str, progress: Progress | None) -> Mapping[str, Array]:
    """Outputs of a float model (or of a quantized one without its rounding) on labelled data."""
    inputs = select_inputs(graph, arrays, where)
    if any(a.dtype == np.int8 for a in inputs.values()):
        raise EdgeqError(
            "int8 vectors for a float model", where=where, why="their scale is not known",
            fix="give --stored SCALE,ZERO, or store real values as float32",
        )  # fmt: skip
    return evaluate_float(dequantized(graph) if is_quantized(graph) else graph, inputs, progress=stage(progress, "float model"))


def hits(graph: Graph, outputs: Mapping[str, Array], y: Array, where: str) -> int:
    """Right answers of a graph's one output.

    Raises:
        EdgeqError: the model has several outputs, or labels and vectors do not fit.
    """
    name = graph.results[0]
    values = outputs[name]
    check_labels(graph, len(values), y, where)
    return right(real_array(values, graph.type(name)), y)


def check_labels(graph: Graph, vectors: int, y: Array, where: str = "") -> None:
    """Refuse class numbers that do not fit a classifier and its vectors.

    Raises:
        EdgeqError: they do not, or the model has several outputs.
    """
    if len(graph.results) != 1:
        raise EdgeqError(f"the model has {len(graph.results)} outputs; accuracy is defined for classifiers with one", where=graph.name)
    classes = max(2, graph.type(graph.results[0]).size)
    if vectors != len(y):
        raise EdgeqError(f"{len(y)} labels for {vectors} vectors", where=where)
    if y.min() < 0 or y.max() >= classes:
        raise EdgeqError(f"labels from {y.min()} to {y.max()} for a model with {classes} classes", where=where)


def record_scores(folder: Path, result: Accuracy) -> None:
    """Note the scores in the folder's measurements."""
    found = measured(folder, manifest(folder).sources_sha256)
    scores = {"float": result.real, "simulator": result.simulator, result.runner_name: result.runner}
    known = {
        n: Score(right, result.samples, result.confusion.get(n, ())) for n, right in scores.items() if n is not None and right is not None
    }
    note(folder, replace(found, accuracy={**found.accuracy, **known}))
