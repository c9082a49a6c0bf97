"""The committed figures of the shipped example hold: instructions, code, arena and stack at most 2 % above benchmarks/results.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import models  # noqa: E402
from benchmarks.measure import measure  # noqa: E402
from benchmarks.tables import markdown  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results.json"
HELD = [("riscv", "zig", "3"), ("riscv", "zig", "s"), ("cortex-m4", "zig", "3"), ("cortex-m0", "zig", "s")]


@pytest.mark.parametrize(("target", "toolchain", "optimize"), HELD)
def test_the_example_costs_what_the_table_says(target: str, toolchain: str, optimize: str) -> None:
    pytest.importorskip("sklearn")
    row = measure("digits", models.digits(), target, toolchain, optimize)
    committed = json.loads(RESULTS.read_text())[row.key]
    for figure in ("instructions", "code", "weights", "arena", "stack"):
        now, then = getattr(row, figure), committed[figure]
        assert now <= 1.02 * then, f"{figure} of {row.key}: {now}, committed {then}; `python -m benchmarks digits` if this is meant"
    assert row.constant_time is committed["constant_time"]


def test_the_table_is_made_from_the_figures() -> None:
    assert (ROOT / "benchmarks" / "results.md").read_text() == markdown(json.loads(RESULTS.read_text()))
