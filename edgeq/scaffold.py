"""A new board: the files to fill in."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from edgeq import leftovers
from edgeq import target as targets
from edgeq.emit.functions import environment
from edgeq.errors import EdgeqError
from edgeq.files import reason, write_bytes
from edgeq.resources import resource

FILES = {"targets/{name}.toml": "target.toml", "firmware/bsp/{name}/bsp.toml": "bsp.toml", "firmware/bsp/{name}/uart.c": "uart.c"}


def scaffold(name: str, core: str, root: Path | None = None) -> list[Path]:
    """Write a target, a board and a UART driver to fill in.

    Args:
        name: the new target's and board's.
        core: the chip: a target to inherit.
        root: where targets/ and firmware/ are to lie; None is the current folder, in which edgeq looks for targets.

    Returns:
        The files written.

    Raises:
        EdgeqError: the name is none or taken, the core is no chip, or the place cannot be written; nothing is left behind then.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,40}", name):
        raise EdgeqError(f"'{name}' is no name for a board", fix="use small letters, digits, dashes")
    chip = targets.load(core)
    if not chip.bsp:
        raise EdgeqError(f"{core} is no chip", fix="give --core cortex-m4, riscv or another target with a board")
    if (resource("targets") / f"{name}.toml").exists():
        raise EdgeqError(f"edgeq has a board {name} of its own", fix="choose another name")
    root = root or Path()
    paths = {root / path.format(name=name): template for path, template in FILES.items()}
    taken = [p for p in paths if os.path.lexists(p)]
    if taken:
        raise EdgeqError(f"board {name} exists", where=str(taken[0]), fix="choose another name")
    riscv = chip.data["unicorn"]["architecture"] == "riscv"
    texts = {p: environment().get_template(f"board/{t}.j2").render(name=name, core=core, riscv=riscv) for p, t in paths.items()}
    made = {p for path in texts for p in path.parents if not p.exists()}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text.encode())
    except (EdgeqError, OSError, leftovers.Ended) as e:
        for path in texts:
            path.unlink(missing_ok=True)
        for folder in sorted(made, key=lambda p: len(p.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(e, leftovers.Ended):
            raise
        raise EdgeqError("cannot write the board", where=str(root), why=reason(e), fix="give --root FOLDER") from e
    return list(texts)
