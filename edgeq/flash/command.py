"""Any programmer of the user's: a command line with the firmware filled in."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.flash.copy import intel_hex
from edgeq.flash.job import Job, Progress
from edgeq.flash.program import call


def program(job: Job, progress: Progress) -> str:
    """Run the command; whether it verifies and starts is its own affair."""
    flash = job.board.memory["flash"] if job.board.boot is None else job.board.boot.application
    job.check_region(flash.origin, flash.bytes, "the flash")
    if not job.command:
        raise EdgeqError(f"board {job.target.name} has no programmer of edgeq's", fix="give --command 'openocd … {elf} …' or --programmer")
    with temporary_folder() as folder:
        binary, text = Path(folder) / "firmware.bin", Path(folder) / "firmware.hex"
        binary.write_bytes(job.firmware.data)
        text.write_bytes(intel_hex(job.firmware))
        values = {
            "{elf}": str(job.firmware.path), "{bin}": str(binary), "{hex}": str(text), "{port}": job.port or "",
            "{origin}": f"{job.firmware.origin:#x}",
        }  # fmt: skip
        words = split(job.command)
        for name, value in values.items():
            words = [w.replace(name, value) for w in words]
        progress("write", 0, 1)
        call(words)
        progress("write", 1, 1)
    return f"{words[0]} has succeeded"


def split(command: str) -> list[str]:
    """A command line as words.

    Raises:
        EdgeqError: it has none, or a quote is open.
    """
    try:
        words = shlex.split(command)
    except ValueError as e:
        raise EdgeqError(f"not a command: {command}", why=str(e)) from e
    if not words:
        raise EdgeqError("the command is empty")
    return words
