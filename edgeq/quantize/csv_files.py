"""Tables of sensors' values (.csv) -> samples and their labels."""

from __future__ import annotations

import csv
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.files import read_text, reason
from edgeq.ir import Array, Graph, TensorType

LABELS = ("y", "label", "labels", "class")
LEFT_OUT = ("time", "timestamp", "index")
MAX_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class Table:
    """The numbers of a file ``[rows, columns]``, the names of its columns and the label of each row, where it has them."""

    values: Array
    columns: tuple[str, ...]
    labels: tuple[str, ...] | None


def read_csv(path: Path, graph: Graph) -> tuple[dict[str, Array], list[str] | None]:
    """Samples for a graph's one input, and their labels where the file has a column for them.

    A row is a sample where it has as many values as the input; else it is a moment of a recording, one value per channel, and as
    many rows as the input is long make a sample: one after another, without overlap, each of one label. A first row that is
    no numbers names the columns: `LABELS` hold labels, but for a `y` beside a `z`; `LEFT_OUT` are left out.

    Raises:
        EdgeqError: the file cannot be read, holds something else than numbers, or does not fit the input.
    """
    if len(graph.given) != 1:
        raise EdgeqError(f"a .csv file for a model with {len(graph.given)} inputs", where=str(path), fix="give an .npz")
    name = graph.given[0]
    table = read_table(path)
    values, labels = _samples(table, graph.type(name), str(path))
    return {name: values}, labels


def read_table(path: Path) -> Table:
    """Read a file with commas, semicolons or tabs between values; behind semicolons a comma may be the decimal point.

    Raises:
        EdgeqError: it cannot be read, or a cell is no number.
    """
    try:
        text = read_text(path, MAX_BYTES, "utf-8-sig")
    except (OSError, ValueError) as e:
        raise EdgeqError("cannot read the samples", where=str(path), why=reason(e)) from e
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines:
        raise EdgeqError("the file holds no samples", where=str(path))
    between = max(",;\t", key=lines[0][1].count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader((line for _, line in lines), delimiter=between)]
    except csv.Error as e:
        raise EdgeqError("not a table", where=str(path), why=reason(e)) from e
    head = rows[0] if any(_number(c, between) is None for c in rows[0]) else None
    names = head or [f"column {i + 1}" for i in range(len(rows[0]))]
    known = LABELS if "z" not in map(str.lower, names) else LABELS[1:]  # x, y, z are axes
    at = next((i for i, n in enumerate(names) if n.lower() in known), None) if head else None
    kept = [i for i, n in enumerate(names) if i != at and n.lower() not in LEFT_OUT]
    found = []
    for (line, _), row in itertools.islice(zip(lines, rows, strict=False), int(head is not None), None):
        if len(row) != len(names):
            raise EdgeqError(f"{len(row)} values in a table of {len(names)} columns", where=f"{path}:{line}")
        numbers = [_number(row[i], between) for i in kept]
        bad = next((names[i] for i, v in zip(kept, numbers, strict=True) if v is None or not math.isfinite(v)), None)
        if bad is not None:
            raise EdgeqError(
                f"'{bad[:40]}' holds something else than a number", where=f"{path}:{line}", fix=f"labels belong in a column '{LABELS[0]}'"
            )
        found.append(numbers)
    if not found or not kept:
        raise EdgeqError("the file holds no samples", where=str(path))
    labels = None if at is None else tuple(row[at] for row in rows[1:])
    return Table(np.array(found, np.float64).astype(np.float32), tuple(names[i] for i in kept), labels)


def _number(cell: str, between: str) -> float | None:
    """The number in a cell; None where it is none."""
    try:
        return float(cell.replace(",", ".") if between == ";" else cell)
    except ValueError:
        return None


def _samples(table: Table, t: TensorType, where: str) -> tuple[Array, list[str] | None]:
    """``[V, *shape]`` and labels."""
    rows, columns = table.values.shape
    if columns == t.size:
        return table.values.reshape(rows, *t.shape), None if table.labels is None else list(table.labels)
    axes = [n for n in t.shape if n != 1] if columns > 1 else [t.size, 1]
    if len(axes) != 2 or columns not in axes:
        wanted = f"{t.size} for a sample in a row" + (f", or {axes[-1]} or {axes[0]} for a moment in a row" if len(axes) == 2 else "")
        raise EdgeqError(f"{columns} columns do not fit the input {t}", where=where, fix=f"give {wanted}")
    length, first = t.size // columns, axes[-1] != columns  # channels first: [channels, moments]
    parts, labels = [], []
    for label, run in itertools.groupby(enumerate(table.labels or ("",) * rows), key=lambda row: row[1]):
        at = [i for i, _ in run]
        for begin in range(0, len(at) - length + 1, length):
            part = table.values[at[begin] : at[begin] + length]
            parts.append((part.T if first else part).reshape(t.shape))
            labels.append(label)
    if not parts:
        raise EdgeqError(f"the recording is shorter than a sample of {length} rows", where=where, why=f"it has {rows}")
    return np.stack(parts), labels if table.labels else None
