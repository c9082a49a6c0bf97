"""Writing files whole or not at all, and reading arrays from untrusted files."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from edgeq import leftovers, system
from edgeq.errors import EdgeqError
from edgeq.text import short

try:
    import fcntl
except ImportError:  # Windows: no locks on folders there
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy itself is imported where it is used: `edgeq --help` needs none

TEMPORARY = "edgeq-"
MADE = re.compile(r"(\d{1,9})-[0-9a-f]+")  # what follows in the names of edgeq's own: the process that made it, and what tells them apart
JUST_MADE = 5  # seconds within which a folder may not be locked yet
BEGINNING = 4  # bytes by which files of different kinds differ
QUOTED = re.compile(  # a string of TOML, also one without an end, or a comment
    r'''"""(?:[^"\\]|\\.|"(?!""))*+(?:"""|\Z)|"(?:[^"\\\n]|\\[^\n])*+"?|#[^\n]*+|''' r"""'''(?:[^']|'(?!''))*+(?:'''|\Z)|'[^'\n]*+'?""",
    re.DOTALL,
)
LONG_KEY = re.compile(r"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){99}")
NPY = b"\x93NUMPY"
EPOCH = (1980, 1, 1, 0, 0, 0)
TEXT = 2**26  # bytes of a text file that are read
UNPACKED, RATIO = 2**27, 20  # bytes that an archive may unpack to, and times its own size, whichever is more
DAMAGED_ARRAYS = (
    OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError, SyntaxError, TypeError, OverflowError, TokenError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip


def reason(error: Exception) -> str:
    """What an exception of the system says, on one line and without its path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for build products, removed on exit, or by `leftovers.sweep` when a signal ends the program.

    It is locked for as long as its process lives: the first one of a process removes those that killed processes left.
    """
    above = Path(tempfile.gettempdir())
    _remove_stale(above)
    path = above / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"
    leftovers.PATHS.add(path)
    try:
        path.mkdir(0o700)
    except OSError as e:
        leftovers.PATHS.discard(path)
        raise EdgeqError("cannot make a temporary folder", where=str(path), why=reason(e), fix="set TMPDIR to a folder with room") from e
    lock = os.open(path, os.O_RDONLY) if fcntl else None
    try:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield str(path)
    finally:
        leftovers.remove(path)
        if lock is not None:
            os.close(lock)


@functools.cache
def _remove_stale(above: Path) -> None:
    """Remove the temporary folders of processes that were killed: nobody holds their locks, or without locks, nobody has their number."""
    for path in above.glob(f"{TEMPORARY}*-*"):
        made = MADE.fullmatch(path.name.removeprefix(TEMPORARY))
        if made is None:  # somebody else's
            continue
        with contextlib.suppress(OSError):
            state = path.lstat()
            if fcntl is None:
                if stat.S_ISDIR(state.st_mode) and not alive(made[1]):
                    shutil.rmtree(path, ignore_errors=True)
                continue
            if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or time.time() - state.st_mtime < JUST_MADE:
                continue
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def alive(pid: str) -> bool:
    """Whether a process of that number may run; False for what is no number."""
    return pid.isascii() and pid.isdigit() and len(pid) < 10 and system.alive(int(pid))


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


def _kind(begins: bytes) -> bytes:
    """What tells files of different kinds apart; of JSON, the brace, for somebody may have moved its lines."""
    return b"{" if begins.lstrip()[:1] == b"{" else begins


def _refuse_another_kind(path: Path, begins: bytes, where: Path) -> None:
    """Refuse to write over a file that begins otherwise than what is to be written: somebody's model or data under a wrong name.

    Raises:
        EdgeqError: likewise.
        OSError: it cannot be read.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        there = file.read(BEGINNING)
    if there and _kind(there) != _kind(begins[:BEGINNING]):
        why = f"it is of another kind: it begins with {there!r}, the new content with {begins[:BEGINNING]!r}"
        raise EdgeqError("this file would be overwritten", where=str(where), why=why, fix="write another file, or remove this one first")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, all or nothing: a temporary one beside it, then renamed over it; its permissions stay.

    A link is followed. What is no regular file (a device, a pipe, /dev/stdout) is written to, not replaced. A file of another kind is not
    replaced either.

    Raises:
        EdgeqError: the place cannot be written, or holds a file of another kind; nothing is left behind then.
    """
    try:
        if _write_through(path, content):
            return
        place = Path(os.path.realpath(path))
        if place.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))  # a circle of links: realpath gives up on it
        _refuse_another_kind(place, content, path)
        mode = stat.S_IMODE(place.stat().st_mode) if place.is_file() else None  # a new file has what the umask leaves
        stem = f".{place.name[:100]}.edgeq-"
        for old in place.parent.glob(f"{glob.escape(stem)}*"):
            made = MADE.fullmatch(old.name.removeprefix(stem))
            if made and not alive(made[1]):
                old.unlink(missing_ok=True)  # of a process that was killed
        temporary = place.parent / f"{stem}{os.getpid()}-{secrets.token_hex(4)}"
        leftovers.PATHS.add(temporary)
        try:
            with temporary.open("xb") as file:
                file.write(content)
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(place)
        finally:
            leftovers.remove(temporary)
    except OSError as e:
        raise EdgeqError("cannot write the file", where=str(path), why=reason(e)) from e


