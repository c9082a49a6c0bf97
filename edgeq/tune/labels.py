"""Labels of classifiers, and how many answers are right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array

LABELS = ("y", "labels", "label")


def labels(path: str, arrays: Mapping[str, Array]) -> Array:
    """The labels ``y`` (or ``labels``), int64 ``[V]``; one-hot rows are reduced.

    Raises:
        EdgeqError: there are none, or they are no class numbers.
    """
    name = next((n for n in LABELS if n in arrays), None)
    if name is None:
        raise EdgeqError("no labels", where=path, why=f"arrays are {', '.join(map(repr, arrays))}", fix="give arrays x and y")
    y = np.asarray(arrays[name])
    if y.ndim == 2 and y.shape[1] > 1:
        y = y.argmax(axis=1)
    y = y.reshape(-1)
    if y.dtype.kind not in "iub" and not (y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.rint(y)).all()):
        raise EdgeqError("the labels are no class numbers", where=path, why=f"array '{name}' of {y.dtype}")
    if not y.size:
        raise EdgeqError("there are no labels", where=path)
    return y.astype(np.int64)


def answers(outputs: Array) -> Array:
    """The class that each vector's outputs say, int64 ``[V]``: the largest, the first of equals; of a single output whether it is above
    one half.
    """
    flat = outputs.reshape(len(outputs), -1)
    return flat.argmax(axis=1) if flat.shape[1] > 1 else (flat[:, 0] > 0.5).astype(np.int64)


def right(outputs: Array, y: Array) -> int:
    """Top-1 hits."""
    return int((answers(outputs) == y).sum())


def confusion(outputs: Array, y: Array, classes: int) -> tuple[tuple[int, ...], ...]:
    """How often each class was the answer, one row per true class."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (y, answers(outputs)), 1)
    return tuple(tuple(row) for row in counts.tolist())
