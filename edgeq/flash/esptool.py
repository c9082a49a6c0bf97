"""ESP32 chips, by Espressif's esptool: it makes the image, writes it and compares a hash."""

from __future__ import annotations

from pathlib import Path

from edgeq.files import temporary_folder
from edgeq.flash.job import Job, Progress
from edgeq.flash.program import call, find


def program(job: Job, progress: Progress) -> str:
    """Write an application behind the bootloader and the partition table that ESP-IDF put there."""
    origin, size = job.board.settings.get("memory", (0, 2**32))
    job.check_region(int(origin), int(size), "the memory")
    tool = find(("esptool", "esptool.py"), "pip install 'edgeq[esp]'")
    chip, offset = str(job.board.settings.get("chip", "auto")), int(job.board.settings.get("offset", 0x10000))
    with temporary_folder() as folder:
        image = Path(folder) / "application.bin"
        progress("write", 0, 2)
        call([tool, "--chip", chip, "elf2image", "--output", str(image), str(job.firmware.path)])
        progress("write", 1, 2)
        after = "hard_reset" if job.start else "no_reset"
        line = [tool, "--chip", chip, "--port", job.need_port(), "--baud", str(job.baud), "--after", after]
        call([*line, "write_flash", f"{offset:#x}", str(image)])
        progress("write", 2, 2)
        size = image.stat().st_size
    return f"{size} bytes at {offset:#x} of the flash, verified by esptool{', started' if job.start else ''}"
