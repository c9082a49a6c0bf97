"""Programmers: a firmware and a board -> the firmware runs there. One file each, one interface: ``program(job, progress)``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from edgeq.board import Board
from edgeq.board import load as load_board
from edgeq.errors import EdgeqError
from edgeq.flash import cores, image
from edgeq.flash.job import Job, Progress
from edgeq.target import Target

PROGRAMMERS = ("an3155", "esptool", "mcumgr", "pyocd", "copy", "command")


def flash(
    elf: Path,
    target: Target,
    *,
    port: str | None = None,
    programmer: str | None = None,
    baud: int | None = None,
    command: str | None = None,
    start: bool = True,
    listen: float = 0,
    heard: Callable[[bytes], None] = lambda data: None,
    progress: Progress | None = None,
    allow_downgrade: bool = False,
    key: Path | None = None,
) -> str:
    """Write a firmware to a board, verify it there and start it.

    Args:
        elf: as `edgeq firmware` makes it, or any other ELF for the board.
        target: a target with a board.
        port: serial port, URL of pyserial, or folder of a drive; what it is depends on the programmer.
        programmer: one of `PROGRAMMERS`; None is the board's own.
        baud: bits per second; None is the board's usual speed.
        command: the user's own, for programmer ``command``.
        start: start the firmware when it is there.
        listen: hear what it says until it is silent for so many seconds, where the programmer is a serial port's.
        heard: called with what it says.
        progress: called with (stage, done, total).
        allow_downgrade: also where the board runs a higher version.
        key: a private key (PEM), by which the image for MCUboot is signed.

    Returns:
        One line that says what was done.

    Raises:
        EdgeqError: the firmware was built for another core or does not fit, the programmer is missing, or the board does
            not do as it is told. Nothing is written before all checks have passed; afterwards the board's bootloader remains.
    """
    place = load_board(target)
    name = programmer or ("command" if command else place.programmer)
    if name not in PROGRAMMERS:
        raise EdgeqError(f"unknown programmer '{name}'", fix=f"choose one of {', '.join(PROGRAMMERS)}")
    firmware = image.read(elf)
    cores.check(firmware, target)
    job = Job(firmware, target, place, port, baud or speed(place), command, start, listen, heard, allow_downgrade, key)
    done: str = import_module(f"edgeq.flash.{name}").program(job, progress or (lambda stage, done, total: None))
    return done


def speed(place: Board) -> int:
    """Bits per second that a board's programmer speaks."""
    return int(place.settings.get("baud", 115200))
