"""Emitted folder -> host library or firmware ELF, by a pip-installed or an installed tool chain."""

from __future__ import annotations

import errno
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from edgeq import board, system
from edgeq import folder as folders
from edgeq.board import Board, Boot
from edgeq.emit import EXACT_FLAGS, description
from edgeq.errors import EdgeqError
from edgeq.files import reason, temporary_folder, write_bytes
from edgeq.process import run_tool
from edgeq.record import Manifest, manifest
from edgeq.resources import resource
from edgeq.slots import Parts, join
from edgeq.target import Target

# No contraction and no unproven aliasing: the same bytes from every compiler.
COMMON_FLAGS = ("-std=c99", *EXACT_FLAGS, "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
# One section per function and table, so that the linker drops what is not used; names for fault reports.
FIRMWARE_FLAGS = (
    "-g", "-ffunction-sections", "-fdata-sections", "-fno-common", "-fomit-frame-pointer", "-fno-stack-protector",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
)  # fmt: skip
SECOND = "second"  # the folder of what is linked for the second slot
HALT = "halt.c"  # the end of programs that nobody watches
# Where weights lie -> flags of the compiler: those in RAM may be damaged, so that sums overflow.
WEIGHTS: Mapping[str, tuple[str, ...]] = {"flash": (), "ram": ("-fwrapv",)}
OPTIMIZE = ("-O0", "-O1", "-O2", "-O3", "-Os", "-Oz", "-Og")


class TooLarge(EdgeqError):
    """A program exceeds a board's memory."""


@dataclass(frozen=True)
class Toolchain:
    """A C compiler for a target: its command line up to the flags.

    Attributes:
        link: command line that links a program, up to the linker script.
        libraries: its last arguments.
    """

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...]
    link: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """A firmware to build: an application of firmware/apps, with the step hook or without (serve always has it)."""

    app: str = "bench"
    hook: bool = False

    def __post_init__(self) -> None:
        if self.app == "serve":
            object.__setattr__(self, "hook", True)

    @property
    def file(self) -> str:
        return f"{self.app}{'_hook' if self.hook else ''}.elf"


@dataclass(frozen=True)
class Installation:
    """How a program comes to lie on its board.

    Attributes:
        deployed: for the board as it is used: edgeq's bootloader starts the program where it serves the board, and nobody watches
            its end: it halts.
        weights: flash, or ram: there the application copies them, and faults may hit them.
        slots: of the bootloader that starts it; None is the board's number.
        version: of the program (`slots.version`).
    """

    deployed: bool = False
    weights: str = "flash"
    slots: int | None = None
    version: int = 0


def _program(words: Sequence[str]) -> tuple[str, ...]:
    """A compiler's command line. Zig is started without the Python around it."""
    found = find_spec("ziglang") if tuple(words[:3]) == ("{python}", "-m", "ziglang") else None
    if found is not None and found.origin is not None:
        return (str(Path(found.origin).with_name("zig.exe" if system.WINDOWS else "zig")), *words[3:])
    return tuple(word.replace("{python}", sys.executable) for word in words)


def toolchain(target: Target, name: str | None = None) -> Toolchain:
    """The named tool chain of a target; Zig by default.

    Raises:
        EdgeqError: the target has none of that name, or its compiler is not installed.
    """
    name = name or "zig"
    if name not in target.toolchains:
        raise EdgeqError(f"target {target.name} has no tool chain '{name}'", fix=f"choose one of {', '.join(target.toolchains)}")
    spec = target.toolchains[name]
    command = _program(spec["command"])
    missing = shutil.which(command[0]) is None
    if name == "zig":
        missing = find_spec("ziglang") is None
    if missing:
        fix = spec.get("install", "pip install ziglang")
        raise EdgeqError(f"tool chain '{name}' for target {target.name} is not installed", why=f"no {command[0]}", fix=fix)
    base = spec.get("base_flags", ())
    flags = (*base, *spec["flags"])
    link = (*spec.get("link", command), *spec.get("base_link_flags", base), *spec.get("link_flags", spec["flags"]))
    if shutil.which(link[0]) is None:
        raise EdgeqError(f"tool chain '{name}' for target {target.name} lacks its linker", why=f"no {link[0]}", fix=spec.get("install", ""))
    return Toolchain(name, command, flags, link, tuple(spec.get("libraries", ())))


def sources(folder: Path, data: Manifest) -> list[str]:
    """The model's own C files."""
    names = [f"{data.model}{part}.c" for part in ("", "_kernels", "_weights")]
    return [str(folder / n) for n in names if n in data.files]


def copy_code(folder: Path, data: Manifest, to: Path) -> None:
    """Copy the C files that a manifest names, and nothing else that may lie in the folder, into a new folder `to`.

    Raises:
        EdgeqError: one of them is missing, or there is no room for the copies.
    """
    wanted = [n for n in data.files if folders.plain_name(n) and n.endswith((".c", ".h"))]
    try:
        to.mkdir()
        for name in wanted:
            shutil.copyfile(folder / name, to / name)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "set TMPDIR to a folder with room"
            raise EdgeqError("cannot copy the model's code", where=str(to.parent), why=reason(e), fix=fix) from e
        raise EdgeqError("cannot copy the model's code", where=str(folder), why=reason(e), fix="build the model again") from e


