"""Writing files whole or not at all, and reading arrays from files that nobody vouches for."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.errors import EdgeqError

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy itself is imported where it is used: `edgeq --help` needs none

EPOCH = (1980, 1, 1, 0, 0, 0)


def reason(error: Exception) -> str:
    """What an exception of the system says, on one line and without its path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for build products, removed on exit."""
    return tempfile.TemporaryDirectory(prefix="edgeq-")


def alive(pid: str) -> bool:
    """Whether a process of that number runs; False for what is no number."""
    if not (pid.isascii() and pid.isdigit() and len(pid) < 10):
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _descriptor(path: Path) -> int | None:
    """The number of the open file that a path such as /dev/stdout or /dev/fd/63 stands for."""
    found = re.fullmatch(r"(?:/dev/fd|/proc/self/fd)/(\d{1,6})", str(path))
    names = {"/dev/stdout": 1, "/dev/stderr": 2}
    return int(found[1]) if found else names.get(str(path))


def _write_through(path: Path, content: bytes) -> bool:
    """Write to what is no regular file: an open file of this process, a device, a pipe; False where `path` is none."""
    number = _descriptor(path)
    if number is None and (not path.exists() or path.is_file() or path.is_dir()):
        return False
    if number in (1, 2):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    with path.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as file:
        file.write(content)
    return True


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, all or nothing: a temporary one beside it, then renamed over it; its permissions stay.

    A link is followed. What is no regular file (a device, a pipe, /dev/stdout) is written to, not replaced.

    Raises:
        EdgeqError: the place cannot be written; nothing is left behind then.
    """
    try:
        if _write_through(path, content):
            return
        place = Path(os.path.realpath(path))
        mode = stat.S_IMODE(place.stat().st_mode) if place.is_file() else 0o644
        handle, name = tempfile.mkstemp(prefix=f".{place.name[:100]}.", dir=place.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.chmod(mode)
            temporary.replace(place)
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
    import numpy as np

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
    import numpy as np

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
