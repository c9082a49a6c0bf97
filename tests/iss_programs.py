"""Small programs for the instruction-set simulator, put together from instruction words."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

ORIGIN = 0x80000000
MCYCLE_A0, MCYCLE_A1 = 0xB0002573, 0xB00025F3  # csrr a0, mcycle; csrr a1, mcycle
NOP = 0x13


def i_type(op: int, f3: int, rd: int, rs1: int, imm: int) -> int:
    return op | rd << 7 | f3 << 12 | rs1 << 15 | (imm & 0xFFF) << 20


def r_type(op: int, f3: int, f7: int, rd: int, rs1: int, rs2: int) -> int:
    return op | rd << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | f7 << 25


def addi(rd: int, rs1: int, imm: int) -> int:
    return i_type(0x13, 0, rd, rs1, imm)


def lui(rd: int, page: int) -> int:
    return 0x37 | rd << 7 | page << 12


def lw(rd: int, rs1: int, imm: int) -> int:
    return i_type(0x03, 2, rd, rs1, imm)


def store(f3: int, rs2: int, rs1: int, imm: int) -> int:
    return 0x23 | (imm & 31) << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | (imm >> 5 & 127) << 25


def branch(f3: int, rs1: int, rs2: int, to: int) -> int:
    imm = to & 0x1FFF
    offset = (imm >> 11 & 1) << 7 | (imm >> 1 & 15) << 8 | (imm >> 5 & 63) << 25 | (imm >> 12 & 1) << 31
    return 0x63 | offset | f3 << 12 | rs1 << 15 | rs2 << 20


def setup(loop: int, count: int, body: int) -> int:
    """cv.setupi: a body of so many instructions."""
    return 0x2B | (12 + loop) << 7 | 4 << 12 | (body + 1) << 15 | count << 20


# The end: exit code 0 by the test device.
LEAVE = (lui(31, 0x100), lui(30, 0x5), addi(30, 30, 0x555), store(2, 30, 31, 0))


def elf(path: Path, words: Sequence[int | bytes], *, machine: int = 243, **changes: int) -> Path:
    """A program whose only segment lies at ORIGIN, executable and writable; 1 KiB of zeros follow the code.

    Args:
        words: instructions of 32 bits, or bytes for others.
        changes: other values of the segment's header: offset, address, size.
    """
    code = b"".join(w if isinstance(w, bytes) else struct.pack("<I", w) for w in words)
    header = struct.pack("<4sBBBB8xHHIIIIIHHHHHH", b"\x7fELF", 1, 1, 1, 0, 2, machine, 1, ORIGIN, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    offset, address, size = changes.get("offset", 84), changes.get("address", ORIGIN), changes.get("size", len(code))
    segment = struct.pack("<IIIIIIII", 1, offset, address, address, size, changes.get("memory", size + 1024), 7, 4)
    path.write_bytes(header + segment + code)
    return path
