"""A disk that is full, as far as an unprivileged test can have one: a limit on the length of files, and /dev/full."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import kills
import pytest
from installed import need_programs

CASES = (
    (300, ["build", "m.eqg", "-o", "out", "--toolchain", "gcc"], "File too large"),
    (15_000, ["build", "m.eqg", "-o", "out", "--toolchain", "gcc"], ""),  # what the compiler writes is longer
    (300, ["simulate", "m.eqg", "-n", "50", "-o", "out.npz"], "File too large"),
    (-1, ["simulate", "m.eqg", "-n", "50", "-o", "/dev/full"], "No space left on device"),
)


@pytest.mark.parametrize(("limit", "words", "said"), CASES, ids=["build", "compiler", "simulate", "device"])
def test_one_line_and_nothing_left(limit: int, words: list[str], said: str, tmp_path: Path) -> None:
    need_programs("gcc")
    kills.model(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "edgeq", *words], cwd=tmp_path, env={**os.environ, "TMPDIR": str(work)}, capture_output=True, text=True,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith("edgeq: error: ") and "Traceback" not in done.stderr, done.stderr
    assert said in done.stderr
    assert sorted(tmp_path.iterdir()) == before and not list(work.iterdir())
