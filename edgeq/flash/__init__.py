"""Programmers: a firmware and a board -> the firmware runs there. One file each, one interface: ``program(job, progress)``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from edgeq.board import Board
from edgeq.board import load as load_board
from edgeq.errors import EdgeqError
from edgeq.flash import cores, image
from edgeq.flash.job import Job, Progress, Wanted
from edgeq.target import Target

PROGRAMMERS = ("an3155", "esptool", "mcumgr", "pyocd", "copy", "command")


def flash(elf: Path, target: Target, wanted: Wanted | None = None, programmer: str | None = None, progress: Progress | None = None) -> str:
    """Write a firmware to a board, verify it there and start it.

    Args:
        elf: as `edgeq firmware` makes it, or any other ELF for the board.
        target: a target with a board.
        wanted: None is the board's usual way.
        programmer: one of `PROGRAMMERS`; None is the board's own.
        progress: called with (stage, done, total).

    Returns:
        One line that says what was done.

    Raises:
        EdgeqError: the firmware was built for another core or does not fit, the programmer is missing, or the board does
            not do as it is told. Nothing is written before all checks have passed; afterwards the board's bootloader remains.
    """
    place, wanted = load_board(target), wanted or Wanted()
    name = programmer or ("command" if wanted.command else place.programmer)
    if name not in PROGRAMMERS:
        raise EdgeqError(f"unknown programmer '{name}'", fix=f"choose one of {', '.join(PROGRAMMERS)}")
    firmware = image.read(elf)
    cores.check(firmware, target)
    job = Job(firmware, target, place, **{**vars(wanted), "baud": wanted.baud or speed(place)})
    done: str = import_module(f"edgeq.flash.{name}").program(job, progress or (lambda stage, done, total: None))
    return done


def speed(place: Board) -> int:
    """Bits per second that a board's programmer speaks."""
    return int(place.settings.get("baud", 115200))
