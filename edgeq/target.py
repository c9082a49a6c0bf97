"""Targets: what a chip is (ISA, compiler flags, budgets) and which board runs it. Data, not code."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.resources import resource


@dataclass(frozen=True)
class Target:
    """A TOML file of targets/, its `inherits` chain merged (docs/add-a-target.md).

    Attributes:
        isa: kernel folders in order of preference; the last is always "c".
        toolchains: per tool chain (zig, gcc, clang) the command and its flags.
        bsp: folder of firmware/bsp that starts the chip; empty for the host.
        flash, ram: budgets in bytes, None where unlimited.
        runners: runner names, preferred first.
        core: under which the kernels' cost table has it; empty where it has not.
    """

    name: str
    description: str
    isa: tuple[str, ...]
    toolchains: Mapping[str, Mapping[str, Any]]
    bsp: str
    flash: int | None
    ram: int | None
    runners: tuple[str, ...]
    core: str
    data: Mapping[str, Any]


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def names() -> list[str]:
    """All targets, sorted. A file whose name begins with an underscore is only there to be inherited."""
    return sorted(p.stem for p in resource("targets").glob("[!_]*.toml"))


def read_inherited(path: Path, inherited: Callable[[str], Path], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The TOML file at `path` merged over the file that it `inherits`, and so on; `inherited` finds the latter by name.

    Raises:
        EdgeqError: a file is missing, is not TOML, or inherits itself.
    """
    if path in seen:
        raise EdgeqError("inherits itself", where=str(path))
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise EdgeqError("cannot be read", where=str(path), why=str(e)) from e
    parent = data.pop("inherits", None)
    return _merge(read_inherited(inherited(parent), inherited, (*seen, path)), data) if parent else data


def size(text: str | int) -> int:
    """Bytes of ``"64K"``, ``"1M"`` or a plain number.

    Raises:
        EdgeqError: not a size.
    """
    unit = {"K": 1024, "M": 1024**2}.get(str(text)[-1:].upper(), 1)
    try:
        return int(str(text).rstrip("KkMm")) * unit
    except ValueError:
        raise EdgeqError(f"'{text}' is not a size", fix="write bytes, or a number with K or M") from None


def load(name: str) -> Target:
    """The target of that name.

    Raises:
        EdgeqError: there is none; the message lists those that exist.
    """
    if name not in names():
        raise EdgeqError(f"unknown target '{name}'", fix=f"choose one of {', '.join(names())}")
    folder = resource("targets")
    data = read_inherited(folder / f"{name}.toml", lambda parent: folder / f"{parent}.toml")
    return Target(
        name=name,
        description=data["description"],
        isa=tuple(data["isa"]),
        toolchains=data["toolchain"],
        bsp=data.get("bsp", ""),
        flash=size(data["flash"]) if "flash" in data else None,
        ram=size(data["ram"]) if "ram" in data else None,
        runners=tuple(data["runners"]),
        core=data.get("core", ""),
        data=data,
    )
