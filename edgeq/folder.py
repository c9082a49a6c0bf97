"""Output folders: what edgeq wrote there, what it may replace, and a lock against two writers at once.

A folder's record of what edgeq wrote is ``files`` in its manifest.json, or in measurements.json for what came later (a
report) or has no manifest (a quantized graph), and of an export in edgeq-export.json: file name -> SHA-256. Only what a record names
and nobody changed since is ever replaced or removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgeq import leftovers
from edgeq.errors import EdgeqError
from edgeq.files import alive, json_text, reason
from edgeq.text import first_of

try:
    import fcntl
except ImportError:  # Windows: no lock on folders there
    fcntl = None  # type: ignore[assignment]

MANIFEST, MEASUREMENTS, EXPORT = "manifest.json", "measurements.json", "edgeq-export.json"
BUILT, EXPORTED = (MANIFEST, MEASUREMENTS), (EXPORT,)  # the records of each; neither replaces what is the other's
SEAL = "manifest_sha256"  # of the manifest: the checksum of everything else in it
STAGED, COMMITTED = ".edgeq-new-", ".edgeq-commit-"  # + process id
CHANGE = "change.json"  # of a committed change: see `write`
SHOWN = 8
OF_FILES = {  # suffixes that nobody gives a folder
    ".npz", ".npy", ".csv", ".json", ".toml", ".onnx", ".tflite", ".pt2", ".pt", ".eqg", ".c", ".h", ".zip", ".elf", ".wav", ".png",
}  # fmt: skip


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Name -> SHA-256, as records have it."""
    return {name: digest(content) for name, content in files.items()}


def plain_name(name: object) -> bool:
    """Whether a record's entry names a file of the folder itself."""
    return isinstance(name, str) and name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)


def _inner(name: object) -> bool:
    """Whether a record's entry names a file of the folder, or of one below it."""
    return isinstance(name, str) and all(map(plain_name, name.split("/")))


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not path.is_symlink() else {}
    except (OSError, ValueError, RecursionError):
        data = {}
    return data if isinstance(data, dict) and data.get("format") == 1 and "sources_sha256" in data else {}


def recorded(folder: Path, records: tuple[str, ...] = BUILT) -> dict[str, str]:
    """What the folder's own records say that edgeq wrote: name -> SHA-256, without the records themselves."""
    found: dict[str, str] = {}
    for record in records:
        files = _json(folder / record).get("files", {})
        if isinstance(files, dict):
            found |= {n: h for n, h in files.items() if _inner(n) and isinstance(h, str)}
    return found


