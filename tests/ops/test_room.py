"""Calls that get scratch which an arena has left: they compute the same, and the arena does not grow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harness import _Bench, _check_equal
from installed import need_emulator, uncounted
from random_graphs import Builder
from side_by_side import no_search
from test_conv2d import SAME, case, with_sum
from test_depthwise_conv2d import CASES as DEPTHWISE

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.ir import Params
from edgeq.kernels import facts
from edgeq.lower import lower
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.plan import plan
from edgeq.plan.bands import Bander
from edgeq.plan.room import filled, gaps
from edgeq.program import Flow
from edgeq.run import host, run
from edgeq.simulate import simulate

DEEP = case("deep", (1, 5, 5, 16), 5, (3, 3), pads=SAME, zero=3)  # two rows of weights are more than flash's cache holds
CASES = [
    case("pointwise", (1, 5, 4, 9), 6, (1, 1), zero=-5), case("pointwise_odd", (1, 3, 7, 12), 7, (1, 1), zero=9),
    case("wide", (1, 7, 2, 128), 4, (1, 1), zero=1), case("speech", (1, 13, 6, 1), 8, (10, 4), stride=(2, 2), pads=(4, 1, 5, 1), zero=83),
    case("windows", (1, 5, 5, 3), 4, (3, 3), pads=SAME, zero=-128), case("batch", (2, 3, 3, 8), 5, (2, 2), pads=(1, 1, 0, 0), zero=9),
    DEEP, with_sum(DEEP, 0.7), with_sum(case("sum", (1, 4, 5, 8), 6, (1, 1), zero=2), 1.3),
    with_sum(case("sums", (1, 4, 5, 3), 3, (3, 3), pads=SAME), 1),
    *(replace(c, name=f"{c.name}{i}") for i, c in enumerate(DEPTHWISE) if not c.name.endswith("_w4")),
]  # fmt: skip


@pytest.mark.parametrize(("law", "chip"), [("tflm", "nucleo-l4r5"), ("single", "cortex-m33"), ("tflm", "host"), ("single", "host")])
def test_calls_with_room_compute_the_same(law: str, chip: str, tmp_path: Path) -> None:
    if chip != "host":
        need_emulator(chip)
    bench, machine = _Bench(CASES, law), target.load(chip)
    with no_search():
        program = lower(bench.graph, replace(machine, isa=("armv7em", "c")) if chip == "host" else machine)
        memory = plan(program)
    wide, placed = filled(program, replace(memory, arena_bytes=memory.arena_bytes + 30_000))
    scalars = [c.params.scalars for c in wide.calls]
    assert any(s.get("triples", 1) > 1 and not s["copied"] for s in scalars) and any(s.get("all_lines") for s in scalars)
    assert any(s.get("copied") for s in scalars) == (chip == "nucleo-l4r5"), "weights are copied where flash waits"
    write(emit(wide, placed, "cases"), tmp_path)
    few, expected = bench.first(5)
    _check_equal(expected, host.run(tmp_path, few) if chip == "host" else run(tmp_path, uncounted(chip), few))


def test_scratch_lies_where_nothing_lives() -> None:
    with no_search():
        program = lower(_Bench(CASES, "tflm").graph, target.load("nucleo-l4r5"))
        memory = plan(program)
    wide, placed = filled(program, memory)
    assert placed.arena_bytes == memory.arena_bytes
    grown = [i for i, (a, b) in enumerate(zip(program.calls, wide.calls, strict=True)) if b.scratch > a.scratch]
    assert grown
    for i in grown:
        start, end = placed.scratch[i], placed.scratch[i] + wide.calls[i].scratch
        assert any(at <= start and end <= at + size for at, size in gaps(program, memory, i))


@pytest.mark.parametrize("law", ["tflm", "single"])
def test_calls_in_bands_get_room(law: str, tmp_path: Path) -> None:
    """Whatever else lives meanwhile: rows that are kept, sums from turn to turn, the counters of an input that comes by rows."""
    need_emulator("nucleo-l4r5")
    machine, b = target.load("nucleo-l4r5"), Builder(5, law, clamps=False)
    x = b.conv(b.input(1, 24, 10, 4), 16, 3, stride=2, pads=(1, 1, 1, 1))
    for _ in range(2):
        x = b.conv(b.linear(DepthwiseConv2d(pads=(1, 1, 1, 1)), x, (1, 3, 3, 16), 3, 0.0), 16, 1)
    graph = b.graph(b.dense(b.flatten(b.node(AveragePool2d((12, 5)), x)), 3))
    program = lower(graph, machine)
    (name,) = graph.inputs
    inputs = {name: np.random.default_rng(1).integers(-128, 128, (1, 1, 24, 10, 4)).astype(np.int8)}
    expected = simulate(graph, inputs)
    for k, source in enumerate(("", name)):
        banded = Bander(program, source).combined([(0, 5, Flow(3, 3))])
        memory, (band,) = plan(banded), banded.bands
        for more in (0, 3000):
            wide, placed = filled(banded, roomy := replace(memory, arena_bytes=memory.arena_bytes + more))
            grown = [i for i, (a, b) in enumerate(zip(banded.calls, wide.calls, strict=True)) if b.scratch > a.scratch]
            assert not more or any(band.first <= i <= band.last for i in grown)
            for i in grown:
                taken = np.zeros(roomy.arena_bytes, bool)
                for name, lines in band.lines.items():
                    for size, first, last in lines.spans:
                        at = memory.offsets.get(name, 0) + (lines.bytes - size if name in memory.behind else 0)
                        taken[at : at + (size if first <= i <= last else 0)] = True
                sums = memory.scratch[band.last]
                taken[sums : sums + banded.calls[band.last].scratch] |= band.first <= i < band.last
                taken[memory.counters or 0 :][: 4 * band.counters] = True
                assert not taken[placed.scratch[i] :][: wide.calls[i].scratch].any()
            write(emit(wide, placed, "m"), folder := tmp_path / f"{k}_{more}")
            assert compare(expected, run(folder, machine, inputs)).difference is None


def test_a_product_divides_halves_as_a_rounding_shift_does() -> None:
    """Wherever fact `powers` says so, at every step from one result to the next and beside it; and it says so, and no more than is true."""
    found = set()
    for shift in range(2, 32):
        for bits in (8, 12, 17, 20, 23):
            tables = {"weights": np.zeros((1, 3, 3, 1), np.int8), "bias": np.array([2**bits - 2]), "shift": np.array([shift])}
            fact, n, most = facts.powers(Params("tflm", {}, tables)), shift - 1, 2**bits - 1
            h = (np.arange(-1100, 1100)[:, None] << n) + np.array([-1, 0, 1])
            h = np.append(h[abs(h) <= most], [-most, most])
            shifted, product = (h + (h >> 31)) >> n, (h * (2 ** (32 - n) + 1)) >> 32
            results = [[np.clip((x + rounding) >> 1, -128, 127) for rounding in (-255, 1, 255)] for x in (shifted, product)]
            same = np.array_equal(*results)
            assert not fact or same, (shift, bits)
            found.add((fact, same))
    assert {(1, True), (0, False)} <= found
