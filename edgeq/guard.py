"""A process that outlives edgeq by a moment: where edgeq is killed so that it can clean up nothing itself (SIGKILL, out of memory),
it ends the programs that edgeq had started, with all that they had started.

It reads from a pipe which process groups there are. The kernel closes the pipe when edgeq ends, whatever ended it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

from edgeq import system

GUARD = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
_lock = threading.Lock()
_running: dict[int, subprocess.Popen[str]] = {}  # by the process that it guards: a fork has none


def begin() -> None:
    """Start the guard of this process if it has none. Where none can be started, programs outlive a killed edgeq as they would anyway."""
    if system.WINDOWS:
        return
    with _lock, contextlib.suppress(OSError):
        if os.getpid() not in _running:
            _running[os.getpid()] = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", GUARD], text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
            )  # fmt: skip


def watch(group: int) -> None:
    """A process group was started."""
    _tell(f"+{group}\n")


def forget(group: int) -> None:
    """A process group has ended; its number may be another's now."""
    _tell(f"-{group}\n")


def _tell(line: str) -> None:
    with _lock, contextlib.suppress(OSError):  # a guard that somebody ended guards no more
        process = _running.get(os.getpid())
        if process is not None and process.stdin is not None:
            process.stdin.write(line)
            process.stdin.flush()
