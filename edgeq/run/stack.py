"""How deep the stack of a linked function can become: the compiler's own figures along the call graph.

The compilers write into ``.debug_frame`` how far the stack pointer lies below its value at a function's entry, instruction by
instruction: the figures of ``-fstack-usage``, and they outlive the linker. They know nothing of assembly, so the machine code is read
for every instruction that moves the stack pointer: what no figure accounts for is added, and a function without figures is taken to
hold everything that it ever pushes. The call graph is read off the machine code too.

Nothing is claimed of a function that calls itself, calls or goes on through a pointer, or moves the stack pointer by what a register
holds. One exception has figures: vector registers are put on the stack in whole registers, whose bytes the core fixes.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from elftools.dwarf.callframe import FDE
from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgeq.run import moves_arm, moves_riscv
from edgeq.run.moves import Move

VLENB = 7202  # the number of that register in RISC-V's DWARF figures: 4096 and its address, 0xC22
BINARY: dict[str, Callable[[int, int], int]] = {
    "DW_OP_plus": operator.add, "DW_OP_minus": operator.sub, "DW_OP_mul": operator.mul, "DW_OP_shl": operator.lshift,
}  # fmt: skip
Decoder = Callable[[bytes, int], Iterator[Move]]
DECODERS: dict[str, tuple[Decoder, int]] = {"EM_ARM": (moves_arm.decode, 13), "EM_RISCV": (moves_riscv.decode, 2)}  # and the number of sp


@dataclass(frozen=True)
class _Function:
    """A function: its own bytes of stack, None where they are not known, those it calls by address, and those it goes on in, each with
    the bytes that it still holds then: none in a tail call."""

    frame: int | None
    calls: frozenset[int]
    jumps: frozenset[tuple[int, int]]


class _Program:
    """A linked program, read function by function.

    Args:
        vector: bytes of a vector register, None where the core has none or they are not known.
    """

    def __init__(self, elf: ELFFile, vector: int | None = None) -> None:
        self.vector = vector
        self.decode, self.pointer = DECODERS[elf["e_machine"]]
        self.sections = [
            (s["sh_addr"], s.data()) for s in elf.iter_sections() if s["sh_flags"] & 4 and s["sh_type"] == "SHT_PROGBITS"
        ]  # fmt: skip
        table = elf.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
        thumb = ~1 if elf["e_machine"] == "EM_ARM" else ~0
        named = [(s["st_value"] & thumb, s["st_size"], s.name) for s in symbols if s["st_info"]["type"] == "STT_FUNC"]
        self.starts = sorted({start for start, _, _ in named})
        following = dict(zip(self.starts, [*self.starts[1:], 2**32], strict=True))
        self.ends = {start: start + size if size else following[start] for start, size, _ in sorted(named)}
        self.addresses = {name: start for start, _, name in named}
        self.marks = sorted((s["st_value"], s.name[:2] == "$d") for s in symbols if s.name[:2] in ("$d", "$t", "$x"))
        figures = elf.get_dwarf_info() if elf.has_dwarf_info() else None
        self.expressions = None if figures is None else DWARFExprParser(figures.structs)
        self.figures = {e["initial_location"]: e for e in _entries(figures)}

    def function(self, start: int) -> _Function:
        """The function at an address."""
        end = self.ends[start]
        moves = [m for code, at in self._code(start, end) for m in self.decode(code, at)]
        calls = frozenset(m.call for m in moves if m.call is not None and not start < m.call < end)  # an Armv6-M jumps far by bl
        entry = self.figures.get(start)
        rows = [] if entry is None else self._rows(entry)
        frame = None if any(m.indirect for m in moves) else _frame(rows, moves)
        leaving = [m for m in moves if m.jump is not None and not start <= m.jump < end]
        jumps = frozenset((self.around(m.jump or 0), _held(rows, moves, m)) for m in leaving)
        return _Function(frame, calls, jumps)

    def _rows(self, entry: Any) -> list[tuple[int, int]]:
        """Addresses from which on the stack pointer lies so many bytes below its value at entry; none where another register tells it."""
        found = []
        for row in entry.get_decoded().table:
            rule = row["cfa"]
            offset = rule.offset if rule.reg == self.pointer else None if rule.expr is None else self._offset(rule.expr)
            if offset is None:
                return []
            found.append((row["pc"], offset))
        return found

    def _offset(self, expression: list[int]) -> int | None:
        """What an expression adds to the stack pointer, where vector registers lie on the stack; None if it is any other."""
        stack: list[int] = []
        for word in self.expressions.parse_expr(expression) if self.expressions else ():
            name, given = word.op_name, word.args
            if name == f"DW_OP_breg{self.pointer}" or name.startswith("DW_OP_const"):
                stack.append(given[0])
            elif name.startswith("DW_OP_lit"):
                stack.append(int(name.removeprefix("DW_OP_lit")))
            elif name == "DW_OP_bregx" and given[0] == VLENB and self.vector is not None:
                stack.append(self.vector + given[1])
            elif name == "DW_OP_plus_uconst" and stack:
                stack.append(stack.pop() + given[0])
            elif name in BINARY and len(stack) > 1:
                second, first = stack.pop(), stack.pop()
                stack.append(BINARY[name](first, second))
            else:
                return None
        return stack[0] if len(stack) == 1 else None

    def around(self, address: int) -> int:
        """The function that an address lies in, by its start; the address itself where it lies in none."""
        at = bisect_right(self.starts, address)
        return self.starts[at - 1] if at and address < self.ends[self.starts[at - 1]] else address

    def _code(self, start: int, end: int) -> Iterator[tuple[bytes, int]]:
        """The instructions of a range without the data between them."""
        data, section = next(((d, a) for a, d in self.sections if a <= start < a + len(d)), (b"", start))
        end = min(end, section + len(data))
        before = [is_data for at, is_data in self.marks if at <= start][-1:]
        inside = [(at, is_data) for at, is_data in self.marks if start < at < end]
        cuts = [(start, bool(before and before[0])), *inside, (end, True)]
        for (at, is_data), (last, _) in pairwise(cuts):
            if not is_data:
                yield data[at - section : last - section], at


def _entries(info: DWARFInfo | None) -> list[Any]:
    return [e for e in info.CFI_entries() if isinstance(e, FDE)] if info is not None and info.has_CFI() else []


def _held(rows: list[tuple[int, int]], moves: list[Move], leaving: Move) -> int:
    """The bytes that a function holds when it goes on in another: by the figures, and what it gives back just before without them; else by
    what it has moved, in the order of addresses."""
    before = [m for m in moves if m.end < leaving.end]
    if len(rows) < 2:
        return max(0, -sum(m.pointer or 0 for m in before))
    told, held = {at for at, _ in rows}, max((row for row in rows if row[0] < leaving.end), default=(0, 0))[1]
    for move in reversed(before):
        if move.call is not None or move.jump is not None:
            break
        held -= move.pointer if move.pointer and move.pointer > 0 and move.end not in told else 0
    return max(0, held)


def _frame(rows: list[tuple[int, int]], moves: list[Move]) -> int | None:
    """The bytes that a function takes: by the compiler's figures, and what its assembly pushes beyond them; None where a register tells."""
    if len(rows) < 2:  # assembly, a function with a frame pointer, or one that takes nothing
        steps = [m.pointer for m in moves]
        return None if None in steps else sum(-step for step in steps if step is not None and step < 0)
    told, extra, deepest = {at for at, _ in rows}, 0, max(offset for _, offset in rows)
    for move in moves:
        if move.pointer is None and move.end not in told:
            return None
        if move.pointer and move.end not in told:
            extra = max(0, extra - move.pointer)
            deepest = max(deepest, extra + max((row for row in rows if row[0] <= move.end), default=(0, 0))[1])
    return deepest


def bound(program: Path, name: str, vector: int | None = None) -> int | None:
    """Bytes of stack that a call of a function can take, those that it calls included; None where nothing can be said.

    Args:
        program: a linked ELF file with symbols, for Arm (Thumb) or RISC-V.
        vector: bytes of a vector register of the core, None where it has none.
    """
    with program.open("rb") as file:
        elf = ELFFile(file)
        if elf["e_machine"] not in DECODERS:
            return None
        read = _Program(elf, vector)
        return None if name not in read.addresses else _deepest(read, read.addresses[name], {}, ())


def _deepest(read: _Program, start: int, known: dict[int, int | None], above: tuple[int, ...]) -> int | None:
    if start in known:
        return known[start]
    if start in above or start not in read.ends:
        return None
    own = read.function(start)
    below = [_deepest(read, f, known, (*above, start)) for f in own.calls]
    inside = (*above, start)
    ends = [(_deepest(read, f, known, inside), held) for f, held in own.jumps if f not in inside]
    if own.frame is None or None in below or any(d is None for d, _ in ends):
        known[start] = None
    else:
        known[start] = max(own.frame + max((d for d in below if d is not None), default=0), *(held + (d or 0) for d, held in ends), 0)
    return known[start]
