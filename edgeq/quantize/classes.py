"""Names of classes, from folders or a column of a table -> the class numbers of a model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.files import read_text, reason
from edgeq.ir import Array


def names_of(text: str) -> tuple[str, ...]:
    """Class names in the model's order: with commas between, or a file with one a line.

    Raises:
        EdgeqError: a name is there twice, or the file cannot be read.
    """
    path = Path(text)
    try:
        found = read_text(path).splitlines() if "," not in text and path.is_file() else text.split(",")
    except (OSError, ValueError) as e:
        raise EdgeqError("cannot read the names of the classes", where=text, why=reason(e)) from e
    names = tuple(n.strip() for n in found if n.strip())
    if len(set(names)) != len(names):
        raise EdgeqError("a class is named twice", where=text, fix="give each name once, in the model's order")
    return names


def numbers(labels: Sequence[str], classes: Sequence[str] | None, where: str) -> Array:
    """Class numbers of labels, int64 ``[V]``.

    Args:
        classes: names in the model's order. Without them the names are sorted as PyTorch's ImageFolder and Keras sort folders.

    Raises:
        EdgeqError: a label is no class, or numbers as names do not say which order is meant (``"10"`` sorts before ``"2"``).
    """
    found = sorted(set(labels))
    if classes is None:
        astray = next((p for p in itertools.pairwise(found) if all(n.isdecimal() for n in found) and int(p[0]) > int(p[1])), None)
        if astray is not None:
            raise EdgeqError(
                "the order of the classes is not clear", where=where, why=f"as text '{astray[0]}' comes before '{astray[1]}'",
                fix=f"name them in the model's order: --classes {','.join(sorted(found, key=int)[:3])},...",
            )  # fmt: skip
        classes = found
    unknown = next((n for n in found if n not in classes), None)
    if unknown is not None:
        raise EdgeqError(f"'{unknown[:60]}' is no class", where=where, fix="name every class with --classes, in the model's order")
    at = {n: i for i, n in enumerate(classes)}
    return np.array([at[n] for n in labels], np.int64)
