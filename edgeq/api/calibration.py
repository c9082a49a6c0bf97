"""Calibration: samples and labels for a model's inputs, with what a recipe says that they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.api.models import Arrays, is_float, random_inputs, select_inputs
from edgeq.api.recipe import Recipe
from edgeq.api.samples import Samples, collect
from edgeq.errors import EdgeqError
from edgeq.files import read_arrays
from edgeq.ir import Array, DType, Graph
from edgeq.quantize import images
from edgeq.quantize.images import Pixels
from edgeq.simulate import fit_inputs
from edgeq.tune.labels import LABELS, labels

RANDOM, DATA_FREE = "random", "data-free"
RANDOM_CALIBRATION = 64


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


def calibration_samples(graph: Graph, recipe: Recipe) -> dict[str, Array] | None:
    """Calibration vectors for a graph's inputs, ``[V, *shape]`` each; None where the recipe names none.

    Raises:
        EdgeqError: they cannot be read, do not fit the inputs, or hold NaN.
    """
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


def is_real(recipe: Recipe) -> bool:
    """Whether the samples are somebody's, not made up here."""
    source = recipe.get("calibration")
    return not isinstance(source, str) or source not in (RANDOM, DATA_FREE)


def made_samples(graph: Graph, recipe: Recipe, limit: int | None) -> dict[str, Array] | None:
    """Calibration vectors that a float classifier makes itself, see `quantize.data_free`; the recipe's pixels are their limits.

    Raises:
        EdgeqError: it is no classifier, or an operator has no gradient.
    """
    from edgeq.quantize import data_free

    if not is_float(graph):
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
