"""Programs of others, called as programs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from edgeq.errors import EdgeqError
from edgeq.process import run

SECONDS = 600


def find(names: Sequence[str], install: str) -> str:
    """The first of these programs that is installed.

    Raises:
        EdgeqError: none is.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    raise EdgeqError(f"{names[0]} is not installed", fix=install)


def call(command: Sequence[str], seconds: float = SECONDS) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        EdgeqError: it cannot be run, fails or does not end; the message holds its last lines.
    """
    return run(command, seconds=seconds, fix="reset the board and flash it again")
