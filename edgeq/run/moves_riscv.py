"""RV32 instructions, compressed ones too, that move the stack pointer, call or jump (RISC-V Unprivileged ISA)."""

from __future__ import annotations

from collections.abc import Iterator

from edgeq.run.moves import Move

SP, LINKS = 2, (1, 5)
WRITERS = (0x03, 0x13, 0x17, 0x33, 0x37)  # opcodes that write rd: loads, sums, lui, auipc


def decode(code: bytes, start: int) -> Iterator[Move]:
    """The moves of a run of instructions that lies at `start`."""
    at, base = 0, (-1, 0)  # register and value of an auipc just before
    while at + 2 <= len(code):
        low = int.from_bytes(code[at : at + 2], "little")
        wide = low & 3 == 3
        word = int.from_bytes(code[at : at + 4], "little") if wide else low
        move = _wide(word, start + at, base) if wide else _narrow(word, start + at)
        if move is not None:
            yield move
        base = (word >> 7 & 31, start + at + (word & 0xFFFFF000)) if wide and word & 0x7F == 0x17 else (-1, 0)
        at += 4 if wide else 2


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _wide(word: int, at: int, base: tuple[int, int]) -> Move | None:
    end, opcode, rd, source = at + 4, word & 0x7F, word >> 7 & 31, word >> 15 & 31
    if opcode == 0x6F:  # jal
        to = at + _signed(word >> 31 << 20 | (word >> 12 & 0xFF) << 12 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3FF) << 1, 21)
        return Move(end, call=to) if rd in LINKS else Move(end, jump=to)
    if opcode == 0x67:  # jalr
        if source == base[0]:
            to = (base[1] + _signed(word >> 20, 12)) & 0xFFFFFFFE
            return Move(end, call=to) if rd in LINKS else Move(end, jump=to)
        return None if rd == 0 and source in LINKS else Move(end, indirect=True)  # a return
    if opcode == 0x13 and word >> 12 & 7 == 0 and rd == source == SP:  # addi sp, sp
        return Move(end, _signed(word >> 20, 12))
    return Move(end, None) if rd == SP and opcode in WRITERS else None


def _bits(word: int, *places: tuple[int, int]) -> int:
    """The bits (from, to) of a word at their places."""
    return sum((word >> a & 1) << b for a, b in places)


JUMP = ((12, 11), (11, 4), (10, 9), (9, 8), (8, 10), (7, 6), (6, 7), (5, 3), (4, 2), (3, 1), (2, 5))
FRAME = ((12, 9), (6, 4), (5, 6), (4, 8), (3, 7), (2, 5))


def _narrow(word: int, at: int) -> Move | None:
    end, kind, rd = at + 2, (word & 3, word >> 13), word >> 7 & 31
    if kind == (1, 3) and rd == SP:  # c.addi16sp
        return Move(end, _signed(_bits(word, *FRAME), 10))
    if kind == (1, 0) and rd == SP:  # c.addi
        return Move(end, _signed(word >> 12 << 5 & 32 | word >> 2 & 31, 6))
    if kind in ((1, 1), (1, 5)):  # c.jal, c.j
        to = at + _signed(_bits(word, *JUMP), 12)
        return Move(end, call=to) if kind[1] == 1 else Move(end, jump=to)
    if kind == (2, 4):
        second, linked = word >> 2 & 31, word >> 12 & 1
        if second == 0:  # c.jr, c.jalr
            return Move(end, indirect=True) if rd and (linked or rd not in LINKS) else None
        return Move(end, None) if rd == SP else None  # c.mv, c.add
    return Move(end, None) if kind in ((1, 2), (2, 2), (2, 0)) and rd == SP else None  # c.li, c.lwsp, c.slli
