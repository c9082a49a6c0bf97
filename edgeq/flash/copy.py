"""Boards that show a drive: a file is copied there, in UF2 or Intel HEX."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.files import reason
from edgeq.flash.image import Firmware
from edgeq.flash.job import Job, Progress
from edgeq.flash.ports import drives

PAYLOAD = 256
FAMILY_PRESENT = 0x2000


def program(job: Job, progress: Progress) -> str:
    """Copy the firmware to the board's drive. The board programs itself; nobody can read it back."""
    flash = job.board.memory["flash"]
    job.check_region(flash.origin, flash.bytes, "the flash")
    drive = Path(job.port) if job.port else only_drive()
    if not drive.is_dir():
        raise EdgeqError("no such drive", where=str(drive), fix="give the folder where it is mounted; `edgeq flash --list` shows them")
    if (drive / "INFO_UF2.TXT").is_file():
        name, content = "firmware.uf2", uf2(job.firmware, int(job.board.settings.get("uf2_family", 0)))
    else:
        name, content = "firmware.hex", intel_hex(job.firmware)
    progress("write", 0, 1)
    try:
        with (drive / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        raise EdgeqError("cannot write to the drive", where=str(drive), why=reason(e), fix="connect it again and repeat") from e
    progress("write", 1, 1)
    failed(drive)
    return f"{name}, {len(content)} bytes, copied to {drive}; what the board made of it was not read back"


def only_drive() -> Path:
    """The drive of the one board that is connected.

    Raises:
        EdgeqError: there is none, or there are several.
    """
    found = drives()
    if len(found) != 1:
        why = f"connected: {', '.join(d.port for d in found) or 'none'}"
        raise EdgeqError("which drive?", why=why, fix="put the board into its bootloader, or give --port FOLDER")
    return Path(found[0].port)


def failed(drive: Path, seconds: float = 1.0) -> None:
    """Raise what a DAPLink drive says in FAIL.TXT, which it shows where it could not program the board.

    Raises:
        EdgeqError: it says so.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and drive.is_dir():
        try:
            text = (drive / "FAIL.TXT").read_text(encoding="utf-8", errors="replace")
        except OSError:
            time.sleep(0.1)
            continue
        raise EdgeqError("the board refuses the firmware", where=str(drive), why=" ".join(text.split())[:200])


def uf2(firmware: Firmware, family: int) -> bytes:
    """A firmware in blocks of 512 bytes, 256 of them payload, as USB bootloaders take it.

    Raises:
        EdgeqError: no family number is known for the chip.
    """
    if not family:
        raise EdgeqError("the board's UF2 family is not known", fix="add [programmer] uf2_family to its bsp.toml")
    start = firmware.origin % PAYLOAD  # blocks lie on whole pages
    data = b"\xff" * start + firmware.data
    data += b"\xff" * (-len(data) % PAYLOAD)
    count = len(data) // PAYLOAD
    blocks = []
    for i in range(count):
        address, part = firmware.origin - start + i * PAYLOAD, data[i * PAYLOAD : (i + 1) * PAYLOAD]
        head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, FAMILY_PRESENT, address, PAYLOAD, i, count, family)
        blocks.append(head + part + bytes(476 - PAYLOAD) + struct.pack("<I", 0x0AB16F30))
    return b"".join(blocks)


def intel_hex(firmware: Firmware) -> bytes:
    """A firmware as Intel HEX, 16 bytes a line."""

    def record(kind: int, offset: int, data: bytes) -> str:
        line = bytes([len(data), offset >> 8, offset & 0xFF, kind]) + data
        return f":{(line + bytes([-sum(line) & 0xFF])).hex().upper()}"

    lines, upper, at = list[str](), -1, 0
    while at < len(firmware.data):
        address = firmware.origin + at
        if address >> 16 != upper:
            upper = address >> 16
            lines.append(record(4, 0, upper.to_bytes(2, "big")))
        part = firmware.data[at : at + min(16, 0x10000 - (address & 0xFFFF))]  # no line crosses a border of 64 KiB
        lines.append(record(0, address & 0xFFFF, part))
        at += len(part)
    return "\n".join([*lines, record(1, 0, b""), ""]).encode()
