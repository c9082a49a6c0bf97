"""Boards: a model's folder -> a firmware -> the board."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgeq import export as exporter
from edgeq import flash as programmers
from edgeq import slots as slot_numbers
from edgeq import target as targets
from edgeq.api import keywords
from edgeq.api.models import Progress
from edgeq.board import Board
from edgeq.board import load as load_board
from edgeq.build import WEIGHTS, Installation, TooLarge, Toolchain, bootable, build_bootloader, build_firmware, deliver
from edgeq.build import toolchain as find_toolchain
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.flash import image
from edgeq.flash.job import Wanted
from edgeq.record import check_unchanged, manifest
from edgeq.resources import resource
from edgeq.scaffold import scaffold
from edgeq.target import Target

WATCHED = ("bench", "host", "unicorn")  # applications that only runners use


@dataclass(frozen=True)
class Made:
    """What `firmware` wrote.

    Attributes:
        elf: the program.
        origin, bytes: where it lies in the board's memory.
        bootloader: edgeq's, None where it was not asked for.
        slots: of the bootloader that starts it; 0 where edgeq's does not serve the board.
        version: of the program.
    """

    elf: Path
    origin: int
    bytes: int
    bootloader: Path | None
    slots: int = 0
    version: str = "0.0.0"


def apps() -> list[str]:
    """What a firmware can do with a model: files of firmware/apps."""
    return sorted(p.stem for p in (resource("firmware") / "apps").glob("*.c") if p.stem not in WATCHED)


@dataclass(frozen=True)
class _Program:
    """What is to be compiled."""

    folder: Path
    target: Target
    chain: Toolchain
    output: Path
    app: str
    level: str
    installation: Installation


def _linked(wanted: _Program, place: Board) -> tuple[Path, int]:
    """The program, and for how many slots it is linked: for two only where it fits, unless they are asked for."""
    slots = wanted.installation.slots
    used = place.boot.slots if slots is None and place.boot else slots or 1
    try:
        elf = build_firmware(
            wanted.folder, wanted.target, wanted.chain, wanted.output, app=wanted.app, hook=wanted.app == "selftest",
            optimize=wanted.level, installation=replace(wanted.installation, slots=used),
        )  # fmt: skip
    except TooLarge:
        if slots is not None or used == 1:
            raise
        return _linked(replace(wanted, installation=replace(wanted.installation, slots=1)), place)
    return elf, used if place.boot else 0


def _checked(target: Target, app: str, weights: str, bootloader: bool) -> Board:
    """The board, for which this can be compiled.

    Raises:
        EdgeqError: it cannot.
    """
    if app not in apps():
        raise EdgeqError(f"unknown application '{app}'", fix=f"choose one of {', '.join(apps())}")
    if weights not in WEIGHTS:
        raise EdgeqError(f"no weights in '{weights}'", fix=f"choose one of {', '.join(WEIGHTS)}")
    place = load_board(target)
    if bootloader:
        bootable(place)
    if form := place.settings.get("exported"):
        fix = f"`edgeq export DIR --format {form}`, build that, and give its ELF file to `edgeq flash`"
        raise EdgeqError(f"programs for board {target.name} are linked by its own build system", fix=fix)
    return place


@keywords.verb
def firmware(
    folder: str | Path,
    *,
    board: str,
    output: str | Path,
    app: str = "selftest",
    weights: str | None = None,
    bootloader: str | Path | None = None,
    toolchain: str | None = None,
    optimize: str = "s",
    trust: bool = False,
    force: bool = False,
    slots: int | None = None,
    version: str = "0.0.0",
) -> Made:
    """Compile an emitted folder and an application into a program for a board.

    Args:
        folder: what `build` wrote.
        board: a target with a board.
        output: the ELF file to write.
        app: serve (speaks the device link), selftest or mlperf (answers the MLPerf Tiny runner).
        weights: where they lie while it runs: flash, or ram: there a host may damage them over the device link. None: as the folder was
            built (`weights_in`).
        bootloader: also write edgeq's bootloader for the board here, to be put there once by a debug probe or an emulator.
        toolchain: zig (default), gcc or clang.
        optimize: s, 2 or 3.
        trust: compile the folder's C although it was changed after edgeq wrote it.
        force: compile it although it was built for a core with other instructions.
        slots: of edgeq's bootloader, 1 or 2; None is 2 where the board has them and the program fits one, else 1.
        version: of the program; a board with two slots refuses a lower one than it runs.

    Raises:
        EdgeqError: the folder was changed, or built for another core; the program does not compile or does not fit;
            there is no such application; or edgeq's bootloader does not serve the board. Nothing is written then.
    """
    target = targets.load(board)
    found = manifest(Path(folder))
    weights = weights or ("ram" if found.weights_in == "ram" else "flash")
    place = _checked(target, app, weights, bootloader is not None)
    if not trust:
        check_unchanged(Path(folder), found)
    if not force and found.target in targets.names() and not target.runs(targets.load(found.target)):
        raise EdgeqError(
            f"built for {found.target}, whose instructions {board} does not have", where=str(folder),
            fix=f"edgeq build {shlex.quote(str(folder))} -t {board} -o DIR, and take that folder; --force compiles it anyway",
        )  # fmt: skip
    chain, level = find_toolchain(target, toolchain), f"-O{optimize}"
    number = slot_numbers.version(version)
    with temporary_folder() as work:
        elf = Path(work) / "firmware.elf"
        wanted = _Program(Path(folder), target, chain, elf, app, level, Installation(True, weights, slots, number))
        _, used = _linked(wanted, place)
        program = image.read(elf)
        if used or place.programmer == "mcumgr":  # a bootloader leaves for what its first words say
            for part in filter(None, (program, program.second)):
                image.check_start(part, place.memory["ram"])
        deliver(elf.read_bytes(), Path(output))
    loader = None if bootloader is None else build_bootloader(target, chain, Path(bootloader), slots=used)
    return Made(Path(output), program.origin, len(program.data), loader, used, slot_numbers.version_text(number))


@keywords.verb
def flash(
    elf: str | Path,
    *,
    board: str,
    port: str | None = None,
    programmer: str | None = None,
    baud: int | None = None,
    command: str | None = None,
    start: bool = True,
    listen: float = 0,
    heard: Callable[[bytes], None] = lambda data: None,
    progress: Progress | None = None,
    allow_downgrade: bool = False,
    key: str | Path | None = None,
    app: str = "serve",
    version: str = "0.0.0",
) -> str:
    """Write a firmware to a board, verify it there and start it.

    Args:
        elf: as `firmware` makes it, or any other for the board; or a folder that `build` wrote: it is compiled first, as `firmware` does
            it with `app` and `version`.
        board: a target with a board.
        port, baud, command, start, listen, heard, allow_downgrade, key: see `edgeq.flash.job.Wanted`.
        programmer: one of `edgeq.flash.PROGRAMMERS`; None is the board's own.
        progress: called with (stage, done, total).

    Returns:
        One line that says what was done.

    Raises:
        EdgeqError: see `edgeq.flash.flash`, and `firmware`.
    """
    wanted = Wanted(
        port=port, baud=baud or 0, command=command, start=start, listen=listen, heard=heard, allow_downgrade=allow_downgrade,
        key=None if key is None else Path(key),
    )  # fmt: skip
    if Path(elf).is_dir():
        with temporary_folder() as work:
            made = firmware(elf, board=board, output=Path(work) / "firmware.elf", app=app, version=version)
            return programmers.flash(made.elf, targets.load(board), wanted, programmer, progress)
    return programmers.flash(Path(elf), targets.load(board), wanted, programmer, progress)


def export(folder: str | Path, *, form: str, output: str | Path, trust: bool = False, force: bool = False, annotate: str = "") -> Path:
    """Write an emitted folder for another build system; see `edgeq.export.export`.

    Args:
        trust: also code that was changed after edgeq wrote it.
        force: also in a form for other cores than the folder's, and in place of files of an older export that were changed.
        annotate: acsl: with limits of loops as comments for Frama-C's value analysis.

    Raises:
        EdgeqError: it was changed; and what `edgeq.export.export` raises.
    """
    if not trust:
        check_unchanged(Path(folder), manifest(Path(folder)), "the export would claim that edgeq wrote and verified it")
    return exporter.export(Path(folder), form, Path(output), force, annotate)


def new(board: str, *, core: str, root: str | Path | None = None) -> list[Path]:
    """Write a board to fill in; see `edgeq.scaffold.scaffold`."""
    return scaffold(board, core, None if root is None else Path(root))
