"""Debug probes on Cortex-M boards, by pyOCD."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.flash.job import Job, Progress
from edgeq.flash.program import call, find


def program(job: Job, progress: Progress) -> str:
    """Write the flash, read it back through the probe's debug port, and reset the chip."""
    flash = job.board.memory["flash"]
    job.check_region(flash.origin, flash.bytes, "the flash")
    tool = find(("pyocd",), "pip install pyocd")
    probe = ["--target", str(job.board.settings.get("probe", "cortex_m")), *(("--uid", job.port) if job.port else ())]
    progress("write", 0, 2)
    call([tool, "flash", *probe, "--erase", "sector", "--no-reset", str(job.firmware.path)])
    progress("write", 1, 2)
    compare(tool, probe, job)
    if job.start:
        call([tool, "reset", *probe])
    progress("write", 2, 2)
    return f"{len(job.firmware.data)} bytes at {job.firmware.origin:#x}, verified{', started' if job.start else ''}"


def compare(tool: str, probe: list[str], job: Job) -> None:
    """Read the flash back into a file and hold it against the firmware.

    Raises:
        EdgeqError: they differ.
    """
    with temporary_folder() as folder:
        file = Path(folder) / "flash.bin"
        call([tool, "commander", *probe, "--halt", "-c", f"savemem {job.firmware.origin:#x} {len(job.firmware.data)} {file}"])
        read = file.read_bytes() if file.exists() else b""
    if read != job.firmware.data:
        raise EdgeqError("the board's memory differs from the firmware", where=job.target.name, fix="flash it again")
