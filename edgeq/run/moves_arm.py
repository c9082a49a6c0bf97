"""Thumb instructions that move the stack pointer, call or jump (Arm v6-M, v7-M, v8.1-M Architecture Reference Manuals)."""

from __future__ import annotations

from collections.abc import Iterator

from edgeq.run.moves import Move

SP, LINK = 13, 14


def decode(code: bytes, start: int) -> Iterator[Move]:
    """The moves of a run of instructions that lies at `start`."""
    at = 0
    while at + 2 <= len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        wide = first >> 11 in (0b11101, 0b11110, 0b11111)
        size = 4 if wide else 2
        second = int.from_bytes(code[at + 2 : at + 4], "little")
        move = _wide(first, second, start + at) if wide else _narrow(first, start + at)
        if move is not None:
            yield move
        at += size


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _narrow(word: int, at: int) -> Move | None:
    end, here = at + 2, at + 4
    if word & 0xFE00 == 0xB400:  # push
        return Move(end, -4 * (word & 0x1FF).bit_count())
    if word & 0xFE00 == 0xBC00:  # pop
        return Move(end, 4 * (word & 0x1FF).bit_count())
    if word & 0xFF00 == 0xB000:  # add, sub sp, #imm
        return Move(end, 4 * (word & 0x7F) * (-1 if word & 0x80 else 1))
    if word & 0xFF87 in (0x4485, 0x4685):  # add, mov sp, rm
        return Move(end, None)
    # blx rm; bx rm, which is a return by lr alone. By mov pc, rm compilers and edgeq's own code jump inside of a function.
    if word & 0xFF87 == 0x4780 or (word & 0xFF87 == 0x4700 and word >> 3 & 15 != LINK):
        return Move(end, indirect=True)
    if word & 0xF800 == 0xE000:  # b
        return Move(end, jump=here + _signed(word & 0x7FF, 11) * 2)
    if word & 0xF000 == 0xD000 and (word >> 8) & 15 < 14:  # b<cond>
        return Move(end, jump=here + _signed(word & 0xFF, 8) * 2)
    return None


def _expanded(word: int) -> int:
    """ThumbExpandImm of i:imm3:imm8."""
    low = word & 0xFF
    if word >> 10 == 0:
        return int([low, low << 16 | low, low << 24 | low << 8, low * 0x01010101][(word >> 8) & 3])
    turn, value = word >> 7, 0x80 | word & 0x7F
    return (value >> turn | value << (32 - turn)) & 0xFFFFFFFF


def _wide(first: int, second: int, at: int) -> Move | None:
    end = at + 4
    if first & 0xF800 == 0xF000 and second & 0x8000:
        return _branch(first, second, at)
    if first == 0xE92D:  # push.w, which is stmdb sp!
        return Move(end, -4 * second.bit_count())
    if first == 0xE8BD:  # pop.w, which is ldmia sp!
        return Move(end, 4 * second.bit_count())
    if first & 0xFFAF == 0xED2D and second & 0x0E00 == 0x0A00:  # vpush
        return Move(end, -4 * (second & 0xFF))
    if first & 0xFFBF == 0xECBD and second & 0x0E00 == 0x0A00:  # vpop
        return Move(end, 4 * (second & 0xFF))
    if first in (0xF84D, 0xF85D) and second & 0x0900 == 0x0900:  # str, ldr with a changed sp
        return Move(end, (second & 0xFF) * (1 if second & 0x200 else -1))
    if first & 0xFE6F == 0xE860 | SP:  # strd, ldrd with a changed sp
        return Move(end, 4 * (second & 0xFF) * (1 if first & 0x80 else -1))
    if second & 0x8F00 == SP << 8:
        return _sum(first, second, end)
    return None


def _sum(first: int, second: int, end: int) -> Move | None:
    """What writes sp by an addition."""
    immediate = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    for code, mask, sign in ((0xF10D, 0xFBEF, 1), (0xF1AD, 0xFBEF, -1)):
        if first & mask == code:
            return Move(end, sign * _expanded(immediate))
    for code, sign in ((0xF20D, 1), (0xF2AD, -1)):
        if first & 0xFBFF == code:
            return Move(end, sign * immediate)
    if first & 0xFFCF in (0xEB0D, 0xEB8D):  # add, sub sp, sp, rm
        return Move(end, None)
    return None


def _branch(first: int, second: int, at: int) -> Move | None:
    end, sign = at + 4, first >> 10 & 1
    j1, j2 = second >> 13 & 1, second >> 11 & 1
    if second & 0x1000:  # bl, b.w
        i1, i2 = 1 - (j1 ^ sign), 1 - (j2 ^ sign)
        offset = _signed(sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1, 25)
        return Move(end, call=end + offset) if second & 0x4000 else Move(end, jump=end + offset)
    if second & 0x4000 == 0 and (first >> 7 & 7) != 7:  # b<cond>.w
        offset = _signed(sign << 20 | j2 << 19 | j1 << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1, 21)
        return Move(end, jump=end + offset)
    return None
