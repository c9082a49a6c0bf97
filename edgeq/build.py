"""Emitted folder -> host library or firmware ELF, by a pip-installed or an installed tool chain."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.resources import resource
from edgeq.target import Target

# No contraction and no unproven aliasing: the same bytes from every compiler.
COMMON_FLAGS = ("-std=c99", "-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


@dataclass(frozen=True)
class Toolchain:
    """A C compiler for a target: its command line up to the flags."""

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...]


def toolchain(target: Target, name: str | None = None) -> Toolchain:
    """The named tool chain of a target; Zig by default.

    Raises:
        EdgeqError: the target has none of that name, or its compiler is not installed.
    """
    name = name or "zig"
    if name not in target.toolchains:
        raise EdgeqError(f"target {target.name} has no tool chain '{name}'", fix=f"choose one of {', '.join(target.toolchains)}")
    spec = target.toolchains[name]
    command = tuple(c.replace("{python}", sys.executable) for c in spec["command"])
    missing = shutil.which(command[0]) is None
    if name == "zig":
        from importlib.util import find_spec

        missing = find_spec("ziglang") is None
    if missing:
        raise EdgeqError(f"tool chain '{name}' for target {target.name} is not installed", why=f"no {command[0]}", fix=spec.get("install", "pip install ziglang"))
    return Toolchain(name, command, tuple(spec["flags"]))


def run_tool(command: Sequence[str], where: str) -> str:
    """Run a compiler or SCons and return what it printed.

    Raises:
        EdgeqError: it failed; the message ends with its last lines.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as e:
        raise EdgeqError(f"cannot run {command[0]}", where=where, why=e.strerror or str(e)) from e
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise EdgeqError(f"{Path(command[0]).name} failed with exit code {done.returncode}\n{tail}", where=where)
    return done.stdout


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an emitted folder.

    Raises:
        EdgeqError: the folder holds none, or one that cannot be read.
    """
    try:
        data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise EdgeqError("no emitted model here", where=str(folder), why=str(e), fix="run `edgeq build MODEL -o DIR` first") from e
    if not isinstance(data, dict) or data.get("format") != 1:
        raise EdgeqError("manifest.json is of another format", where=str(folder), fix="build the model again")
    return data


def sources(folder: Path, data: dict[str, Any]) -> list[str]:
    """The model's own C files."""
    return [str(folder / f"{data['model']}{part}.c") for part in ("", "_kernels", "_weights")]


def build_library(folder: Path, output: Path, target: Target, chain: Toolchain, optimize: str = "-O2") -> Path:
    """Compile an emitted folder and the host loop into a shared library with the step hook on."""
    data = manifest(folder)
    command = [
        *chain.command, *chain.flags, *COMMON_FLAGS, optimize, "-shared", "-fPIC", "-DEQ_HOOK", f"-I{folder}",
        *sources(folder, data), str(resource("firmware") / "apps" / "host.c"), "-o", str(output),
    ]  # fmt: skip
    run_tool(command, str(folder))
    return output


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for build products, removed on exit."""
    return tempfile.TemporaryDirectory(prefix="edgeq-")