def changed(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Names of `files` (name -> SHA-256) that are missing in a folder or hold something else."""
    return sorted(n for n, h in files.items() if not plain_name(n) or not _holds(folder / n, h))


def _holds(path: Path, wanted: str) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and digest(path.read_bytes()) == wanted
    except OSError:
        return False


def sealed(data: Mapping[str, Any]) -> bool:
    """Whether a manifest's entries are those that its checksum was made of."""
    try:
        return bool(digest(json_text({k: v for k, v in data.items() if k != SEAL}).encode()) == data.get(SEAL))
    except ValueError:  # NaN, which edgeq does not write
        return False


def _ours(folder: Path, records: tuple[str, ...] = BUILT) -> set[str]:
    """The names of the records, and of what they name, as edgeq wrote it."""
    found = {r: _json(folder / r) for r in records}
    own = {r for r, data in found.items() if data and (SEAL not in data or sealed(data))}
    return own | {n for n, h in recorded(folder, records).items() if not _linked(folder, n) and _holds(folder / n, h)}


def strangers(folder: Path) -> list[str]:
    """Names in a folder that edgeq did not write, or that were changed since; folders end with a slash."""
    ours = _ours(folder)
    entries = sorted(e for e in folder.iterdir() if not (_working(e, STAGED) or _working(e, COMMITTED)))
    return [e.name + ("/" if e.is_dir() else "") for e in entries if e.name not in ours]


def refuse_strangers(folder: Path, force: bool) -> None:
    """Refuse to write into a folder that holds something that is not edgeq's.

    Args:
        force: what edgeq wrote may have been changed since, and other files may lie beside it: those stay.

    Raises:
        EdgeqError: lists what is in the way.
    """
    found = [] if force else strangers(folder)
    if found:
        raise EdgeqError(
            f"the output folder holds something else: {first_of(found, SHOWN)}", where=str(folder),
            why="not written by edgeq, or changed since",
            fix="choose another folder with -o, or --force: it replaces what edgeq wrote and keeps everything else",
        )  # fmt: skip


def holds(folder: Path, files: Mapping[str, bytes], alone: bool = True) -> bool:
    """Whether these files, and where they are `alone` no others, lie in a folder and in those below it."""
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    return (there == set(files) or not alone) and all(_holds(folder / name, wanted) for name, wanted in digests(files).items())


@contextmanager
def claimed(folder: Path, *, force: bool = False, refuse: Callable[[Path, bool], None] = refuse_strangers) -> Iterator[Path]:
    """An output folder for the time of a build: it is there, nobody else writes it, and `write` may replace what it holds.

    A folder that had to be made for it disappears again where nothing was written.

    Args:
        force: see `refuse_strangers`.
        refuse: raises where what the folder holds must not be written to; a change that was interrupted is completed before.

    Raises:
        EdgeqError: something else lies there (see `refuse_strangers`), another process is writing it, its place is not writable, or
            its name is that of a file.
    """
    if folder.suffix.lower() in OF_FILES and not folder.is_dir():
        raise EdgeqError("the output is a folder", where=str(folder), why=f"this names a {folder.suffix} file", fix="name a folder")
    folder = _resolved(folder)
    with ExitStack() as held:
        try:
            for path in reversed(_make(folder)):
                held.callback(_remove_empty, path)
            held.enter_context(_lock(folder))
            recover(folder, force)
            refuse(folder, force)
            _refuse_locked(folder, recorded(folder))
        except OSError as e:
            raise EdgeqError("cannot write the output folder", where=str(folder), why=reason(e)) from e
        yield folder


def _remove_empty(path: Path) -> None:
    leftovers.EMPTY.discard(path)
    with contextlib.suppress(OSError):  # something was written
        path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; which were made, the innermost first."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    above = missing[-1].parent if missing else folder
    if not above.is_dir():
        what = "the output folder holds something else: it is a file" if above == folder else "cannot write the output folder"
        raise EdgeqError(what, where=str(folder), why="" if above == folder else f"{above} is a file", fix="choose another with -o")
    if not os.access(above, os.W_OK | os.X_OK):
        raise EdgeqError("cannot write the output folder", where=str(folder), why=f"{above} is not writable")
    leftovers.EMPTY.update(missing)
    folder.mkdir(parents=True, exist_ok=True)
    return missing


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold a folder alone; the system lets go of it when the process ends, however it ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not _taken(handle, folder):
            fix = "wait for it, or choose another with -o"
            raise EdgeqError("another edgeq is writing this folder", where=str(folder), fix=fix)
        yield
    finally:
        os.close(handle)


def _taken(handle: int, folder: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return folder.exists() and os.path.samestat(os.fstat(handle), folder.stat())  # whoever made it may just have removed it


def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as e:  # a circle of links is a RuntimeError before Python 3.13
        raise EdgeqError("cannot write the output folder", where=str(folder), why="a circle of links", fix="choose another with -o") from e


def write(folder: Path, files: Mapping[str, bytes], *, force: bool = False, records: tuple[str, ...] = BUILT) -> None:
    """Put files into a folder in place of what edgeq wrote there before; everything else in it stays.

    All or nothing: the files are first staged in the folder, then the change is declared by one rename and carried out by
    renames; one that was interrupted is completed by the next `claimed`. What the change takes the place of is declared with it,
    so that a file that somebody changes meanwhile is not lost.

    Args:
        folder: from `claimed`, or one that is empty or does not exist.
        force: replace edgeq's own files although they were changed.
        records: of what edgeq wrote there before.

    Raises:
        EdgeqError: the place cannot be written, or a file that is not edgeq's, or not any more, has one of the names; nothing is
            changed then.
    """
    folder = _resolved(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old, ours = recorded(folder, records), _ours(folder, records)
        there = {r for r in records if _json(folder / r)}
        known = ours | ({n for n in {*old, *there} if not (folder / n).is_dir()} if force else set())
        _refuse_taken(folder, [n for n in files if _linked(folder, n) or (n not in known and os.path.lexists(folder / n))])
        removed = sorted(ours - set(files))
        _refuse_locked(folder, [*removed, *files])
        change = {"removed": removed, "old": {n: _state(folder / n) for n in (*removed, *files)}}
        staged = folder / f"{STAGED}{os.getpid()}"
        shutil.rmtree(staged, ignore_errors=True)
        leftovers.PATHS.add(staged)
        try:
            staged.mkdir()
            for name, content in files.items():
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                (staged / name).write_bytes(content)
            (staged / CHANGE).write_text(json.dumps(change), encoding="utf-8")
            with leftovers.held:
                _carry_out(folder, staged.rename(folder / f"{COMMITTED}{os.getpid()}"), force=False)
        finally:
            leftovers.remove(staged)
    except OSError as e:
        raise EdgeqError("cannot write the output folder", where=str(folder), why=reason(e)) from e


def _refuse_taken(folder: Path, names: list[str]) -> None:
    if names:
        raise EdgeqError(
            f"files of that name are not edgeq's: {first_of(sorted(names), SHOWN)}", where=str(folder),
            why="not written by edgeq, or changed since", fix="move them away, or choose another folder with -o",
        )  # fmt: skip


def _refuse_locked(folder: Path, names: Iterable[str]) -> None:
    """Refuse a change that would stop half way: in a folder that is not writable, or another user's file where the sticky bit keeps it.

    Raises:
        EdgeqError: lists those files.
    """
    found = [n for n in names if _locked(folder / n)]
    if found:
        raise EdgeqError(
            f"files that this user may not replace: {first_of(sorted(found), SHOWN)}", where=str(folder),
            why="another user's, or in a folder that is not writable", fix="choose another folder with -o",
        )  # fmt: skip


def _locked(path: Path) -> bool:
    above = next(p for p in path.parents if p.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        return True
    if not hasattr(os, "geteuid") or os.geteuid() == 0 or not os.path.lexists(path):
        return False
    place = above.stat()
    return bool(place.st_mode & stat.S_ISVTX) and os.geteuid() not in (place.st_uid, path.lstat().st_uid)


def _linked(folder: Path, name: str) -> bool:
    """Whether a folder on the way to a file is a link: what lies behind it is not the output folder's."""
    return any((folder / above).is_symlink() for above in Path(name).parents)


def _state(path: Path) -> str:
    """What a name stands for: nothing (""), a file (its digest), or something else."""
    if not os.path.lexists(path):
        return ""
    return digest(path.read_bytes()) if path.is_file() and not path.is_symlink() else "no file"


def _carry_out(folder: Path, committed: Path, force: bool) -> None:
    """Complete a declared change: may be repeated.

    Raises:
        EdgeqError: a file that it would replace was changed since it was declared, and `force` is not given, or lies behind a link;
            nothing is done then.
    """
    removed, old = _declared(committed)
    new = sorted(p.relative_to(committed).as_posix() for p in committed.rglob("*") if not p.is_dir() and p != committed / CHANGE)
    _refuse_taken(folder, [n for n in new if _linked(folder, n) or (not force and _state(folder / n) not in ("", old.get(n)))])
    for name in removed:
        if not _linked(folder, name) and _state(folder / name) == old.get(name):
            (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else lies there
                for above in list(Path(name).parents)[:-1]:
                    (folder / above).rmdir()
    for file in new:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (committed / file).replace(folder / file)
    shutil.rmtree(committed)


def _declared(committed: Path) -> tuple[list[str], dict[str, str]]:
    """Of a declared change the names to remove, and name -> `_state` of what it takes the place of; nothing where it is damaged."""
    try:
        change = json.loads((committed / CHANGE).read_text(encoding="utf-8"))
        return [n for n in change["removed"] if _inner(n)], dict(change["old"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return [], {}


def _working(path: Path, prefix: str) -> bool:
    """Whether a folder is one of those in which edgeq makes a change ready."""
    return path.name.startswith(prefix) and path.name.removeprefix(prefix).isdigit() and path.is_dir() and not path.is_symlink()


def recover(folder: Path, force: bool = False) -> None:
    """Clean up after writers that were killed: complete what was declared, remove what was only staged.

    Raises:
        EdgeqError: see `_carry_out`.
    """
    for path in sorted(p for p in folder.iterdir() if _working(p, STAGED)):
        if not alive(path.name.removeprefix(STAGED)):
            shutil.rmtree(path, ignore_errors=True)
    for path in sorted(p for p in folder.iterdir() if _working(p, COMMITTED)):
        if (path / CHANGE).is_file():
            _carry_out(folder, path, force)
        else:
            shutil.rmtree(path, ignore_errors=True)
