"""Samples as people have them: arrays, tensors, lists, generators, data loaders -> arrays by input name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph

LABELS = "y"
# What calibration, inputs and labelled data may be: see `collect`.
Samples = str | Path | Mapping[str, Any] | Iterable[Any] | Any


def array(value: Any) -> Array:
    """A number, list, array or tensor (of any device, with or without a gradient) as an array of numbers.

    Raises:
        EdgeqError: it holds something else.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as e:
        raise EdgeqError(f"no array: {type(value).__name__}", why=str(e), fix="give numbers in an array, a tensor or a list") from e
    if found.dtype.kind not in "iufb":
        raise EdgeqError(f"no numbers: {type(value).__name__} of {found.dtype}", fix="give numbers in an array, a tensor or a list")
    return found


def is_array(value: Any) -> bool:
    """Whether a value is one array, not a collection of samples."""
    return hasattr(value, "shape") and (hasattr(value, "__array__") or hasattr(value, "detach"))


def collect(source: Samples, graph: Graph, *, limit: int | None = None, labels: bool = False) -> str | Path | dict[str, Array] | None:
    """Samples for a graph's inputs; a path, ``"random"`` and None pass as they are.

    Args:
        source: arrays by input name; for a graph with one input one array or tensor ``[V, ...]``; or an iterable, a generator
            or a ``DataLoader`` among them, of samples or of batches: each an array, a mapping by input name, or a tuple of the inputs
            in their order and, at its end, a label.
        limit: take no more samples from an iterable than these.
        labels: keep the labels, under ``y``.

    Raises:
        EdgeqError: they are no numbers, or do not fit the graph's inputs.
    """
    if source is None or isinstance(source, (str, Path)):
        return source
    if isinstance(source, Mapping):
        return {str(n): a if isinstance(a, np.ndarray) else array(a) for n, a in source.items()}
    if is_array(source):
        return {"": array(source)}
    if not isinstance(source, Iterable):
        raise EdgeqError(f"a {type(source).__name__} holds no samples", fix="give arrays, a DataLoader, a list, or the path of a file")
    parts: dict[str, list[Array]] = {}
    count = 0
    for item in source:
        found = _parts(item, graph, labels)
        for name, part in found.items():
            parts.setdefault(name, []).append(part)
        count += len(next(iter(found.values())))
        if limit is not None and count >= limit:
            break
    if not parts:
        raise EdgeqError("no samples", why=f"the {type(source).__name__} is empty")
    if any(sum(map(len, p)) != count for p in parts.values()):
        raise EdgeqError("samples of different kinds", why="some lack an input or a label that others have")
    return {n: np.concatenate(p)[:limit] for n, p in parts.items()}


def _parts(item: Any, graph: Graph, labels: bool) -> dict[str, Array]:
    """One item of an iterable: arrays ``[V, *shape]`` by input, and its labels under ``y`` where wanted."""
    names = graph.given
    if isinstance(item, Mapping):
        given = {n: item[n] for n in (*names, *((LABELS,) if labels else ())) if n in item}
        if not set(names) <= set(given):
            why = f"a sample has {', '.join(map(repr, itertools.islice(item, 8)))}"
            raise EdgeqError(f"no array for input '{next(n for n in names if n not in given)}'", why=why)
    elif isinstance(item, (tuple, list)) and len(item) in (len(names), len(names) + 1) and (is_array(item[0]) or len(names) > 1):
        given = dict(zip((*names, LABELS), item, strict=False))
    elif len(names) == 1:
        given = {names[0]: item}
    else:
        raise EdgeqError(f"a sample of one array for {len(names)} inputs", fix=f"give tuples: {', '.join(names)}")
    found = {n: _vectors(array(given[n]), graph.type(n).shape, n) for n in names}
    if labels and LABELS in given:
        found[LABELS] = np.atleast_1d(array(given[LABELS]))
    return found


def _vectors(values: Array, shape: tuple[int, ...], name: str) -> Array:
    """A sample or a batch as ``[V, *shape]``."""
    if not values.size or values.size % math.prod(shape):
        why = f"{list(values.shape)} for {list(shape)}"
        raise EdgeqError(f"a sample does not fit input '{name}'", why=why, fix="give each sample in the input's shape")
    return values.reshape(-1, *shape)
