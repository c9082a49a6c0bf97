"""Writing files whole or not at all, and reading arrays from files that nobody vouches for."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import EdgeqError

EPOCH = (1980, 1, 1, 0, 0, 0)


def reason(error: Exception) -> str:
    """What an exception of the system says, on one line and without its path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for build products, removed on exit."""
    return tempfile.TemporaryDirectory(prefix="edgeq-")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, all or nothing: a temporary one beside it, then renamed; one that exists is replaced.

    Raises:
        EdgeqError: the place cannot be written; nothing is changed then.
    """
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, content in files.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).write_bytes(content)
            temporary.chmod(0o755)
            _replace(folder, temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as e:
        raise EdgeqError("cannot write the output folder", where=str(folder), why=reason(e)) from e


def _replace(folder: Path, new: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name(f"{new.name}.old")
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file: a temporary one beside it, then renamed over it.

    Raises:
        EdgeqError: the place cannot be written; nothing is left behind then.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as e:
        raise EdgeqError("cannot write the file", where=str(path), why=reason(e)) from e


def json_text(value: Any) -> str:
    """JSON for files: indented, keys in the given order, no NaN."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An uncompressed .npz of named arrays: the same arrays give the same bytes."""
    with tempfile.SpooledTemporaryFile(max_size=2**26) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        file.seek(0)
        return file.read()


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, or of an .npy file under the name ``""``. Nothing is unpickled.

    Raises:
        EdgeqError: the file is missing, damaged or holds something else than numbers.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"": loaded}
        else:
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, NotImplementedError, SyntaxError) as e:
        missing = isinstance(e, FileNotFoundError)
        why = "no such file" if missing else "" if "pickle" in str(e) else reason(e)
        raise EdgeqError("cannot read arrays", where=str(path), why=why, fix="give an .npz or .npy file of numbers") from e
    if not arrays:
        raise EdgeqError("the file holds no arrays", where=str(path))
    for name, array in arrays.items():
        if array.dtype.kind not in "iufbUS":
            raise EdgeqError(f"array '{name}' holds {array.dtype}, not numbers", where=str(path))
    return arrays