def build_library(
    folder: Path, output: Path, target: Target, chain: Toolchain, optimize: str = "-O2", *, hook: bool = True, weights: str = "flash"
) -> Path:
    """Compile an emitted folder and the host loop into a shared library.

    Args:
        hook: with the step hook.
        weights: flash, or ram: the tables can be written.
    """
    data = manifest(folder)
    with temporary_folder() as work:
        code = Path(work) / "model"
        copy_code(folder, data, code)
        model, kernels, tables = sources(code, data)
        if weights == "ram":  # no linker script serves a library: its definitions alone lose their `const`
            file = Path(work) / "tables.c"
            file.write_text(f'#define const\n#include "{data.model}_weights.c"\n', encoding="ascii")
            tables = str(file)
        command = [
            *chain.command, *chain.flags, *COMMON_FLAGS, *WEIGHTS[weights], optimize, "-shared", "-fPIC",
            *(("-DEQ_HOOK",) if hook else ()), f"-I{code}", model, kernels, tables, str(resource("firmware") / "apps" / "host.c"),
            "-o", str(output),
        ]  # fmt: skip
        run_tool(command, str(folder))
    return output


def _settings(place: Board, chain: Toolchain, sources: Sequence[str], defines: Mapping[str, int], optimize: str) -> dict[str, Any]:
    """What firmware/make.py reads of a board and a tool chain."""
    bsp = resource("firmware") / "bsp" / "common"
    compiler = [*chain.command, *chain.flags, *COMMON_FLAGS, *FIRMWARE_FLAGS, optimize]
    script = ["-Wl,--gc-sections", "-Wl,-e,eq_reset", f"-L{bsp}"]
    return {
        "firmware": str(resource("firmware")), "runtime": str(resource("templates") / "runtime"),
        "board": [str(f) for f in (place.folder, *place.inherited)],
        "compile": compiler,
        "link": [*chain.link, optimize, "-g", *script], "libraries": list(chain.libraries), "sources": list(sources),
        "defines": {k: f"{v:#x}u" for k, v in {**place.defines, **defines}.items()},
    }  # fmt: skip


