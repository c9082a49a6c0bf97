"""``edgeq`` and ``python -m edgeq``: the command line, and how signals end it.

SIGINT, SIGTERM and SIGHUP end the program with code 128 + their number at any moment, without a traceback and with nothing left
behind: an exception unwinds what is going on, and where that takes too long (a computation in a library does not notice), a
thread ends the program after `GRACE` seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from edgeq import leftovers, system

GRACE = 1.5
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _handle(number: int, frame: FrameType | None) -> None:
    for s in SIGNALS:
        signal.signal(s, signal.SIG_IGN)  # once is enough: nothing interrupts what follows
    leftovers.end(number)


def _finish(number: int) -> None:
    """Remove what is left and end the program here and now."""
    leftovers.sweep()
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
    os.write(2, f"{cursor}edgeq: interrupted\n".encode())
    os._exit(128 + number)


def _watch(pipe: int) -> None:
    """End the program if the main thread does not after a signal has come."""
    while number := os.read(pipe, 1):
        if number[0] in SIGNALS:
            threading.Event().wait(GRACE)
            _finish(number[0])


def _unraisable(found: Any) -> None:
    """Where Python drops an exception of ours it says nothing: the watching thread ends the program."""
    if not isinstance(found.exc_value, leftovers.Ended):
        sys.__unraisablehook__(found)


def listen() -> None:
    """Take the signals. One that the caller had ignored (nohup) stays ignored."""
    sys.unraisablehook = _unraisable
    wanted = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    if not system.WINDOWS:
        pipe, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(pipe,), daemon=True).start()
    for s in wanted:
        signal.signal(s, _handle)


def fill() -> None:
    """Open /dev/null where the caller has closed a standard stream: else the next file would be in its place, and get our messages."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def main() -> None:
    """The program `edgeq`."""
    fill()
    try:
        listen()
        from edgeq.cli.main import main as program

        try:
            program()
        finally:
            for s in SIGNALS:
                signal.signal(s, signal.SIG_IGN)
            leftovers.sweep()
    except leftovers.Ended as e:
        _finish(e.number)
    except Exception as e:
        if not system.out_of_memory(e):
            raise
        os.write(2, f"edgeq: error: {system.FULL}\n".encode())
        sys.exit(1)


if __name__ == "__main__":
    main()
