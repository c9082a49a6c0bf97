"""The committed figures of the shipped example hold: instructions, code, arena and stack at most 2 % above benchmarks/results.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from installed import need_emulator

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import models  # noqa: E402
from benchmarks.measure import measure  # noqa: E402
from benchmarks.plot import plot  # noqa: E402
from benchmarks.tables import markdown  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results.json"
HELD = [
    ("digits", "riscv", "zig", "3"), ("digits", "riscv", "zig", "s"), ("digits", "cortex-m4", "zig", "3"),
    ("digits", "cortex-m0", "zig", "s"), ("digits", "cortex-m55", "zig", "3"), ("digits", "riscv-v", "zig", "3"),
    *(("dense256", target, "zig", "3") for target in ("riscv", "riscv-xcv", "cortex-m4", "cortex-m55", "riscv-v")),
]  # fmt: skip
DENSE256 = {"riscv-xcv": 0.6, "cortex-m4": 1.35, "cortex-m55": 0.2, "riscv-v": 0.25}  # instructions per multiply-accumulate at most

CELLS = [  # likewise
    ("lstm256", "cortex-m4", "gcc", 1.08), ("gru256", "cortex-m4", "zig", 1.13), ("lstm256", "riscv-f", "zig", 2.85),
    ("gru256", "riscv-f", "gcc", 2.85), ("lstm256", "riscv-v", "gcc", 0.24), ("gru256", "riscv-vh", "zig", 0.19),
    ("lstm256", "riscv-xcv", "zig", 0.68),
]  # fmt: skip


@pytest.mark.parametrize(("model", "target", "toolchain", "optimize"), HELD)
def test_a_shipped_model_costs_what_the_table_says(model: str, target: str, toolchain: str, optimize: str) -> None:
    need_emulator(target)
    row = measure(model, models.SHIPPED[model](), target, toolchain, optimize)
    committed = json.loads(RESULTS.read_text())[row.key]
    for figure in ("instructions", "code", "weights", "arena", "stack"):
        now, then = getattr(row, figure), committed[figure]
        assert now <= 1.02 * then, f"{figure} of {row.key}: {now}, committed {then}; `python -m benchmarks digits` if this is meant"
    assert row.constant_time is committed["constant_time"]
    if model == "dense256" and target in DENSE256:
        assert row.instructions <= DENSE256[target] * row.macs


@pytest.mark.parametrize(("model", "target", "toolchain", "most"), CELLS)
def test_a_recurrent_layer_takes_few_instructions(model: str, target: str, toolchain: str, most: float) -> None:
    need_emulator(target)
    row = measure(model, models.CELLS[model](), target, toolchain, "3")
    assert row.constant_time
    assert row.instructions <= most * row.macs


def test_the_table_is_made_from_the_figures() -> None:
    results = json.loads(RESULTS.read_text())
    assert (ROOT / "benchmarks" / "results.md").read_text() == markdown(results)
    assert (ROOT / "benchmarks" / "layers.svg").read_bytes() == plot(results)


def test_a_method_that_does_not_pay_is_told() -> None:
    pytest.importorskip("PIL")
    from benchmarks import methods

    def record(db: float) -> dict[str, float | str]:
        return {"kind": "right", "score": 90.0, "float": 91.0, "db": db, "seconds": 1.0}

    family = methods.Family("rounding", {"nearest": {"rounding": "nearest"}, "ada-round": {"rounding": "ada-round"}}, ("int4",))
    keys = {n: methods.key("kws", "int4", c) for n, c in family.choices.items()}
    for gained, told in ((3.0, "+3.0 dB, better on 1 of 1, worse on 0"), (0.1, "**does not pay**: +0.1 dB, better on none of 1")):
        records = {keys["nearest"]: record(10.0), keys["ada-round"]: record(10.0 + gained)}
        assert methods.verdict(family, "ada-round", "int4", ["kws"], records) == told
    records |= {keys["ada-round"]: {"refused": "it does not apply"}, "kws/int8": record(30.0)}
    assert methods.verdict(family, "ada-round", "int4", ["kws"], records) == ""
    page = methods.page(records)
    assert "| `ada-round` | int4 | refused |" in page and "| `nearest` | int4 | 90.0, 10.0 dB, 1.0 s |" in page
    assert methods.key("kws", "int4", {"rounding": "second-order"}) == "kws/int4"  # a default: families share it
