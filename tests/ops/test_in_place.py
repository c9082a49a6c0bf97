"""Depthwise rows whose outputs take the place of their inputs, which suites of single operators do not have: vector kernels as plain C."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from band_graphs import inputs
from random_graphs import Builder

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
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
