"""The USART bootloader protocol of ST's AN3155: ROMs of STM32 and GD32 chips, and edgeq's own bootloader (own.py)."""

from __future__ import annotations

import contextlib
import time

from edgeq.errors import EdgeqError
from edgeq.flash import own
from edgeq.flash.client import BLOCK, Client, erase_all, write_all
from edgeq.flash.job import Job, Progress
from edgeq.flash.line import Line, LineLost
from edgeq.run.link import RESTART


def program(job: Job, progress: Progress) -> str:
    """Erase, write, verify, start."""
    rom = job.board.boot is None
    with Line(job.need_port(), job.baud, even=rom) as line:
        enter(line, job)
        client = Client(line).open(wake=b"" if rom else RESTART)
        done = _chip(client, job, progress) if rom else own.program(client, job, progress)
        if job.start and job.listen:
            with contextlib.suppress(LineLost):  # an emulated board may end
                while said := line.read(1, job.listen):
                    job.heard(said)
    return done


def enter(line: Line, job: Job) -> None:
    """Reset a board into its ROM's bootloader, where DTR and RTS are wired to reset and boot selection (bsp.toml says how)."""
    for dtr, rts in job.board.settings.get("enter", ()):
        line.signals(bool(dtr), bool(rts))
        time.sleep(0.1)


def sectors(job: Job) -> list[int]:
    """The numbers of the flash sectors that a firmware touches, from the board's ``sectors = [[number, size], …]``.

    Raises:
        EdgeqError: the board names none.
    """
    place = job.board
    if "sectors" not in place.settings:
        raise EdgeqError(f"board {place.name} does not say how its flash is divided", fix="add [programmer] sectors to its bsp.toml")
    sizes = [int(size) for count, size in place.settings["sectors"] for _ in range(count)]
    at, touched = place.memory["flash"].origin, []
    for number, size in enumerate(sizes):
        if at < job.firmware.end and job.firmware.origin < at + size:
            touched.append(number)
        at += size
    return touched


def _chip(client: Client, job: Job, progress: Progress) -> str:
    """A chip's ROM: its blocks are small, and it cannot check a sum, so that all is read back."""
    firmware, flash = job.firmware, job.board.memory["flash"]
    chip = client.again(client.get_id)
    expected = job.board.settings.get("id")
    if expected is not None and chip != expected:
        why = f"its product number is {chip:#x}, not {expected:#x}"
        raise EdgeqError(f"the chip is not that of board {job.target.name}", where=client.line.port, why=why, fix="check --board")
    job.check_region(flash.origin, flash.bytes, "the flash")
    data = firmware.data + b"\xff" * (-len(firmware.data) % 4)
    erase_all(client, sectors(job), progress)
    write_all(client, firmware.origin, data, BLOCK, progress)
    for i in range(0, len(data), BLOCK):
        part = data[i : i + BLOCK]
        if client.again(client.read, firmware.origin + i, len(part)) != part:
            raise EdgeqError(f"the board's memory differs from the firmware at {firmware.origin + i:#x} or behind", where=client.line.port,
                             fix="flash it again; read-out protection or worn flash cause this, too")  # fmt: skip
        progress("verify", min(i + BLOCK, len(data)), len(data))
    if job.start:
        client.start(firmware.origin, 0)
    return f"{len(data)} bytes at {firmware.origin:#x}, verified{', started' if job.start else ''}"
