"""Calibration data from disk: .npy, .npz, a folder of samples or a folder of images."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph, TensorType

ARRAYS = (".npy", ".npz")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")
MAX_BYTES = 2**33  # of one file, uncompressed
ACCEPTED = "give a .npy, an .npz, or a folder of .npy samples or of images"
Samples = dict[str, Array]


def load_samples(
    path: str | Path, graph: Graph, *, limit: int | None = None, pixels: tuple[float, float] | None = None
) -> Samples:
    """Read samples for a graph's inputs.

    A file holds samples along its first axis. In a folder (sub-folders welcome) each .npy or .npz is one sample or several, and
    each image is one sample: converted to the input's channels, scaled to its size. Where `limit` leaves some out, those taken are
    spread evenly, so that folders of classes and sorted files stay represented.

    Args:
        path: .npy, .npz or a folder.
        graph: whose inputs to fill; an .npz or .npy names them or there is one input.
        limit: at most so many samples.
        pixels: the real values of black and white that the model expects, such as (0, 1), (0, 255) or (-1, 1); asked for with images.

    Returns:
        Per input ``[V, *shape]``, in the file's number type; float32 for images.

    Raises:
        EdgeqError: nothing there, a shape that does not fit, NaN, int8 values for a float input, or an unreadable file.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise EdgeqError(f"a limit of {limit} samples", fix="ask for one or more")
    try:
        if path.is_dir():
            samples = _folder(path, graph, limit, pixels)
        elif path.suffix.lower() in ARRAYS and path.is_file():
            samples = _spread(_array_file(path, graph), limit, bool(graph.states))
        else:
            why = "it does not exist" if not path.exists() else f"'{path.suffix}' is not a format for samples"
            raise EdgeqError("no calibration data", where=str(path), why=why, fix=ACCEPTED)
    except OSError as e:
        raise EdgeqError("cannot read the calibration data", where=str(path), why=e.strerror or str(e)) from e
    for name, a in samples.items():
        _check_values(name, a, graph.type(name), str(path))
    return samples


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


def _spread(samples: Samples, limit: int | None, stream: bool) -> Samples:
    """At most `limit` samples: evenly spread ones, of a stream the first."""
    count = len(next(iter(samples.values())))
    if limit is None or count <= limit:
        return samples
    at = np.arange(limit) if stream else np.arange(limit) * count // limit
    return {n: a[at] for n, a in samples.items()}


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
        return EdgeqError("calibration data is not numbers", where=where, why=why)
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
            raise EdgeqError(f"several arrays fit the input: {', '.join(fitting)}", where=where, fix=f"name one of them '{name}'")
        if not fitting:
            shapes = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in arrays.items())
            fix = f"give {_expected(graph)}, first axis = samples"
            raise EdgeqError("no array fits the model's input", where=where, why=f"holds {shapes or 'nothing'}", fix=fix)
        chosen = {name: next(iter(fitting.values()))}
    else:
        missing = [n for n in graph.given if n not in arrays]
        why = f"holds {', '.join(arrays) or 'nothing'}"
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
        with zipfile.ZipFile(path) as archive:
            size = sum(i.file_size for i in archive.infolist())
            if size > MAX_BYTES:
                raise EdgeqError(f"the archive unpacks to {size} bytes", where=str(path), why=f"at most {MAX_BYTES} are read")
        with np.load(path, allow_pickle=False) as archive:
            return _match({n: a for n in archive.files if (a := _member(archive, n)) is not None}, graph, str(path))
    except (ValueError, EOFError, zipfile.BadZipFile) as e:
        raise EdgeqError("not a readable NumPy file", where=str(path), why=str(e).splitlines()[0] if str(e) else type(e).__name__) from e


def _member(archive: np.lib.npyio.NpzFile, name: str) -> Array | None:
    """An array of an archive; None where it holds Python objects (labels as strings are arrays, objects are not read)."""
    try:
        return np.asarray(archive[name])
    except ValueError as e:
        if "pickle" in str(e).lower():
            return None
        raise


def _folder(path: Path, graph: Graph, limit: int | None, pixels: tuple[float, float] | None) -> Samples:
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in (*ARRAYS, *IMAGES) and p.is_file() and not p.name.startswith("."))
    kinds = {p.suffix.lower() in IMAGES for p in files}
    if not files:
        raise EdgeqError("the folder holds no samples", where=str(path), fix=ACCEPTED)
    if len(kinds) > 1:
        raise EdgeqError("the folder holds both arrays and images", where=str(path), fix="keep one kind")
    if limit is not None and len(files) > limit:
        files = [files[i * len(files) // limit] for i in range(limit)]
    if kinds == {True}:
        return _images(files, graph, pixels, str(path))
    parts = [_array_file(p, graph) for p in files]
    return _spread({n: np.concatenate([p[n] for p in parts]) for n in graph.given}, limit, bool(graph.states))


def _images(files: Sequence[Path], graph: Graph, pixels: tuple[float, float] | None, where: str) -> Samples:
    try:
        from PIL import Image
    except ImportError as e:
        raise EdgeqError("reading images needs pillow", where=where, fix="pip install pillow") from e
    if len(graph.given) != 1:
        raise EdgeqError(f"images for a model with {len(graph.given)} inputs", where=where, fix="give an .npz")
    name = graph.given[0]
    t = graph.type(name)
    if pixels is None:
        raise EdgeqError(
            "it is not known which values the model expects for black and white", where=where,
            fix="say so, for example --pixels 0,1 or 0,255 or -1,1",
        )  # fmt: skip
    if not pixels[0] < pixels[1]:
        raise EdgeqError(f"pixel values {pixels[0]}, {pixels[1]}", where=where, fix="give black, then white")
    height, width, channels, first = _image_shape(name, t)
    result = np.empty((len(files), *t.shape), np.float32)
    for i, file in enumerate(files):
        try:
            with Image.open(file) as image:
                picture = image.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
                a = np.asarray(picture, np.float32).reshape(height, width, channels)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
            raise EdgeqError("cannot read this image", where=str(file), why=str(e).splitlines()[0]) from e
        a = pixels[0] + a * np.float32((pixels[1] - pixels[0]) / 255)
        result[i] = (a.transpose(2, 0, 1) if first else a).reshape(t.shape)
    return {name: result}


def _image_shape(name: str, t: TensorType) -> tuple[int, int, int, bool]:
    """Height, width, channels of an image input, and whether channels come first."""
    shape = t.shape[1:] if len(t.shape) == 4 and t.shape[0] == 1 else t.shape
    if len(shape) == 2:
        return shape[0], shape[1], 1, False
    if len(shape) == 3 and shape[2] in (1, 3):
        return shape[0], shape[1], shape[2], False
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[1], shape[2], shape[0], True
    raise EdgeqError(f"input {t} does not take images", where=name, fix="give arrays")
