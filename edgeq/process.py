"""Programs of others: each has a time limit, ends with edgeq, and what it says of an error is told."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeq import guard, leftovers, system
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder

OBJECTS = "EDGEQ_OBJECTS"
SECONDS = 600.0  # for a compiler or a build
TAIL = 15  # lines of output in a message
_TOLD = re.compile(r"\b(error|fatal|cannot|can't|no space|not found|denied|undefined|overflowed|failed)\b", re.IGNORECASE)


def first_error(text: str) -> str:
    """The first line of a program's output that speaks of an error, else its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if _TOLD.search(line)), lines[0] if lines else "it printed nothing")[:300]


def start(command: Sequence[str], environment: Mapping[str, str] | None = None, **streams: Any) -> subprocess.Popen[str]:
    """Start a program that ends with edgeq at the latest; `stop` ends it.

    Args:
        environment: variables besides edgeq's own.
        streams: stdin, stdout and stderr as `subprocess.Popen` takes them.

    Raises:
        OSError: it cannot be started.
    """
    with leftovers.held:
        guard.begin()
        process = subprocess.Popen(
            command, text=True, errors="replace", env=None if environment is None else {**os.environ, **environment},
            start_new_session=not system.WINDOWS, **streams,
        )  # fmt: skip
        leftovers.PROCESSES.add(process)
        guard.watch(process.pid)
    return process


def stop(process: subprocess.Popen[str]) -> None:
    """End a program of `start`, with all that it started, if it has not ended."""
    if process.poll() is None:
        system.kill(process)
    process.communicate()
    leftovers.PROCESSES.discard(process)
    guard.forget(process.pid)


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str] | None = None, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """A program for the time of a block; see `start`."""
    process = start(command, environment, **streams)
    try:
        yield process
    finally:
        stop(process)


def run(
    command: Sequence[str], where: str = "", *, seconds: float = SECONDS, environment: Mapping[str, str] | None = None, fix: str = ""
) -> str:
    """Run a program to its end and return what it printed; it and all that it starts end with edgeq.

    Args:
        where: the file or folder that it works on, for messages.
        seconds: its time limit.
        fix: what to do where it does not end in time.

    Raises:
        EdgeqError: it cannot be run, fails or does not end; the message has the first line about an error, and its last lines.
    """
    name = Path(command[0]).name
    try:
        with started(command, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            text = process.communicate(timeout=seconds)[0]
    except OSError as e:
        raise EdgeqError(f"cannot run {command[0]}", where=where, why=e.strerror or str(e)) from e
    except subprocess.TimeoutExpired as e:
        raise EdgeqError(f"{name} did not end within {seconds:g} s", where=where, fix=fix or "try again on a less busy computer") from e
    if process.returncode != 0:
        first, tail = first_error(text), [line for line in text.strip().splitlines()[-TAIL:] if line.strip()]
        lines = [first, *(tail if [line.strip() for line in tail] != [first] else [])]
        raise EdgeqError(f"{name} failed with exit code {process.returncode}\n" + "\n".join(lines), where=where)
    return text


def run_tool(command: Sequence[str], where: str) -> str:
    """Run a compiler or firmware/make.py and return what it printed.

    Zig gets a fresh cache for objects: in a shared one it takes files of one relative name in two folders for the same
    file. What it compiles once per target, its run-time library, stays in its global cache. firmware/make.py keeps objects in
    the folder that ``EDGEQ_OBJECTS`` names (none where it is empty), else in the user's cache.

    Raises:
        EdgeqError: see `run`.
    """
    with temporary_folder() as cache:
        environment = {"ZIG_LOCAL_CACHE_DIR": cache, "ZIG_GLOBAL_CACHE_DIR": zig_cache(cache)}
        kept = system.kept()
        if OBJECTS not in os.environ and kept is not None:
            environment[OBJECTS] = str(kept / "objects")
        return run(command, where, environment=environment)


def zig_cache(otherwise: str) -> str:
    """Zig's global cache: the user's, or `otherwise` where that cannot be written, for Zig would try for ever."""
    named = os.environ.get("ZIG_GLOBAL_CACHE_DIR")
    place = named or "~/.cache/zig"
    try:
        place = named or str(system.cache() / "zig")
        Path(place).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError as e:
        fix = "set ZIG_GLOBAL_CACHE_DIR to a folder that can be written"
        logging.getLogger("edgeq").warning("Zig's cache %s cannot be written (%s): compiling takes longer. Fix: %s", place, e.strerror, fix)
        return otherwise
