"""How deep the stack of a linked function can become: the compiler's own figures along the call graph.

The compilers write into ``.debug_frame`` how far the stack pointer lies below its value at a function's entry, instruction by
instruction: the figures of ``-fstack-usage``, and they outlive the linker. They know nothing of assembly, so the machine code is read
for every instruction that moves the stack pointer: what no figure accounts for is added, and a function without figures is taken to
hold everything that it ever pushes. The call graph is read off the machine code too.

Nothing is claimed of a function that calls itself, calls through a pointer, or moves the stack pointer by what a register holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgeq.run import moves_arm, moves_riscv
from edgeq.run.moves import Move

Decoder = Callable[[bytes, int], Iterator[Move]]
DECODERS: dict[str, tuple[Decoder, int]] = {"EM_ARM": (moves_arm.decode, 13), "EM_RISCV": (moves_riscv.decode, 2)}  # and the number of sp


@dataclass(frozen=True)
class _Function:
    """A function: its own bytes of stack, None where they are not known, those it calls and those it ends in, by address."""

    frame: int | None
    calls: frozenset[int]
    jumps: frozenset[int]


class _Program:
    """A linked program, read function by function."""

    def __init__(self, elf: ELFFile) -> None:
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
        self.figures = {e["initial_location"]: e for e in _entries(elf)}

    def function(self, start: int) -> _Function:
        """The function at an address."""
        end = self.ends[start]
        moves = [m for code, at in self._code(start, end) for m in self.decode(code, at)]
        calls = frozenset(m.call for m in moves if m.call is not None and not start < m.call < end)  # an Armv6-M jumps far by bl
        jumps = frozenset(self.around(m.jump) for m in moves if m.jump is not None and not start <= m.jump < end)
        entry = self.figures.get(start)
        rows = [] if entry is None else _rows(entry, self.pointer)
        frame = None if any(m.indirect for m in moves) else _frame(rows, moves)
        return _Function(frame, calls, jumps)

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


def _entries(elf: ELFFile) -> list[Any]:
    info = elf.get_dwarf_info() if elf.has_dwarf_info() else None
    return [e for e in info.CFI_entries() if isinstance(e, FDE)] if info is not None and info.has_CFI() else []


def _rows(entry: Any, pointer: int) -> list[tuple[int, int]]:
    """Addresses from which on the stack pointer lies so many bytes below its value at entry; none where another register tells it."""
    found = []
    for row in entry.get_decoded().table:
        rule = row["cfa"]
        if rule.expr is not None or rule.reg != pointer:
            return []
        found.append((row["pc"], rule.offset))
    return found


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


def bound(program: Path, name: str) -> int | None:
    """Bytes of stack that a call of a function can take, those that it calls included; None where nothing can be said.

    Args:
        program: a linked ELF file with symbols, for Arm (Thumb) or RISC-V.
    """
    with program.open("rb") as file:
        elf = ELFFile(file)
        if elf["e_machine"] not in DECODERS:
            return None
        read = _Program(elf)
        return None if name not in read.addresses else _deepest(read, read.addresses[name], {}, ())


def _deepest(read: _Program, start: int, known: dict[int, int | None], above: tuple[int, ...]) -> int | None:
    if start in known:
        return known[start]
    if start in above or start not in read.ends:
        return None
    own = read.function(start)
    below = [_deepest(read, f, known, (*above, start)) for f in own.calls]
    inside = (*above, start)
    ends = [_deepest(read, f, known, inside) for f in own.jumps if f not in inside]  # its own bytes are given back by then
    if own.frame is None or None in below or None in ends:
        known[start] = None
    else:
        known[start] = max(own.frame + max((d for d in below if d is not None), default=0), *(d for d in ends if d is not None), 0)
    return known[start]
