"""Where a program's cycles go: per function and per instruction, counted by the simulator."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgeq import board
from edgeq.build import Program, build_programs, toolchain
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.ir import Array
from edgeq.record import manifest
from edgeq.run import bench
from edgeq.run.iss.machine import Machine, Traffic
from edgeq.run.layout import Layout
from edgeq.target import Target


@dataclass(frozen=True)
class Line:
    """An instruction: how often it was executed per inference, and the cycles that it took with what it waited for."""

    address: int
    text: str
    source: str
    count: float
    cycles: float


@dataclass(frozen=True)
class Function:
    """A function of the model's and its own instructions and cycles per inference, without those of what it calls.

    Attributes:
        lines: its instructions in order of address; those that were never executed are left out.
    """

    name: str
    instructions: float
    cycles: float
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Profile:
    """Functions of the model's code and of the compiler's library, the costliest first, over so many vectors.

    Attributes:
        traffic: what the harts of a cluster waited for, over all vectors; None of one core.
    """

    functions: tuple[Function, ...]
    vectors: int
    traffic: Traffic | None = None

    @property
    def instructions(self) -> float:
        """Of all functions, per inference."""
        return sum(f.instructions for f in self.functions)

    @property
    def cycles(self) -> float:
        """Of all functions, per inference."""
        return sum(f.cycles for f in self.functions)


def _functions(elf: ELFFile) -> list[tuple[int, int, str]]:
    """Address, size and name of the functions in .model_code, sorted."""
    code, table = elf.get_section_by_name(".model_code"), elf.get_section_by_name(".symtab")
    if code is None or not isinstance(table, SymbolTableSection):
        return []
    first, end = code["sh_addr"], code["sh_addr"] + code["sh_size"]
    found = {
        (s["st_value"], s["st_size"], s.name)
        for s in table.iter_symbols()
        if s["st_info"]["type"] == "STT_FUNC" and s["st_size"] and first <= s["st_value"] < end
    }
    return sorted(found)


def _sources(elf: ELFFile) -> tuple[list[int], list[str]]:
    """From which address on which line of C was compiled, sorted; empty without debug information."""
    places: dict[int, str] = {}
    if not elf.has_dwarf_info():
        return [], []
    info = elf.get_dwarf_info()
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is None:
            continue
        entries, base = program["file_entry"], 0 if program["version"] >= 5 else 1
        for entry in program.get_entries():
            state = entry.state
            if state is None or not 0 <= state.file - base < len(entries):
                continue
            name = entries[state.file - base].name.decode(errors="replace").rsplit("/", 1)[-1]
            places[state.address] = "" if state.end_sequence else f"{name}:{state.line}"
    addresses = sorted(places)
    return addresses, [places[a] for a in addresses]


def _profile(machine: Machine, elf: Path, vectors: int) -> Profile:
    counted = machine.counted()
    try:
        with elf.open("rb") as file:
            program = ELFFile(file)
            names, (starts, places) = _functions(program), _sources(program)
    except (OSError, ELFError, KeyError, ValueError) as e:
        raise EdgeqError("cannot read the program's symbols", where=str(elf), why=str(e)) from e

    def line(address: int) -> Line:
        count, cycles = counted[(address - machine.code.origin) // 2]
        at = bisect.bisect_right(starts, address) - 1
        return Line(address, machine.text(address), places[at] if at >= 0 else "", int(count) / vectors, int(cycles) / vectors)

    functions = []
    for address, size, name in names:
        first = (address - machine.code.origin) // 2
        executed = np.flatnonzero(counted[first : first + size // 2, 0])
        lines = tuple(line(address + 2 * int(i)) for i in executed)
        if lines:
            functions.append(Function(name, sum(x.count for x in lines), sum(x.cycles for x in lines), lines))
    ordered = sorted(functions, key=lambda f: (-f.cycles, f.name))
    return Profile(tuple(ordered), vectors, machine.traffic())


def profile(folder: Path, target: Target, inputs: Mapping[str, Array], *, chain: str | None = None, optimize: str = "-O3") -> Profile:
    """Build `folder` for the target's board, run every vector, and say where the cycles went.

    Args:
        inputs: per input ``[V, *shape]`` in the stored dtype.
        chain: tool chain name (zig, gcc, clang).
        optimize: -O0, -O1, -O2, -O3, -Os, -Oz or -Og.

    Raises:
        EdgeqError: the build fails, the vectors do not fit the board's memory, or the program faults.
    """
    vectors, packed = Layout(manifest(folder)).pack(inputs)
    program = Program("bench")
    with temporary_folder() as work:
        elf = build_programs(folder, target, toolchain(target, chain), [program], Path(work), optimize)[program]
        with Machine.of(elf, board.load(target), bench.block(vectors, packed)) as machine:
            if machine.run() != 0:
                raise EdgeqError("the program failed", where=str(folder), why=bench.fault(bytes(machine.sent), elf))
            return _profile(machine, elf, vectors)
