"""edgeq doctor: what is installed, and what each missing piece would give."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption


@dataclass(frozen=True)
class Piece:
    """Something that edgeq may use: a Python package or a program."""

    name: str
    gives: str
    install: str
    package: bool
    essential: bool = False


PIECES = (
    Piece("ziglang", "the default C compiler, for every target", "pip install ziglang", True, True),
    Piece("unicorn", "emulated RISC-V and Arm cores: run and compare without a board", "pip install unicorn", True, True),
    Piece("onnx", "reads .onnx models", "pip install onnx", True, True),
    Piece("tflite", "reads .tflite models", "pip install tflite", True, True),
    Piece("highspy", "the exact memory planner, and choices of precision", "pip install highspy", True, True),
    Piece("pyserial", "boards on serial ports: flash, run, compare, bench", "pip install pyserial", True, True),
    Piece("torch", "reads .pt2 models and torch.nn.Module", "pip install 'edgeq[torch]'", True),
    Piece("triton", "--device gpu, with torch and an NVIDIA GPU", "pip install 'edgeq[gpu]'", True),
    Piece("pillow", "calibration from folders of images", "pip install 'edgeq[images]'", True),
    Piece("matplotlib", "--plot of edgeq faults", "pip install matplotlib", True),
    Piece("smpclient", "flash boards with MCUboot or MCUmgr", "pip install 'edgeq[mcumgr]'", True),
    Piece("gcc", "--toolchain gcc for the host (quicker than Zig)", "apt-get install gcc", False),
    Piece("clang", "--toolchain clang", "apt-get install clang", False),
    Piece("arm-none-eabi-gcc", "--toolchain gcc for Cortex-M", "apt-get install gcc-arm-none-eabi", False),
    Piece("riscv64-unknown-elf-gcc", "--toolchain gcc for RISC-V", "apt-get install gcc-riscv64-unknown-elf", False),
    Piece("qemu-system-arm", "--runner qemu for Cortex-M boards", "apt-get install qemu-system-arm", False),
    Piece("qemu-system-riscv32", "--runner qemu for RISC-V boards", "apt-get install qemu-system-misc", False),
    Piece("imgtool", "sign images for MCUboot", "pip install 'edgeq[mcuboot]'", False),
    Piece("esptool", "flash ESP32 boards", "pip install 'edgeq[esp]'", False),
    Piece("pyocd", "flash Cortex-M boards through a debug probe", "pip install pyocd", False),
    Piece("cmake", "builds emitted folders with their CMakeLists.txt", "apt-get install cmake", False),
)


def package_version(name: str) -> str | None:
    """The installed version of a Python package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def program_version(name: str) -> str | None:
    """The version that a program on the PATH prints; None where there is no such program."""
    path = shutil.which(name)
    if path is None:
        return None
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return "found, but it does not run"
    number = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return number.group() if number else "found"


def examine(
    pieces: tuple[Piece, ...],
    package: Callable[[str], str | None] = package_version,
    program: Callable[[str], str | None] = program_version,
) -> list[tuple[Piece, str | None]]:
    """Each piece with its version, None where it is missing."""
    return [(p, package(p.name) if p.package else program(p.name)) for p in pieces]


def doctor(as_json: JsonOption = False) -> None:
    """Show what is installed, and what each missing piece is for. Exit code 1 if an essential one is missing."""
    from edgeq import __version__

    found = examine(PIECES)
    missing = [p for p, v in found if v is None and p.essential]
    python = ".".join(map(str, sys.version_info[:3]))
    if as_json:
        common.print_json(
            {
                "edgeq": __version__, "python": python, "ready": not missing,
                "pieces": [
                    {"name": p.name, "version": v, "essential": p.essential, "gives": p.gives, "install": p.install} for p, v in found
                ],
            }
        )  # fmt: skip
    else:
        mark = {True: "✓", False: "-"}
        rows = [
            (
                mark[v is not None] if v is not None or not p.essential else "✗",
                p.name,
                p.gives,
                v if v is not None else f"missing: {p.install}",
            )
            for p, v in found
        ]
        common.table(["", "piece", ("gives", "text"), ("version", "text")], rows, title=f"edgeq {__version__}, Python {python}")
        typer.echo(
            "Everything essential is here." if not missing else f"Essential pieces are missing: {', '.join(p.name for p in missing)}."
        )
    if missing:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq doctor --json")(doctor)
