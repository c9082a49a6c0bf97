"""Sums and pools on Cortex-M0 and M3: the simulator's bytes, in as many instructions whatever the input; a mean is divided by a product."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from harness import Case, _Bench, activation
from installed import need_emulator

from edgeq import target
from edgeq.compare import compare
from edgeq.ir import QParams
from edgeq.numerics import LAWS
from edgeq.ops.add import Add, Sub
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.run import run

X, OTHER, SUM = activation((1, 6, 5, 8), 0.05, -5), activation((1, 6, 5, 8), 0.031, 100), QParams((0.06,), -9)


def cases(law: str) -> list[Case]:
    pools = {
        "whole": AveragePool2d((6, 5)), "same": AveragePool2d((3, 3), pads=(1, 1, 1, 1)),
        "counted": AveragePool2d((2, 3), pads=(1, 1, 1, 1), count_include_pad=True), "relu6": AveragePool2d((2, 2), clamp=(0.0, 6.0)),
    }  # fmt: skip
    return [
        Case("add", Add(), (X, OTHER), SUM), Case("sub", Sub(), (X, OTHER), SUM), Case("relu", Add((0.0, math.inf)), (X, OTHER), SUM),
        Case("equal", Add(), (X, X), SUM), Case("most", MaxPool2d((3, 2), pads=(1, 0, 1, 1)), (X,)),
        Case("most_relu6", MaxPool2d((2, 2), clamp=(0.0, 3.0)), (X,)),
        *(Case(n, op, (X,), QParams((0.04,), 3) if law == "single" else None) for n, op in pools.items()),
        *([Case("up", AveragePool2d((3, 3), pads=(1, 1, 1, 1), halves_up=True), (X,))] if law == "tflm" else []),
    ]  # fmt: skip


@pytest.mark.parametrize("chip", ["cortex-m0", "cortex-m3"])
@pytest.mark.parametrize("law", LAWS)
def test_equal_and_of_constant_time(law: str, chip: str, tmp_path: Path) -> None:
    need_emulator(chip)
    built = _Bench(cases(law), law).built(chip)
    isa = target.load(chip).isa[0]
    portable = [c.node.name for c in built.program.calls if c.kernel.isa != isa]
    assert portable == ([] if chip == "cortex-m0" else ["relu"])  # where two limits are no saturation
    few, expected = built.bench.first(8)
    done = run(built.folder(tmp_path / "m"), target.load(chip), few)
    assert compare(expected, done).bit_exact and done.constant_time


def test_a_mean_is_the_quotient_of_every_sum() -> None:
    """eq_quotient of templates/runtime/eq_quotient.h, for all that means of int8 have to divide."""
    for count in range(1, 181):
        n = np.arange(256 * count + count // 2 + 1, dtype=np.uint64)
        product = n * np.uint64((2**23 + count - 1) // count)
        assert product.max() < 2**32 and np.array_equal(product >> np.uint64(23), n // np.uint64(count))
