"""Targets: what a chip is (ISA, compiler flags, budgets) and which board runs it. Data, not code."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.files import parse_toml, read_text, reason
from edgeq.resources import resource

PLAIN = {"c", "armv6m", "armv7m"}  # kernel folders whose C every core runs


@dataclass(frozen=True)
class Target:
    """A TOML file of targets/, its `inherits` chain merged (docs/add-a-target.md).

    Attributes:
        isa: kernel folders in order of preference; the last is always "c".
        toolchains: per tool chain (zig, gcc, clang) the command and its flags.
        bsp: folder of firmware/bsp that starts the chip; empty for the host.
        flash, ram: budgets in bytes, None where unlimited.
        runners: runner names, preferred first.
        file: its TOML file.
        core: under which the kernels' cost table has it; empty where it has not.
        cores: that compute, among which calls are divided.
        fast: bytes of fast memory for copies of tables before they are read; 0: they are read where they are stored.
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
    file: Path
    cores: int = 1
    fast: int = 0

    @property
    def family(self) -> str:
        """``arm``, ``riscv``, or nothing for this computer."""
        return str(self.data.get("unicorn", {}).get("architecture", ""))

    @property
    def vector_bytes(self) -> int | None:
        """Of a vector register of the emulated core; None where it has none of a length of its own."""
        found = re.search(r"\bvlen=(\d+)", str(self.data.get("qemu", {}).get("cpu", "")))
        return int(found[1]) // 8 if found else None

    @property
    def plain(self) -> bool:
        """Whether its kernels are C without instructions of its own."""
        return set(self.isa) <= PLAIN

    def runs(self, built: Target) -> bool:
        """Whether a chip of this target runs what was built for another."""
        return (built.plain or set(built.isa) <= set(self.isa)) and (not built.family or self.family in ("", built.family))


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


PATH = "EDGEQ_PATH"  # folders with targets/ and firmware/ of the user's own, apart from each other as in PATH


def folders() -> list[Path]:
    """Where targets lie: edgeq's own, ./targets, then those of EDGEQ_PATH. A name of edgeq's own means edgeq's own."""
    given = [Path(p) for p in os.environ.get(PATH, "").split(os.pathsep) if p]
    own = [Path("targets"), *(p / "targets" if (p / "targets").is_dir() else p for p in given)]
    return [resource("targets"), *(p for p in own if p.is_dir() and p.resolve() != resource("targets").resolve())]


def files() -> dict[str, Path]:
    """Every target's file by its name, sorted. A file whose name begins with an underscore is only there to be inherited."""
    found: dict[str, Path] = {}
    for folder in folders():
        found = {**{p.stem: p for p in folder.glob("[!_]*.toml")}, **found}
    return dict(sorted(found.items()))


def names() -> list[str]:
    """All targets, sorted."""
    return list(files())


def similar(name: str, known: Sequence[str]) -> list[str]:
    """Names that somebody who wrote `name` may have meant, the likeliest first, at most four."""
    plain = name.lower().replace("_", "-")
    same = [n for n in known if n.replace("-", "") == plain.replace("-", "")]
    starting = [n for n in known if plain and (n.startswith(plain) or plain.startswith(n))]
    inside = same or starting or [n for n in known if plain and plain in n]
    return sorted(inside, key=len)[:4] or difflib.get_close_matches(plain, known, 4, 0.6)


def read_inherited(path: Path, inherited: Callable[[str], Path], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The TOML file at `path` merged over the file that it `inherits`, and so on; `inherited` finds the latter by name.

    Raises:
        EdgeqError: a file is missing, is not TOML, or inherits itself.
    """
    if path in seen:
        raise EdgeqError("inherits itself", where=str(path))
    try:
        data = parse_toml(read_text(path))
    except (OSError, ValueError) as e:
        raise EdgeqError("cannot be read", where=str(path), why=reason(e)) from e
    parent = data.pop("inherits", None)
    return _merge(read_inherited(inherited(parent), inherited, (*seen, path)), data) if parent else data


def size(text: str | int) -> int:
    """Bytes of ``"64K"``, ``"1M"`` or a plain number.

    Raises:
        EdgeqError: not a size.
    """
    unit = {"K": 1024, "M": 1024**2}.get(str(text)[-1:].upper(), 1)
    plain = str(text).rstrip("KkMm")
    if not (plain.isascii() and plain.isdigit() and len(plain) < 20):
        raise EdgeqError(f"'{text}' is not a size", fix="write bytes, or a number with K or M")
    return int(plain) * unit


def load(name: str) -> Target:
    """The target of that name, or of a .toml file of the user's own.

    Raises:
        EdgeqError: there is none; the message says which are named alike.
    """
    path = _file(name)
    own, inside = path.parent, resource("targets")
    data = read_inherited(path, lambda parent: next(p for f in (own, inside) if (p := f / f"{parent}.toml").is_file() or f == inside))
    try:
        return Target(
            name=path.stem,
            description=data["description"],
            isa=tuple(data["isa"]),
            toolchains=data["toolchain"],
            bsp=data.get("bsp", ""),
            flash=size(data["flash"]) if "flash" in data else None,
            ram=size(data["ram"]) if "ram" in data else None,
            runners=tuple(data["runners"]),
            core=data.get("core", ""),
            data=data,
            file=path,
            cores=int(data.get("cores", 1)),
            fast=size(data.get("fast", 0)),
        )
    except KeyError as e:
        raise EdgeqError("incomplete", where=str(path), why=f"no {e}", fix="let it inherit a chip: `edgeq new NAME --core CHIP`") from e


def _file(name: str) -> Path:
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise EdgeqError("no such target file", where=name)
        return path
    known = files()
    if name not in known:
        near = similar(name, list(known))
        fix = f"did you mean {' or '.join(near)}? `edgeq targets` lists all" if near else "`edgeq targets` lists all"
        raise EdgeqError(f"unknown target '{name}'", fix=fix)
    return known[name]
