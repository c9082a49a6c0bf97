"""Ends by signals; tests/kills.py has the trials, and more of them by a command."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from kills import campaign

CHAIN = "gcc" if shutil.which("gcc") else "zig"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_left_behind(seed: int) -> None:
    assert campaign(int(os.environ.get("EDGEQ_KILLS", "30")) // 3, seed, CHAIN) == []
