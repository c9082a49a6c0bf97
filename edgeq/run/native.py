"""Libraries of C for this computer that edgeq loads: compiled on first use and kept in the user's cache."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from edgeq import system
from edgeq.build import COMMON_FLAGS, toolchain
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder, write_bytes
from edgeq.folder import digest
from edgeq.process import run_tool
from edgeq.target import load


def library(name: str, files: Iterable[Path], flags: Iterable[str] = (), last: str = "") -> ctypes.CDLL:
    """A library, kept under a name that its sources, flags and compiler decide.

    Args:
        files: its sources, and headers of theirs.
        flags: for the compiler, before the sources.
        last: a library that it links.

    Raises:
        EdgeqError: it cannot be compiled.
    """
    chain, files = toolchain(load("host"), "zig"), sorted(files)
    command = [*chain.command, *chain.flags, *COMMON_FLAGS, *flags, "-O2", "-shared", "-fPIC"]
    zig = find_spec("ziglang")
    compiler = str(Path(zig.origin).stat().st_mtime_ns) if zig and zig.origin else ""  # another version may make other code
    texts = [f.read_text(encoding="utf-8") for f in files]
    key = digest("\0".join([*texts, *command, last, compiler, sys.platform]).encode())[:24]
    folder = system.kept()
    kept = folder / f"{name}-{key}.so" if folder else None
    if kept is not None and kept.is_file():
        try:
            return ctypes.CDLL(str(kept))
        except OSError:  # damaged, or of another processor: made again
            pass
    with temporary_folder() as work:
        made = Path(work) / f"{name}-{key}.so"
        sources = [str(f) for f in files if f.suffix == ".c"]
        run_tool([*command, *sources, *filter(None, [last]), "-o", str(made)], sources[0])
        if kept is not None:
            try:
                kept.unlink(missing_ok=True)
                write_bytes(kept, made.read_bytes())
            except (EdgeqError, OSError):
                kept = None  # used, not kept
        return ctypes.CDLL(str(kept or made))
