"""Results over what is read, in an operand's place or as near before it as may be: suites of operators have their inputs elsewhere.

Kernels of other instruction sets run as plain C."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import in_arena
import numpy as np
import pytest
import test_average_pool2d
import test_concat
import test_conv2d
import test_depthwise_conv2d
import test_max_pool2d
import test_move
import test_transpose_conv2d
from band_graphs import inputs
from harness import _Bench, _checks
from random_graphs import Builder

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.plan import plan
from edgeq.run import host
from edgeq.simulate import simulate

ROWS = (  # height, width, kernel, stride, pads
    (3, 10, (2, 1), (3, 3), (0, 0, 0, 0)),
    (1, 20, (1, 3), (1, 1), (0, 0, 0, 0)),
    (1, 40, (1, 5), (1, 2), (0, 2, 0, 2)),
    (1, 30, (1, 5), (1, 1), (0, 4, 0, 0)),
    (1, 40, (1, 3), (1, 2), (0, 20, 0, 0)),  # outputs come before inputs that are still to be read
)
SUITES = (
    test_average_pool2d.test_average_pool2d, test_concat.test_concat, test_conv2d.test_conv2d, test_depthwise_conv2d.test_depthwise_conv2d,
    test_max_pool2d.test_max_pool2d, test_move.test_move, test_transpose_conv2d.test_transpose_conv2d,
)  # fmt: skip
CHECKS = [(s, *pair) for s in SUITES for pair in _checks(s.cases, s.operators)[1] if pair[1].startswith("sanitizers")]  # type: ignore[attr-defined]
NAMES = ["-".join([*sorted(s.operators), law, check[len("sanitizers-") :] or "c"]) for s, law, check in CHECKS]  # type: ignore[attr-defined]


@pytest.mark.parametrize("isa", ["mve", "rvv"])
def test_rows_in_place_are_those_of_the_simulator(isa: str, tmp_path: Path) -> None:
    b, rows, ends = Builder(1, "single"), [], []
    for height, width, kernel, stride, pads in ROWS:
        before = b.conv(b.input(1, height, width, 3), 16, 1)
        rows.append(b.linear(DepthwiseConv2d(stride=stride, pads=pads), before, (1, *kernel, 16), 3, 0.0))
        ends.append(b.conv(rows[-1], 4, 1))
    graph = b.graph(*ends)
    program = lower(graph, replace(target.load("host"), isa=(isa, "c")))
    memory = plan(program)
    assert {c.kernel.name for c in program.calls if c.output in rows} == {f"depthwise_conv2d_row_s8_{isa}"}
    assert set(rows[:-1]) <= set(memory.inplace)
    write(emit(program, memory, "m"), tmp_path / "m")
    x = inputs(graph, 2)
    assert compare(simulate(graph, x), host.run(tmp_path / "m", x)).difference is None


@pytest.mark.parametrize(("suite", "law", "check"), CHECKS, ids=NAMES)
def test_every_kernel_as_near_as_may_be(suite: object, law: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case by each kernel that may: those that say of themselves that results may lie over what is read all show it."""
    built = _Bench(suite.cases, law).built("host", check[len("sanitizers-") :] or "c")  # type: ignore[attr-defined]
    in_arena.bring_near(monkeypatch)
    memory, calls = plan(built.program), built.program.calls
    over = {c.kernel.name for i, c in enumerate(calls) if i in memory.trails or c.output in memory.inplace}
    assert {c.kernel.name for c in calls if c.kernel.trails or c.inplace} <= over
    few, expected = built.bench.first(2)
    write(emit(built.program, memory, "m"), tmp_path / "m")
    result = compare(expected, in_arena.run(tmp_path / "m", few, "-O0"))
    assert result.difference is None, f"{result.difference}"


def _windows(rng: np.random.Generator, count: int) -> Graph:
    """Depthwise layers of 3x3 of all kinds of sizes, strides and borders."""
    b, found = Builder(3, "tflm"), []
    for stride, top, left in list(product(((2, 2), (1, 2), (2, 1), (3, 2), (1, 1)), range(3), range(4)))[:count]:
        for _ in range(3):
            n, h, w = int(rng.integers(1, 3)), *map(int, rng.integers(3, 10, 2))
            op = DepthwiseConv2d(stride=stride, pads=(top, left, *map(int, rng.integers(0, 3, 2))), clamp=b.clamp())
            found.append(b.linear(op, b.input(n, h, w, 2), (1, 3, 3, 2), 3, 0.0))
    return b.graph(*found)


def test_windows_of_all_borders_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portable kernel of 3x3 says where outputs may lie over inputs."""
    graph = _windows(np.random.default_rng(5), 60)
    program = lower(graph, replace(target.load("host"), isa=("c",)))
    in_arena.bring_near(monkeypatch)
    memory = plan(program)
    assert {c.kernel.name for c in program.calls} == {"depthwise_conv2d_3x3_s8"} and len(memory.inplace) > 40
    write(emit(program, memory, "m"), tmp_path / "m")
    x = inputs(graph, 2)
    result = compare(simulate(graph, x), in_arena.run(tmp_path / "m", x))
    assert result.difference is None, f"{result.difference}"
