"""What must be gone when the program ends, however it ends: temporary folders and files, and programs that it started.

Each is entered here before it comes into being. `sweep` removes what is left; `edgeq.__main__` calls it at the end and when a
signal ends the program. After SIGKILL the next start removes what the killed one left (`files.temporary_folder`).
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from edgeq import system

PATHS: set[Path] = set()  # to be removed, with all that is in them
EMPTY: set[Path] = set()  # folders to be removed if nothing is in them
PROCESSES: set[subprocess.Popen[str]] = set()  # each leads a group of its own


class Ended(BaseException):
    """A signal ends the program. No `Exception`, so that nothing that handles errors takes it for one."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class _Held:
    """While it is entered a signal waits: for steps that must not be torn apart. Short ones alone."""

    def __init__(self) -> None:
        self.depth = 0
        self.pending: int | None = None

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.depth -= 1
        if self.depth == 0 and self.pending is not None:
            number, self.pending = self.pending, None
            raise Ended(number)


held = _Held()


def end(number: int) -> None:
    """What a signal's handler does.

    Raises:
        Ended: now, or where what is `held` ends.
    """
    if held.depth:
        held.pending = number
    else:
        raise Ended(number)


def sweep() -> None:
    """End every program that was started and remove every temporary file and folder."""
    for process in list(PROCESSES):
        system.kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
    for path in list(PATHS):
        remove(path)
    for path in sorted(EMPTY, key=lambda p: -len(p.parts)):
        with contextlib.suppress(OSError):
            path.rmdir()


def remove(path: Path) -> None:
    """Remove a temporary file or folder and forget it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
    PATHS.discard(path)
