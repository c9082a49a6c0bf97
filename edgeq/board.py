"""Boards: what firmware/bsp/<board>/bsp.toml says of memory, devices and emulation. Data, not code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.resources import resource
from edgeq.target import Target, read_inherited, size

IMAGE_HEADER = 256  # bytes before the program that edgeq's bootloader starts (firmware/bootloader/eq_image.h)
MOST_HARTS = 17  # of a cluster (firmware/iss/cluster.h)
NOTE_BYTES = 16  # at the end of RAM, for what a program notes for the bootloader


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
        keep: arguments with which a file, named {file}, holds what the board keeps without power; it is `kept` bytes long.
            Empty where an emulated board forgets everything.
    """

    command: str
    install: str
    arguments: tuple[str, ...]
    instructions_per_tick: float
    keep: tuple[str, ...]
    kept: int


@dataclass(frozen=True)
class Boot:
    """How edgeq's bootloader serves a board.

    Attributes:
        application: where the image lies: a header, then the program.
        sector: bytes that are erased at once.
        core: what runs there; the image's header must say the same.
        sources: of firmware/bootloader or of the board: how its memory is written, how the application is started.
        restart: a register, and what an application writes there to restart the board into the bootloader.
        ram: where an application's stack lies.
        slots: 1, or 2: an update leaves the program of before in the other half of the application's region.
        trial: seconds that a new program has to confirm itself, where the board has a watchdog.
    """

    application: Region
    sector: int
    core: int
    sources: tuple[str, ...]
    restart: tuple[int, int]
    ram: Region
    slots: int = 1
    trial: int = 30

    def __post_init__(self) -> None:
        if self.slots not in (1, 2) or self.application.bytes % (self.slots * self.sector):
            what = f"{self.slots} slots of whole sectors in {self.application.bytes} bytes"
            raise EdgeqError(f"a bootloader cannot have {what}", fix="[boot] slots = 1 or 2, application: an even number of sectors")

    @property
    def slot_bytes(self) -> int:
        """Of a slot, its header counted."""
        return self.application.bytes // self.slots

    @property
    def program(self) -> Region:
        """Where the program lies in the first slot, behind the image's header."""
        return self.programs[0]

    @property
    def programs(self) -> tuple[Region, ...]:
        """Where programs lie, slot by slot."""
        starts = (self.application.origin + i * self.slot_bytes for i in range(self.slots))
        return tuple(Region(start + IMAGE_HEADER, self.slot_bytes - IMAGE_HEADER) for start in starts)

    @property
    def defines(self) -> dict[str, int]:
        """Macros for the bootloader."""
        region = self.application
        return {
            "EQ_APP_ORIGIN": region.origin, "EQ_APP_BYTES": region.bytes, "EQ_APP_SECTOR": self.sector, "EQ_APP_CORE": self.core,
            "EQ_APP_SLOTS": self.slots, "EQ_TRIAL_MS": 1000 * self.trial, "EQ_RAM_ORIGIN": self.ram.origin, "EQ_RAM_BYTES": self.ram.bytes,
        }  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """The clock and the memories that estimates assume: a board as it is used at full speed, whatever edgeq's start-up code sets.

    Attributes:
        clock: of the core in hertz; None where it is not known.
        milliwatts: of the chip at that clock, code from flash, by its data sheet; None where it is not known.
        flash_waits: wait states of a read from flash, `flash_bursts` reads fill a line.
        flash_line, flash_lines: bytes of a line and lines of the cache for data from flash; 0 lines: every read is immediate.
        srams: where each SRAM begins, in order; changing between them costs where the core's model says so.
    """

    clock: int | None = None
    milliwatts: float | None = None
    flash_waits: int = 0
    flash_bursts: int = 1
    flash_line: int = 32
    flash_lines: int = 0
    srams: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """Cores that share memory, as `iss` simulates them (docs/cluster.md).

    Attributes:
        harts: the first one orchestrates.
        unit: address of the event unit and of the engine that copies.
        l1, l2: regions of the board's memory: shared by the cores, and farther away.
        l1_banks: a power of two; words lie in them in turn.
        l2_wait: cycles that a core's access to L2 takes more.
        copy_start, copy_width: cycles before the first bytes of a copy, bytes a cycle.
        wake: cycles from an event to the next instruction of a core that slept.
    """

    harts: int
    unit: int
    l1: str
    l2: str
    l1_banks: int
    l2_wait: int
    copy_start: int
    copy_width: int
    wake: int

    def __post_init__(self) -> None:
        powers = self.l1_banks in (1, 2, 4, 8, 16, 32, 64) and self.copy_width in (1, 2, 4, 8, 16, 32)
        if not 2 <= self.harts <= MOST_HARTS or not powers or min(self.unit, self.l2_wait, self.copy_start, self.wake) < 0:
            fix = f"2 to {MOST_HARTS} harts; 1, 2, 4, … 64 banks; a copy_width of 1, 2, 4, 8, 16 or 32 bytes; no negative numbers"
            raise EdgeqError("[cluster] of the board is out of range", fix=fix)