def _make(settings: Mapping[str, Any], name: str, where: str, work: Path, in_ram: str = "") -> None:
    """Run firmware/make.py on `work`, where the linker scripts and the model lie; `in_ram` says what takes the RAM.

    Raises:
        TooLarge: the program does not fit the board's memory.
        EdgeqError: the code does not compile.
    """
    (work / "settings.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    try:
        run_tool([sys.executable, "-I", "-S", str(resource("firmware") / "make.py"), str(work)], where)
    except EdgeqError as e:
        overflow = re.search(r"region [`'](FLASH|RAM)'.* overflowed by (\d+) bytes", e.what)
        if overflow:
            region, missing = overflow.groups()
            why = in_ram if region == "RAM" else ""
            what = f"the program exceeds the {region.lower()} of board {name} by {missing} bytes"
            raise TooLarge(what, where=where, why=why) from e
        raise


def check_level(optimize: str, known: Sequence[str] = OPTIMIZE) -> None:
    """Refuse what is no optimization level.

    Raises:
        EdgeqError: it is none.
    """
    if optimize not in known:
        raise EdgeqError(f"unknown optimization level '{optimize}'", fix=f"choose one of {', '.join(known)}")


def build_programs(
    folder: Path,
    target: Target,
    chain: Toolchain,
    programs: Sequence[Program],
    work: Path,
    optimize: str = "-O3",
    installation: Installation = Installation(),
) -> dict[Program, Path]:
    """Compile an emitted folder and the target's board support into programs.

    Args:
        programs: what to build; they share the objects that they have in common.
        work: an empty folder for the products.
        optimize: -O0, -O1, -O2, -O3, -Os, -Oz or -Og, for model and firmware.

    Returns:
        The ELF file of each program, in `work`; that of the second slot lies in its folder `SECOND`.

    Raises:
        EdgeqError: the code does not compile, or the program does not fit the board's memory.
    """
    check_level(optimize)
    weights = installation.weights
    place, work, data = with_slots(board.load(target), installation.slots), work.resolve(), manifest(folder)
    boot = place.boot if installation.deployed else None
    scripts = _write_scripts(place, boot, weights, work)
    (work / "eq_description.h").write_text(description.header(data, place, weights_in_ram=weights == "ram"), encoding="ascii")
    if any(p.app == "mlperf" for p in programs):
        (work / "eq_mlperf.h").write_text(description.mlperf_header(data, place), encoding="ascii")
    copy_code(folder, data, work / "model")
    settings = _settings(place, chain, [*place.sources, HALT if installation.deployed else place.exit], _told(boot), optimize)
    settings["compile"] += WEIGHTS[weights]
    wanted = [
        {"output": str(Path(script).parent / p.file), "app": p.app, "hook": p.hook, "script": script}
        for script in scripts for p in programs
    ]  # fmt: skip
    in_ram = "its weights lie there too" if weights == "ram" else ""
    _make(
        {**settings, "name": data.model, "model": sources(Path("model"), data), "programs": wanted}, place.name, str(folder), work, in_ram
    )
    return {p: work / p.file for p in programs}


def _write_scripts(place: Board, boot: Boot | None, weights: str, work: Path) -> list[str]:
    """The linker scripts, slot by slot, named as seen from `work`: that of a second slot lies in the folder `SECOND`."""
    regions = (None,) if boot is None else boot.programs
    names = ["board.ld", f"{SECOND}/board.ld"][: len(regions)]
    for name, region in zip(names, regions, strict=True):
        _write_script(work / name, place.linker_memory(region, weights, note=len(regions) > 1))
    return names


def _write_script(file: Path, memory: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(memory + (resource("firmware") / "bsp" / "common" / "board.ld").read_text(encoding="ascii"), encoding="ascii")


def _told(boot: Boot | None) -> dict[str, int]:
    """Macros by which an application knows its bootloader."""
    if boot is None:
        return {}
    return {"EQ_RESTART": boot.restart[0], "EQ_RESTART_VALUE": boot.restart[1], "EQ_APP_SLOTS": boot.slots}


def bootable(place: Board) -> Boot:
    """How edgeq's bootloader serves a board.

    Raises:
        EdgeqError: it does not.
    """
    if place.boot is None:
        raise EdgeqError(f"edgeq's bootloader does not serve board {place.name}", fix="use its own bootloader or a debug probe")
    return place.boot


def build_bootloader(target: Target, chain: Toolchain, output: Path, optimize: str = "-Os", *, slots: int | None = None) -> Path:
    """Compile edgeq's bootloader for a target's board.

    Args:
        output: the ELF file to write.
        slots: 1 or 2; None is the board's number.

    Returns:
        `output`.

    Raises:
        EdgeqError: it does not serve the board, does not compile or does not fit; or `output` cannot be written.
    """
    check_level(optimize)
    place = with_slots(board.load(target), slots)
    boot = bootable(place)
    with temporary_folder() as name:
        work = Path(name).resolve()
        _write_script(work / "board.ld", place.linker_memory(note=boot.slots > 1))
        settings = _settings(place, chain, [*place.sources, HALT, *boot.sources], boot.defines, optimize)
        wanted = [{"output": "bootloader.elf", "app": "bootloader", "hook": False, "script": "board.ld"}]
        _make({**settings, "name": None, "programs": wanted}, place.name, "bootloader", work)
        deliver((work / "bootloader.elf").read_bytes(), output)
    return output


def with_slots(place: Board, slots: int | None) -> Board:
    """A board with another number of slots than it says of itself; None changes nothing."""
    return place if slots is None or place.boot is None else replace(place, boot=replace(place.boot, slots=slots))


def deliver(program: bytes, output: Path) -> None:
    """Write a program, whole.

    Raises:
        EdgeqError: it cannot be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output, program)
    except (EdgeqError, OSError) as e:
        why, fix = (e.why, e.fix) if isinstance(e, EdgeqError) else (reason(e), "")
        raise EdgeqError("cannot write the program", where=str(output), why=why, fix=fix) from e


def build_firmware(
    folder: Path,
    target: Target,
    chain: Toolchain,
    output: Path,
    *,
    app: str = "bench",
    hook: bool = False,
    optimize: str = "-O3",
    installation: Installation = Installation(),
) -> Path:
    """Compile an emitted folder and one application of firmware/apps for a target's board.

    Args:
        output: the ELF file to write.
        app: bench (measures on vectors that an emulator loads), selftest (runs the emitted test vectors), serve (speaks the device
            link) or mlperf (answers the MLPerf Tiny runner).
        hook: also report every step.
        optimize: -O0, -O1, -O2, -O3, -Os, -Oz or -Og.
        installation: where it has two slots, the file holds the program of the second one too (`edgeq.slots`).

    Returns:
        `output`.

    Raises:
        EdgeqError: see `build_programs`; or `output` cannot be written.
    """
    program = Program(app, hook)
    with temporary_folder() as work:
        elf = build_programs(folder, target, chain, [program], Path(work), optimize, installation)[program]
        second = elf.parent / SECOND / elf.name
        parts = Parts(elf.read_bytes(), second.read_bytes() if second.is_file() else b"", installation.version)
        deliver(join(parts), output)
    return output


def section_sizes(elf: Path) -> dict[str, int]:
    """Bytes of flash that the model takes in a linked program, the firmware around it not counted.

    Returns:
        ``code``: its functions with their literals and step records. ``weights``: its constant tables, 0 where it has none.

    Raises:
        EdgeqError: not a program that edgeq built.
    """
    try:
        with elf.open("rb") as file:
            sections = {s.name: int(s["sh_size"]) for s in ELFFile(file).iter_sections()}
        return {"code": sections[".model_code"], "weights": sections.get(".model_weights", 0)}
    except (OSError, ELFError, KeyError) as e:
        raise EdgeqError("not a program that edgeq built", where=str(elf), why=str(e)) from e
