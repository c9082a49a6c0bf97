"""Boards: what firmware/bsp/<board>/bsp.toml says of memory, devices and emulation. Data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.resources import resource
from edgeq.target import Target, read_inherited, size


@dataclass(frozen=True)
class Region:
    """A range of addresses."""

    origin: int
    bytes: int


@dataclass(frozen=True)
class Emulation:
    """How QEMU runs a board.

    Attributes:
        command: the program, `install` how to get it.
        arguments: machine, memory, -icount, semihosting.
        instructions_per_tick: of the clock that eq_board_clock() reads, under those arguments.
    """

    command: str
    install: str
    arguments: tuple[str, ...]
    instructions_per_tick: float


@dataclass(frozen=True)
class Board:
    """A bsp.toml, its `inherits` chain merged (docs/add-a-target.md).

    Attributes:
        folder: where bsp.toml lies.
        sources: C and assembly files, in `folder` or else in firmware/bsp/common.
        defines: macros for them: addresses of devices.
        memory: flash, ram, and where an emulator's loader puts test vectors.
        stack: bytes reserved for the stack.
        qemu: None where QEMU has no such board.
    """

    name: str
    description: str
    folder: Path
    sources: tuple[str, ...]
    defines: Mapping[str, int]
    memory: Mapping[str, Region]
    stack: int
    qemu: Emulation | None

    def linker_memory(self, weights: str = "flash") -> str:
        """The text of memory.ld, with the model's weights in the region `weights`."""
        lines = [f"    {n.upper()} ({m}) : ORIGIN = {r.origin:#x}, LENGTH = {r.bytes:#x}" for n, m, r in self._linked()]
        alias = f'REGION_ALIAS("WEIGHTS", {weights.upper()})\n'
        symbols = f"_stack_size = {self.stack:#x};\n_vectors = {self.memory['vectors'].origin:#x};\n"
        return "MEMORY\n{\n" + "\n".join(lines) + "\n}\n" + alias + symbols

    def _linked(self) -> list[tuple[str, str, Region]]:
        return [("flash", "rx", self.memory["flash"]), ("ram", "rwx", self.memory["ram"])]


def _emulation(data: Mapping[str, Any]) -> Emulation:
    return Emulation(data["command"], data["install"], tuple(data["arguments"]), float(data["instructions_per_tick"]))


def load(target: Target) -> Board:
    """The board of a target.

    Raises:
        EdgeqError: the target names no board, or one whose bsp.toml is missing or incomplete.
    """
    if not target.bsp:
        raise EdgeqError(f"target {target.name} has no board", fix="choose a target that is a chip or a board, not the host")
    folder = resource("firmware") / "bsp"
    path = folder / target.bsp / "bsp.toml"
    data = read_inherited(path, lambda parent: folder / parent / "bsp.toml")
    try:
        return Board(
            name=target.bsp,
            description=data["description"],
            folder=path.parent,
            sources=tuple(data["sources"]),
            defines={k: int(v) for k, v in data["defines"].items()},
            memory={k: Region(int(origin), size(length)) for k, (origin, length) in data["memory"].items()},
            stack=size(data["stack"]),
            qemu=_emulation(data["qemu"]) if "qemu" in data else None,
        )
    except KeyError as e:
        raise EdgeqError("incomplete", where=str(path), why=f"no {e}") from e
