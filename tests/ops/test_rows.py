"""Kernels that take in rows: sums over all rows, which come some at a time, are those of the whole."""

from __future__ import annotations

from pathlib import Path

import in_arena
import pytest
from band_graphs import halved, inputs
from installed import need_emulator, uncounted
from random_graphs import Builder

from edgeq import kernels, target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.half import LAW
from edgeq.ir import Graph
from edgeq.lower import lower
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.mean import Mean
from edgeq.plan import plan
from edgeq.plan.bands import Bander
from edgeq.program import Flow
from edgeq.run import run
from edgeq.simulate import simulate

SIZES = [(7, 5, 9, False), (25, 5, 64, False), (6, 4, 3, True)]
KERNELS = {k.name for k in kernels.scan() if k.op.endswith("_rows") and k.op.removesuffix("_rows") in {j.op for j in kernels.scan()}}


def graph(law: str, kind: str, height: int, width: int, channels: int, up: bool) -> Graph:
    if law == LAW:
        return halved(graph("single", kind, height, width, channels, up))
    b = Builder(height, law)
    x = b.input(1, height, width, channels)
    if kind == "mean":
        return b.graph(b.node(Mean((1, 2)), x, q=b.q()))
    op = AveragePool2d((height, width), halves_up=up and law == "tflm", clamp=(-1.0, 1.0))
    return b.graph(b.node(op, x, q=None if law == "tflm" else b.q()))


@pytest.mark.parametrize("law", ["single", "tflm", LAW])
@pytest.mark.parametrize("machine", ["host", "cortex-m4", "cortex-m55", "riscv", "riscv-v"])
def test_rows(machine: str, law: str, tmp_path: Path) -> None:
    chip = uncounted(machine)
    if machine != "host":
        need_emulator(machine)
    for i, case in enumerate(SIZES if machine == "host" else SIZES[1:2]):
        for kind in ("average_pool2d", "mean"):
            g = graph(law, kind, *case)
            for rows in (1, 4) if machine == "host" else (2,):
                program = Bander(lower(g, chip)).combined([(0, 0, Flow(rows, rows))])
                assert program.calls[0].kernel.op == f"{kind}_rows"
                x, folder = inputs(g, i), tmp_path / f"{kind}{i}_{rows}"
                write(emit(program, plan(program), "m"), folder)
                made = in_arena.run(folder, x) if machine == "host" else run(folder, chip, x, steps=True)
                assert compare(simulate(g, x, steps=True), made).difference is None


test_rows.operators = ("average_pool2d_rows", "mean_rows")  # type: ignore[attr-defined]


def test_every_kernel_of_rows_is_used() -> None:
    used = set()
    for machine in ("host", "cortex-m55", "riscv-v"):
        for law in ("single", "tflm", LAW):
            for case in SIZES:
                for kind in ("average_pool2d", "mean"):
                    program = lower(graph(law, kind, *case), target.load(machine))
                    used.add(Bander(program).combined([(0, 0, Flow(1, 1))]).calls[0].kernel.name)
    assert used == KERNELS
