"""Targets: what a chip is (ISA, compiler flags, budgets) and which board runs it. Data, not code."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    name: str
    description: str
    isa: tuple[str, ...]
    toolchains: Mapping[str, Mapping[str, Any]]
    bsp: str
    flash: int | None
    ram: int | None
    runners: tuple[str, ...]
    data: Mapping[str, Any]


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def names() -> list[str]:
    """All targets, sorted."""
    return sorted(p.stem for p in resource("targets").glob("*.toml"))


def _read(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    if name not in names() or name in seen:
        raise EdgeqError(f"unknown target '{name}'", fix=f"choose one of {', '.join(names())}")
    data = tomllib.loads((resource("targets") / f"{name}.toml").read_text(encoding="utf-8"))
    parent = data.pop("inherits", None)
    return _merge(_read(parent, (*seen, name)), data) if parent else data


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
    data = _read(name)
    return Target(
        name=name,
        description=data["description"],
        isa=tuple(data["isa"]),
        toolchains=data["toolchain"],
        bsp=data.get("bsp", ""),
        flash=size(data["flash"]) if "flash" in data else None,
        ram=size(data["ram"]) if "ram" in data else None,
        runners=tuple(data["runners"]),
        data=data,
    )
