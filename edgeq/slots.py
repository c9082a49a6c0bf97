"""Firmware files for boards whose bootloader knows versions and slots: an ELF file, and behind it what no ELF header has.

A program runs where it is linked to lie, so that a board with two slots needs it twice, from the same objects. Behind the first
slot's ELF file lie the second's and a tail of fixed length; linkers, debuggers and emulators read the first and no further.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from edgeq.errors import EdgeqError

TAIL = struct.Struct("<II8s")  # the version, bytes of the second slot's ELF file, MAGIC
MAGIC = b"EQSLOTS1"


@dataclass(frozen=True)
class Parts:
    """A firmware file.

    Attributes:
        second: the ELF file for the second slot; empty where there is one slot.
        version: see `version`; 0 where none is said.
    """

    first: bytes
    second: bytes = b""
    version: int = 0


def join(parts: Parts) -> bytes:
    """The file; a plain ELF file where there is nothing to add."""
    if not parts.second and not parts.version:
        return parts.first
    return parts.first + parts.second + TAIL.pack(parts.version, len(parts.second), MAGIC)


def split(data: bytes) -> Parts:
    """The parts of a file; of any other ELF file, itself."""
    if len(data) < TAIL.size:
        return Parts(data)
    version, length, magic = TAIL.unpack(data[-TAIL.size :])
    if magic != MAGIC or length > len(data) - TAIL.size:
        return Parts(data)
    end = len(data) - TAIL.size
    return Parts(data[: end - length], data[end - length : end], version)


def version(text: str) -> int:
    """A version as one number that grows with it: ``MAJOR.MINOR.REVISION`` in 8, 8 and 16 bits.

    Raises:
        EdgeqError: it is none.
    """
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,5}))?", text)
    numbers = [int(n or 0) for n in found.groups()] if found else []
    if not numbers or any(n >= limit for n, limit in zip(numbers, (256, 256, 65536), strict=True)):
        raise EdgeqError(f"no version: '{text}'", fix="three numbers as in 1.4.2, at most 255.255.65535")
    return numbers[0] << 24 | numbers[1] << 16 | numbers[2]


def version_text(number: int) -> str:
    """What `version` has read."""
    return f"{number >> 24}.{number >> 16 & 0xFF}.{number & 0xFFFF}"
