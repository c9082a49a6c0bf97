"""Samples from disk: .npy, .npz, .csv, a folder of those or a folder of images, and their labels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.files import DAMAGED_ARRAYS, check_arrays, reason
from edgeq.ir import Array, DType, Graph, TensorType
from edgeq.quantize import classes, images
from edgeq.quantize.csv_files import read_csv
from edgeq.quantize.images import Pixels
from edgeq.text import first_of

LOG = logging.getLogger("edgeq")
SHOWN = 10  # names in a message
ARRAYS = (".npy", ".npz", ".csv")
ACCEPTED = "give a .npy, an .npz, a .csv, or a folder of those or of images"
Samples = dict[str, Array]


def load_samples(path: str | Path, graph: Graph, *, limit: int | None = None, pixels: Pixels | None = None) -> Samples:
    """Read samples for a graph's inputs.

    A file holds samples along its first axis; a .csv as `read_csv` says. In a folder (sub-folders welcome) each .npy, .npz or .csv is
    one sample or several, and each image is one sample: converted to the input's channels, scaled to its size. Where `limit`
    leaves some out, those taken are spread evenly, so that folders of classes and sorted files stay represented.

    Args:
        path: .npy, .npz, .csv or a folder.
        graph: whose inputs to fill; an .npz or .npy names them or there is one input.
        limit: at most N samples.
        pixels: the real values that the model expects for the pixels of images; asked for with images.

    Returns:
        Per input ``[V, *shape]``, in the file's number type; float32 for images and .csv.

    Raises:
        EdgeqError: nothing there, a shape that does not fit, NaN, int8 values for a float input, or an unreadable file.
    """
    return _load(Path(path), graph, limit, pixels)[0]


def load_labelled(
    path: Path, graph: Graph, *, limit: int | None = None, pixels: Pixels | None = None, names: Sequence[str] | None = None
) -> tuple[Samples, Array]:
    """Samples as of `load_samples`, and their class numbers, int64 ``[V]``: by sub-folders, or by a column of a .csv file.

    Args:
        names: of the classes, in the model's order (see `classes.numbers`).

    Raises:
        EdgeqError: there are no labels; or as of `load_samples`.
    """
    samples, labels = _load(path, graph, limit, pixels)
    if labels is None:
        fix = "put the samples of each class into a sub-folder of its name" if path.is_dir() else "give the file a column 'y'"
        raise EdgeqError("no labels", where=str(path), fix=f"{fix}, or give an .npz with arrays x and y")
    if names is None and path.is_file() and not all(n.lstrip("-").isdecimal() for n in labels):
        order = ", ".join(f"{i} {n}" for i, n in enumerate(sorted(set(labels))[:SHOWN]))
        LOG.warning("class names in %s are taken in alphabetical order: %s. Fix: --classes with them in the model's order", path, order)
    return samples, classes.numbers(labels, names, str(path))


def _load(path: Path, graph: Graph, limit: int | None, pixels: Pixels | None) -> tuple[Samples, list[str] | None]:
    if limit is not None and limit < 1:
        raise EdgeqError(f"a limit of {limit} samples", fix="ask for one or more")
    try:
        if path.is_dir():
            samples, labels = _folder(path, graph, limit, pixels)
        elif path.suffix.lower() in ARRAYS and path.is_file():
            samples, labels = _file(path, graph, pixels)
        else:
            why = "it does not exist" if not path.exists() else f"'{path.suffix}' is not a format for samples"
            raise EdgeqError("no calibration data", where=str(path), why=why, fix=ACCEPTED)
    except OSError as e:
        raise EdgeqError("cannot read the calibration data", where=str(path), why=e.strerror or str(e)) from e
    count = len(next(iter(samples.values())))
    if limit is not None and count > limit:  # of a stream the first ones
        at = np.arange(limit) if graph.states else np.arange(limit) * count // limit
        samples, labels = {n: a[at] for n, a in samples.items()}, labels and [labels[i] for i in at]
    for name, a in samples.items():
        _check_values(name, a, graph.type(name), str(path))
    return samples, labels


def _expected(graph: Graph) -> str:
    return ", ".join(f"'{n}' {graph.type(n)}" for n in graph.given)


def _check_values(name: str, a: Array, t: TensorType, where: str) -> None:
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        raise EdgeqError(f"samples for '{name}' hold NaN or infinity", where=where, fix="remove the damaged samples")
    if a.dtype == np.int8 and t.dtype is DType.FLOAT32:
        raise EdgeqError(
            f"int8 samples for the float input '{name}'", where=where, why="their scale is not known",
            fix="store real values, (q - zero_point) * scale, as float32",
        )  # fmt: skip


def fit(a: Array, t: TensorType) -> Array | None:
    """`a` as ``[V, *shape]``, or None where it does not fit.

    Axes of length 1 may be missing or too many, a sample may be flat, and one sample may come without its first axis;
    axes in another order do not fit.
    """

    def plain(shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(n for n in shape if n != 1)

    if a.size == 0 or a.dtype.kind not in "fiu":
        return None
    for vectors, rest in ((len(a) if a.ndim else 1, a.shape[1:]), (1, a.shape)):
        if a.size == vectors * t.size and (plain(rest) == plain(t.shape) or math.prod(rest) == t.size == max(rest, default=1)):
            return a.reshape(vectors, *t.shape)
    return None


def _misfit(name: str, a: Array, graph: Graph, where: str) -> EdgeqError:
    t = graph.type(name) if name in graph.given else graph.type(graph.given[0])
    why = f"{a.dtype}{list(a.shape)} does not fit {t}"
    if a.size == 0:
        return EdgeqError("the calibration data is empty", where=where, why=why, fix=f"give {_expected(graph)}, first axis = samples")
    if a.dtype.kind not in "fiu":
        return EdgeqError("calibration data is not numbers", where=where, why=why, fix=f"give {_expected(graph)}, first axis = samples")
    if a.ndim == len(t.shape) >= 4 and sorted(a.shape[1:]) == sorted(t.shape[1:]):
        return EdgeqError("the axes of the calibration data are in another order", where=where, why=why, fix="transpose the samples")
    fix = f"give {_expected(graph)}, first axis = samples"
    return EdgeqError("the shape of the calibration data does not fit", where=where, why=why, fix=fix)


def _match(arrays: Mapping[str, Array], graph: Graph, where: str) -> Samples:
    """Arrays of a file -> inputs: by name, or the only array that fits the only input."""
    if set(graph.given) <= set(arrays):
        chosen = {n: arrays[n] for n in graph.given}
    elif len(graph.given) == 1:
        name = graph.given[0]
        fitting = {n: a for n, a in arrays.items() if fit(a, graph.type(name)) is not None}
        if len(arrays) == 1:
            fitting = dict(arrays)
        if len(fitting) > 1:
            several = first_of(list(fitting), SHOWN)
            raise EdgeqError(f"several arrays fit the input: {several}", where=where, fix=f"name one of them '{name}'")
        if not fitting:
            shapes = first_of([f"{n} {a.dtype}{list(a.shape)}" for n, a in arrays.items()], SHOWN)
            fix = f"give {_expected(graph)}, first axis = samples"
            raise EdgeqError("no array fits the model's input", where=where, why=f"holds {shapes or 'nothing'}", fix=fix)
        chosen = {name: next(iter(fitting.values()))}
    else:
        missing = [n for n in graph.given if n not in arrays]
        why = f"holds {first_of(list(arrays), SHOWN) or 'nothing'}"
        raise EdgeqError(f"no array for input {', '.join(missing)}", where=where, why=why, fix=f"give {_expected(graph)}")
    fitted = {}
    for name, a in chosen.items():
        found = fit(a, graph.type(name))
        if found is None:
            raise _misfit(name, a, graph, where)
        fitted[name] = found
    if len({len(a) for a in fitted.values()}) > 1:
        raise EdgeqError("inputs have different numbers of samples", where=where)
    return fitted


def _array_file(path: Path, graph: Graph) -> Samples:
    """One .npy or .npz."""
    try:
        if path.suffix.lower() == ".npy":
            if len(graph.given) > 1:
                raise EdgeqError(f"one array for {len(graph.given)} inputs", where=str(path), fix=f"give an .npz with {_expected(graph)}")
            view = np.load(path, mmap_mode="r", allow_pickle=False)
            return _match({graph.given[0]: np.array(view)}, graph, str(path))
        check_arrays(path)
        with np.load(path, allow_pickle=False) as archive:
            found = {n: _member(archive, n) for n in archive.files}
            if found and all(a is None for a in found.values()):
                fix = "store arrays of numbers: np.savez(path, x=np.asarray(samples, np.float32))"
                raise EdgeqError("the arrays hold Python objects, not numbers", where=str(path), why=first_of(list(found), SHOWN), fix=fix)
            return _match({n: a for n, a in found.items() if a is not None}, graph, str(path))
    except DAMAGED_ARRAYS as e:
        why = "it is none, or it holds pickled objects" if "pickle" in str(e) else reason(e)
        raise EdgeqError("not a readable NumPy file", where=str(path), why=why, fix="write it with np.savez(path, x=samples)") from e


def _member(archive: np.lib.npyio.NpzFile, name: str) -> Array | None:
    """An array of an archive; None where it holds Python objects (labels as strings are arrays, objects are not read)."""
    try:
        return np.asarray(archive[name])
    except ValueError as e:
        if "pickle" in str(e).lower():
            return None
        raise


def _file(path: Path, graph: Graph, pixels: Pixels | None) -> tuple[Samples, list[str] | None]:
    """The samples of one file, and their labels where it has a column for them."""
    if path.suffix.lower() != ".csv":
        return images.real_samples(graph, _array_file(path, graph), pixels), None
    samples, labels = read_csv(path, graph)
    if pixels is not None and all(((a >= 0) & (a <= 255) & (a == np.rint(a))).all() for a in samples.values()):
        samples = images.real_samples(graph, {n: a.astype(np.uint8) for n, a in samples.items()}, pixels)
    elif pixels is not None:
        raise EdgeqError("pixel values for a table", where=str(path), why="it holds other numbers than 0 to 255", fix="leave --pixels out")
    return samples, labels


def _folder(path: Path, graph: Graph, limit: int | None, pixels: Pixels | None) -> tuple[Samples, list[str] | None]:
    """The samples of a folder; their labels are the names of the sub-folders that all of them lie in, or the files' own."""
    known = (*ARRAYS, *images.SUFFIXES)
    next(path.iterdir(), None)  # which says why it cannot be read, where rglob finds nothing
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in known and p.is_file() and not p.name.startswith("."))
    kinds = {p.suffix.lower() in images.SUFFIXES for p in files}
    if not files:
        raise EdgeqError("the folder holds no samples", where=str(path), fix=ACCEPTED)
    if len(kinds) > 1:
        raise EdgeqError("the folder holds both arrays and images", where=str(path), fix="keep one kind")
    if limit is not None and len(files) > limit:
        files = [files[i * len(files) // limit] for i in range(limit)]
    parts: list[tuple[Samples, list[str] | None]]
    if kinds == {True}:
        parts = [(images.read_images(files, graph, pixels, str(path)), None)]
        counts = [1] * len(files)
    else:
        parts = [_file(p, graph, pixels) for p in files]
        counts = [len(next(iter(samples.values()))) for samples, _ in parts]
    merged = {n: np.concatenate([samples[n] for samples, _ in parts]) for n in graph.given}
    inner = [p.relative_to(path).parts for p in files]
    while len({p[0] for p in inner}) == 1 and all(len(p) > 2 for p in inner):  # a single folder around those of the classes
        inner = [p[1:] for p in inner]
    if all(len(p) > 1 for p in inner):
        return merged, [p[0] for p, count in zip(inner, counts, strict=True) for _ in range(count)]
    if all(labels is not None for _, labels in parts):
        return merged, [label for _, labels in parts for label in labels or ()]
    return merged, None
