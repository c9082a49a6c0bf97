"""What a product of a layer on halves takes on the chips that have kernels of their own: no more, and the same number for every input."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from installed import need_emulator

from edgeq.ops.lstm import Lstm

TESTS = Path(__file__).parent
sys.path += [str(TESTS.parent), str(TESTS / "ops")]

import test_fully_connected  # noqa: E402
import test_recurrent  # noqa: E402
from harness import Case, _Bench, halved, summed_in_halves, with_int8_weights  # noqa: E402

from benchmarks.measure import measure  # noqa: E402

WEIGHTS = {"s8": lambda case: case, "f16": halved, "a16": summed_in_halves, "w8": lambda case: with_int8_weights(case, 2)}
MOST = [
    ("cortex-m55", "lstm", "f16", 0.8), ("cortex-m55", "lstm", "a16", 0.42), ("cortex-m55", "lstm", "s8", 0.25),
    ("cortex-m55", "dense", "f16", 0.72), ("cortex-m55", "dense", "a16", 0.33), ("cortex-m55", "dense", "w8", 0.86),
    ("cortex-m4", "lstm", "f16", 2.45), ("cortex-m4", "lstm", "w8", 3.3),
    ("cortex-m4", "dense", "w8", 3.05), ("cortex-m4", "rows", "w8", 1.85),
    ("riscv-f", "lstm", "f16", 5.6), ("riscv-f", "lstm", "w8", 3.65),
    ("riscv-f", "dense", "w8", 3.45), ("riscv-f", "rows", "w8", 2.6),
    ("riscv-vh", "lstm", "w8", 0.26), ("riscv-vh", "dense", "w8", 0.23),
]  # fmt: skip


def layer(kind: str) -> Case:
    """128 units, or 256 channels, of as many inputs; eight rows of 256 inputs and 64 channels."""
    if kind == "lstm":
        return test_recurrent.case("lstm", Lstm(), 128, 128)
    return test_fully_connected.case("dense", (1,), 256, 256) if kind == "dense" else test_fully_connected.case("rows", (8,), 256, 64)


@pytest.mark.parametrize(("chip", "kind", "weights", "most"), MOST)
def test_instructions_per_product(chip: str, kind: str, weights: str, most: float) -> None:
    need_emulator(chip)
    case = layer(kind)
    case = with_int8_weights(case) if (kind, weights) in (("dense", "w8"), ("rows", "w8")) else WEIGHTS[weights](case)
    row = measure(kind, _Bench([replace(case, laws=("single",))], "single").graph, chip, "zig", "3")
    assert row.constant_time and row.instructions <= most * row.macs, row.instructions / row.macs