@dataclass(frozen=True)
class Board:
    """A bsp.toml, its `inherits` chain merged (docs/add-a-target.md).

    Attributes:
        folder: where bsp.toml lies; `inherited`: where those lie that it inherits, the nearest first.
        sources: C and assembly files, in `folder`, in one of `inherited`, or else in firmware/bsp/common.
        exit: the file that ends a program, where somebody watches: an emulator or a debugger.
        defines: macros for them: addresses of devices.
        memory: flash, ram, and where an emulator's loader puts test vectors.
        boot: None where edgeq's bootloader does not serve the board.
        programmer: which of edgeq/flash writes its flash; `settings` for it.
        stack: bytes reserved for the stack.
        qemu: None where QEMU has no such board.
        estimate: what estimates of cycles, time and energy assume.
        cluster: None where the board has one core.
    """

    name: str
    description: str
    folder: Path
    sources: tuple[str, ...]
    exit: str
    defines: Mapping[str, int]
    memory: Mapping[str, Region]
    stack: int
    boot: Boot | None
    programmer: str
    settings: Mapping[str, Any]
    qemu: Emulation | None
    estimate: Estimate = field(default_factory=lambda: Estimate())
    cluster: Cluster | None = None
    inherited: tuple[Path, ...] = ()

    def linker_memory(self, flash: Region | None = None, weights: str = "flash", note: bool = False) -> str:
        """The linker script, before what all boards have in common (firmware/bsp/common/board.ld).

        Args:
            flash: where the program lies; None for the board's flash.
            weights: flash or ram: where the model's weights lie while it runs.
            note: leave the end of RAM for what a program notes for the bootloader (firmware/bootloader/eq_image.h).
        """
        ram = self.memory["ram"]
        kept = Region(ram.origin, ram.bytes - NOTE_BYTES) if note else ram
        regions = (("FLASH (rx)", flash or self.memory["flash"]), ("RAM (rwx)", kept))
        lines = [f"    {name} : ORIGIN = {r.origin:#x}, LENGTH = {r.bytes:#x}" for name, r in regions]
        names = f"_stack_size = {self.stack:#x};\n_vectors = {self.memory['vectors'].origin:#x};\n"
        if note:
            header = (flash or self.memory["flash"]).origin - IMAGE_HEADER
            names += f"eq_boot_note = {ram.origin + ram.bytes - NOTE_BYTES:#x};\neq_boot_image = {header & 0xFFFFFFFF:#x};\n"
        return "MEMORY\n{\n" + "\n".join(lines) + f'\n}}\nREGION_ALIAS("WEIGHTS", {weights.upper()})\n{names}'


def _emulation(data: Mapping[str, Any]) -> Emulation:
    keep, kept = tuple(data.get("keep", ())), size(data.get("kept", 0))
    return Emulation(data["command"], data["install"], tuple(data["arguments"]), float(data["instructions_per_tick"]), keep, kept)


def _region(data: tuple[int, str | int]) -> Region:
    return Region(int(data[0]), size(data[1]))


def _estimate(data: Mapping[str, Any]) -> Estimate:
    values: dict[str, Any] = {k: tuple(v) if k == "srams" else v for k, v in data.items()}
    return Estimate(**values)


def _boot(data: Mapping[str, Any], ram: Region) -> Boot:
    register, value = data["restart"]
    return Boot(
        _region(data["application"]), size(data["sector"]), int(data["core"]), tuple(data["sources"]), (int(register), int(value)),
        ram, int(data.get("slots", 1)), int(data.get("trial", 30)),
    )  # fmt: skip


def _found(name: str, own: Sequence[Path], inside: Path) -> Path:
    """The bsp.toml of a board: of the user's own beside the target's file or beside its folder, else edgeq's."""
    return next((p for f in own if (p := f / name / "bsp.toml").is_file()), inside / name / "bsp.toml")


def load(target: Target) -> Board:
    """The board of a target.

    Raises:
        EdgeqError: the target names no board, or one whose bsp.toml is missing or incomplete.
    """
    if not target.bsp:
        raise EdgeqError(f"target {target.name} has no board", fix="choose a target that is a chip or a board, not the host")
    inside = resource("firmware") / "bsp"
    own = [f / "firmware" / "bsp" for f in (target.file.parent, target.file.resolve().parent.parent)]
    path = _found(target.bsp, own, inside)
    inherited = list[Path]()

    def above(parent: str) -> Path:
        inherited.append((found := _found(parent, own, inside)).parent)
        return found

    data = read_inherited(path, above)
    try:
        found = Board(
            name=target.bsp,
            description=data["description"],
            folder=path.parent,
            sources=tuple(data["sources"]),
            exit=data["exit"],
            defines={k: int(v) for k, v in data["defines"].items()},
            memory={k: _region(v) for k, v in data["memory"].items()},
            stack=size(data["stack"]),
            boot=_boot(data["boot"], _region(data["memory"]["ram"])) if data.get("boot") else None,
            programmer=data.get("programmer", {}).get("name", "an3155" if data.get("boot") else "command"),
            settings=data.get("programmer", {}),
            qemu=_emulation(data["qemu"]) if data.get("qemu") else None,
            estimate=_estimate(data.get("estimate", {})),
            cluster=Cluster(**data["cluster"]) if data.get("cluster") else None,
            inherited=tuple(inherited),
        )
    except KeyError as e:
        raise EdgeqError("incomplete", where=str(path), why=f"no {e}") from e
    except TypeError as e:  # an entry of [estimate] or [cluster] that does not exist, or is missing
        raise EdgeqError("an unknown entry", where=str(path), why=str(e)) from e
    for name in (found.cluster.l1, found.cluster.l2) if found.cluster else ():
        if name not in found.memory:
            raise EdgeqError(f"[cluster] names the memory '{name}'", where=str(path), why=f"[memory] has {', '.join(found.memory)}")
    return found