def check_place(path: Path | None, begins: bytes = b"") -> None:
    """Refuse, before long work, a file that `write_bytes` could not write in the end.

    Args:
        begins: the first bytes that are to be written; any where none are given.

    Raises:
        EdgeqError: it is a folder or a file of another kind, or the folder that it is to lie in is missing or not writable.
    """
    if path is None or _descriptor(path) is not None:
        return
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise EdgeqError("cannot write the file", where=str(path), why="it is a folder")
    if not place.exists() or place.is_file():
        if not place.parent.is_dir():
            raise EdgeqError("cannot write the file", where=str(path), why="there is no such folder")
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise EdgeqError("cannot write the file", where=str(path), why="its folder is not writable")
    if begins:
        try:
            _refuse_another_kind(place, begins, path)
        except OSError as e:
            raise EdgeqError("cannot write the file", where=str(path), why=reason(e)) from e


def read_bytes(path: Path, most: int) -> bytes:
    """What a file holds, or a pipe that somebody gave, such as ``<(…)``: a named one in a folder might never have a writer.

    Raises:
        OSError: it cannot be read, holds more than `most` bytes, or is a device, which may never end.
    """
    if path.is_fifo() and path.parts[1:2] not in (("dev",), ("proc",)):
        raise OSError(errno.ESPIPE, "it is a named pipe")
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        if not (stat.S_ISREG(state.st_mode) or stat.S_ISFIFO(state.st_mode)):
            raise OSError(errno.ENODEV, "it is a device")
        content = file.read(min(state.st_size, most) + 1 if stat.S_ISREG(state.st_mode) else most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it holds more than {most} bytes")
    return content


def read_text(path: Path, most: int = TEXT, encoding: str = "utf-8") -> str:
    """`read_bytes` as text, a line's end as ``\\n``.

    Raises:
        OSError: see `read_bytes`.
        ValueError: it is no text.
    """
    return read_bytes(path, most).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is none, or costs far more to read than it is long: `tomllib` takes memory by the square of a key's parts.
    """
    if LONG_KEY.search(QUOTED.sub("s", text)):
        raise ValueError("it has a key of 100 parts or more")
    try:
        return tomllib.loads(text)
    except RecursionError as e:
        raise ValueError("it is nested too deeply") from e


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


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive that costs much more to read than it is large, before anything of it is unpacked.

    Raises:
        EdgeqError: it unpacks to far more than its own size, has a password, or is packed in a way that NumPy and PyTorch do not use.
    """
    members = archive.infolist()
    unpacked, held = sum(m.file_size for m in members), path.stat().st_size
    if unpacked > max(UNPACKED, RATIO * held):
        why = f"at most {RATIO} times its size, or {UNPACKED} bytes, are read"
        raise EdgeqError(f"the archive of {held} bytes unpacks to {unpacked}", where=str(path), why=why, fix="store it uncompressed")
    if any(m.flag_bits & 1 for m in members):
        raise EdgeqError("the archive has a password", where=str(path), fix="store it without")
    if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
        raise EdgeqError("the archive is packed by another method than deflate", where=str(path), fix="store it uncompressed")


def check_arrays(path: Path) -> None:
    """`check_archive` of an .npz; any other file passes, for its size is what it says.

    Raises:
        EdgeqError: see `check_archive`; or it holds something else than arrays, or is a device or a pipe, in which NumPy cannot go back.
        OSError, zipfile.BadZipFile: it cannot be read.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise EdgeqError("this is a device or a pipe, not a file of arrays", where=str(path), fix="write it to a file first")
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"
    if packed:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path)
            for member in archive.infolist():
                with archive.open(member) as file:
                    if file.read(len(NPY)) != NPY:
                        raise EdgeqError(f"'{short(member.filename)}' in it is no array", where=str(path), fix="write it with np.savez")


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, or of an .npy file under the name ``""``. Nothing is unpickled.

    Raises:
        EdgeqError: the file is missing, damaged or holds something else than numbers.
    """
    import numpy as np

    try:
        check_arrays(path)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"": loaded}
        else:
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except DAMAGED_ARRAYS as e:
        missing = isinstance(e, FileNotFoundError)
        why = "no such file" if missing else "" if "pickle" in str(e) else reason(e)
        raise EdgeqError("cannot read arrays", where=str(path), why=why, fix="give an .npz or .npy file of numbers") from e
    if not arrays:
        raise EdgeqError("the file holds no arrays", where=str(path))
    for name, array in arrays.items():
        if array.dtype.kind not in "iufbUS":
            raise EdgeqError(f"array '{name}' holds {array.dtype}, not numbers", where=str(path))
    return arrays
