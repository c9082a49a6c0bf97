"""What this machine has: a test that needs more is skipped, and says what it lacks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from edgeq import board
from edgeq.errors import EdgeqError
from edgeq.target import Target, load

OPTIONAL = re.compile(r"((arm-none-eabi|riscv64-unknown-elf)-)?(gcc|g\+\+)|clang(\+\+)?|qemu-system-\w+|cmake|cppcheck")
PATH = os.environ.get("PATH")  # whatever a test makes of it
RECENT = ("riscv-vh",)  # needs GCC 14 or Clang 17


def absent(error: BaseException) -> str:
    """The optional program that is not there, of which an error or its cause tells; nothing where it is another one."""
    named = error.why.removeprefix("no ") if isinstance(error, EdgeqError) else str(getattr(error, "filename", None) or "")
    if OPTIONAL.fullmatch(named) and shutil.which(named, path=PATH) is None:
        return named
    return absent(error.__cause__) if error.__cause__ else ""


def need_programs(*programs: str) -> None:
    """Skip where one is not installed."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def need_emulator(target: str) -> None:
    """Skip where the target's first runner is not installed; unicorn is a dependency."""
    if not load(target).bsp:
        return
    emulation = board.load(load(target)).qemu
    if load(target).runners[0] == "qemu" and emulation:
        need_programs(emulation.command)


def need(target: str, chain: str, *emulators: str) -> None:
    """Skip where a tool chain or QEMU is not installed."""
    spec, emulation = load(target).toolchains[chain], board.load(load(target)).qemu if load(target).bsp else None
    programs = [] if chain == "zig" else [spec["command"][0], spec.get("link", spec["command"])[0]]
    need_programs(*programs, *([emulation.command] if "qemu" in emulators and emulation else []))
    if target in RECENT and chain != "zig":
        probe = [*spec["command"], *spec["flags"], "-c", "-x", "c", "/dev/null", "-o", "/dev/null"]
        if subprocess.run(probe, capture_output=True).returncode:
            pytest.skip(f"this {chain} is too old for {target}")


def uncounted(name: str) -> Target:
    """A target of whose runs the bytes alone matter: the emulator need not follow every instruction to tell its cycles."""
    chip = load(name)
    return replace(chip, data={k: v for k, v in chip.data.items() if k != "timing"})


def quickest(target: str) -> str:
    """GCC where it is there: it is quicker than Zig."""
    return "gcc" if shutil.which(load(target).toolchains["gcc"]["command"][0]) else "zig"
