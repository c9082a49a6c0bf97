"""Firmware files: what an ELF file puts where, and the image that edgeq's bootloader starts."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from edgeq.board import IMAGE_HEADER, Boot, Region
from edgeq.elf import loads
from edgeq.errors import EdgeqError
from edgeq.files import read_bytes, reason
from edgeq.slots import split

MAGIC, MAGIC_SLOTS = 0x31495145, 0x32495145  # "EQI1", "EQI2", eq_image.h
DOWNGRADE = 1  # eq_image.h
LARGEST = 64 * 1024**2  # bytes of flash that a firmware may span
MAX_BYTES = 2**30
ERASED = b"\xff"


@dataclass(frozen=True)
class Firmware:
    """What an ELF file loads into a board's memory.

    Attributes:
        parts: address and bytes of each piece.
        machine: ``arm`` or ``riscv``.
        attributes: what its build attributes say of the instruction set, by tag.
        version: `slots.version`, 0 where none is said.
        second: the same program for a board's second slot.
    """

    path: Path
    parts: tuple[tuple[int, bytes], ...]
    machine: str
    attributes: dict[str, int | str]
    version: int = 0
    second: Firmware | None = None

    @property
    def origin(self) -> int:
        """The lowest address."""
        return min(address for address, _ in self.parts)

    @property
    def end(self) -> int:
        """The first address behind it."""
        return max(address + len(data) for address, data in self.parts)

    @cached_property
    def data(self) -> bytes:
        """Everything from `origin` to `end`; gaps are 0xFF.

        Raises:
            EdgeqError: the pieces lie too far apart to be one image.
        """
        if self.end - self.origin > LARGEST:
            fix = "link it for the board's flash alone"
            raise EdgeqError(f"the firmware spans {self.origin:#x} to {self.end:#x}", where=str(self.path), fix=fix)
        flat = bytearray(ERASED * (self.end - self.origin))
        for address, part in self.parts:
            flat[address - self.origin : address - self.origin + len(part)] = part
        return bytes(flat)


MACHINES = {"EM_ARM": "arm", "EM_RISCV": "riscv"}
ATTRIBUTES = (".ARM.attributes", ".riscv.attributes")


def read(path: Path) -> Firmware:
    """Read an ELF file.

    Raises:
        EdgeqError: it cannot be read, is no 32-bit executable for Arm or RISC-V, or loads nothing.
    """
    try:
        parts = split(read_bytes(path, MAX_BYTES))
        second = _program(path, parts.second, 0, None) if parts.second else None
        return _program(path, parts.first, parts.version, second)
    except OSError as e:
        raise EdgeqError("cannot read the firmware", where=str(path), why=reason(e)) from e


def _program(path: Path, content: bytes, version: int, second: Firmware | None) -> Firmware:
    try:
        with io.BytesIO(content) as file:
            elf = ELFFile(file)
            if elf["e_machine"] not in MACHINES or elf.elfclass != 32 or not elf.little_endian or elf["e_type"] != "ET_EXEC":
                raise EdgeqError("no program for a 32-bit Arm or RISC-V chip", where=str(path), why=f"{elf['e_machine']}, {elf['e_type']}")
            pieces = loads(elf)
            machine, attributes = MACHINES[elf["e_machine"]], _attributes(elf)
    except EdgeqError:
        raise
    except Exception as e:  # pyelftools lets many kinds out of damaged files
        raise EdgeqError("not an ELF file, or a damaged one", where=str(path), why=reason(e), fix="give what the linker wrote") from e
    if not pieces:
        raise EdgeqError("the firmware holds nothing to load", where=str(path))
    return Firmware(path, tuple(pieces), machine, attributes, version, second)


def _attributes(elf: ELFFile) -> dict[str, int | str]:
    values: dict[str, int | str] = {}
    for name in ATTRIBUTES:
        section: Any = elf.get_section_by_name(name)
        if section is not None:
            for vendor in section.iter_subsections():
                for scope in vendor.iter_subsubsections():
                    values.update({a.tag: a.value for a in scope.iter_attributes()})
    return values


def check_start(firmware: Firmware, ram: Region) -> None:
    """Refuse a program that would hang the core at its first instruction, as edgeq's bootloader does (`eq_boot_startable`).

    Args:
        firmware: begins with the vector table of a Cortex-M, or the first instruction of a RISC-V core.
        ram: where its stack may lie.

    Raises:
        EdgeqError: its stack pointer is outside of RAM, or its first instruction is none of its own.
    """
    start, why = firmware.data[:8].ljust(8, b"\0"), ""
    if firmware.machine == "riscv":
        why = "it does not begin with an instruction" if start[:2] in (bytes(2), ERASED * 2) else ""
    else:
        stack, entry = struct.unpack("<II", start)
        if not ram.origin < stack <= ram.origin + ram.bytes or stack % 4:
            why = f"its stack pointer, {stack:#x}, is not in RAM, {ram.origin:#x} to {ram.origin + ram.bytes:#x}"
        elif not (entry % 2 and firmware.origin + 8 < entry < firmware.end):
            why = f"it begins at {entry:#x}, which is no Thumb instruction from {firmware.origin + 8:#x} to {firmware.end:#x}"
    if why:
        fix = "link it for this board, its vector table or first instruction first"
        raise EdgeqError("the firmware would not start", where=str(firmware.path), why=why, fix=fix)


def sealed(firmware: Firmware, boot: Boot) -> tuple[bytes, bytes]:
    """The image for edgeq's bootloader: its header, and the program padded to whole words.

    The header is written last: while it is missing or does not fit the program, nothing is started.

    Raises:
        EdgeqError: see `check_start`.
    """
    check_start(firmware, boot.ram)
    program = firmware.data + ERASED * (-len(firmware.data) % 4)
    words = struct.pack("<II", boot.core, len(program))
    header = struct.pack("<I", MAGIC) + words + struct.pack("<I", zlib.crc32(words + program))
    return header + ERASED * (IMAGE_HEADER - len(header)), program


def sealed_for_slot(firmware: Firmware, boot: Boot, sequence: int, *, allow_downgrade: bool = False) -> tuple[bytes, bytes]:
    """`sealed` for a bootloader with two slots.

    Args:
        firmware: linked for the slot.
        sequence: one more than that of the other slot's image, modulo 2^32.
        allow_downgrade: the bootloader may start it although its version is lower than that of the program it replaces.

    Raises:
        EdgeqError: see `check_start`.
    """
    check_start(firmware, boot.ram)
    program = firmware.data + ERASED * (-len(firmware.data) % 4)
    words = struct.pack("<II", boot.core, len(program))
    more = struct.pack("<III", firmware.version, sequence, DOWNGRADE if allow_downgrade else 0)
    header = struct.pack("<I", MAGIC_SLOTS) + words + struct.pack("<I", zlib.crc32(words + more + program)) + more
    return header + ERASED * (IMAGE_HEADER - len(header)), program
