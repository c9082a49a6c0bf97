"""Programs of others, called as programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from edgeq.errors import EdgeqError

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
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except OSError as e:
        raise EdgeqError(f"cannot run {command[0]}", why=e.strerror or str(e)) from e
    except subprocess.TimeoutExpired as e:
        raise EdgeqError(f"{command[0]} did not end within {seconds:g} s", fix="reset the board and flash it again") from e
    text = done.stdout + done.stderr
    if done.returncode != 0:
        tail = "\n".join(text.strip().splitlines()[-6:])
        raise EdgeqError(f"{command[0]} failed with exit code {done.returncode}\n{tail}")
    return text
