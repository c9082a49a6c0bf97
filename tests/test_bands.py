"""Bands of rows: the same bytes at every tensor that is whole and at the outputs, in an arena of exactly the planned size."""

from __future__ import annotations

import ctypes
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import in_arena
import mlperf_tiny
import numpy as np
import pytest
from band_graphs import band_graph, halved, inputs
from installed import need_emulator, uncounted
from random_graphs import Builder

from edgeq import target
from edgeq.api import load
from edgeq.build import COMMON_FLAGS, sources
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node, Op
from edgeq.ir import check as checked
from edgeq.lower import lower
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.mean import Mean
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.plan import arena, place, plan
from edgeq.plan.bands import Bander, Whole
from edgeq.plan.fit import fed, fitted, ways
from edgeq.plan.lines import traces_of
from edgeq.plan.segments import Search
from edgeq.program import Flow, Program
from edgeq.record import manifest
from edgeq.run import run
from edgeq.simulate import simulate

HOST = target.load("host")
PACES = (Flow(1, 1, 4), Flow(1, 1, 2), Flow(1, 1), Flow(2, 2), Flow(3, 3), Flow(5, 5))


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results outside of bands lie apart from what is read, so that bands alone save memory."""
    monkeypatch.setattr(arena, "distances", lambda *_: {})


def cut(program: Program, seed: int) -> Program:
    """The program with bands as long as they can be, at random paces and from random calls on."""
    rng, bander, found, at = np.random.default_rng(seed), Bander(program), [], 0
    while at < len(program.calls):
        best = None
        for last in range(at, len(program.calls)):
            pace = PACES[int(rng.integers(len(PACES)))]
            try:
                bander.band(at, last, pace)
            except Whole:
                continue
            best = (at, last, pace)
        if best:
            found.append(best)
        at = best[1] + 1 if best else at + 1
    return bander.combined(found)


def check(graph: Graph, program: Program, folder: Path, seed: int) -> None:
    x = inputs(graph, seed)
    memory = plan(program)
    assert memory.arena_bytes >= memory.lower_bound
    write(emit(program, memory, "m"), folder)
    result = compare(simulate(graph, x, steps=True), in_arena.run(folder, x))
    assert result.difference is None, f"{result.difference}"
    whole = {o for c in program.calls for o in c.outputs} - set(program.lines)
    assert result.tensors == len(whole | set(graph.results))


@pytest.mark.parametrize("seed", (*range(10), 21082, 21227))  # the last two once had rows over scratch
def test_random_bands(seed: int, tmp_path: Path) -> None:
    graph = band_graph(seed, ("single", "tflm")[seed % 2])
    program = cut(lower(graph, HOST), seed)
    assert program.bands
    check(graph, program, tmp_path / "m", seed)


@pytest.mark.parametrize("seed", (1, 4, 7))
def test_rows_are_kept_at_the_end_of_their_buffers(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all buffers that can, although a placement that needs no more memory would leave them at the front."""
    monkeypatch.setattr(arena, "turned", lambda blocks, either, *_: [replace(b, behind=i in either) for i, b in enumerate(blocks)])
    monkeypatch.setattr(arena, "place", lambda problems, bound, trails: place.place(problems[:1], bound, trails[:1]))
    graph = band_graph(seed, "tflm")
    program = cut(lower(graph, HOST), seed)
    assert plan(program).behind
    check(graph, program, tmp_path / "m", seed)


@pytest.mark.parametrize("seed", (2, 5, 9))
def test_random_bands_in_half_precision(seed: int, tmp_path: Path) -> None:
    graph = halved(band_graph(seed))
    program = cut(lower(graph, HOST), seed)
    assert program.bands
    check(graph, program, tmp_path / "m", seed)


@pytest.mark.parametrize("pool", (AveragePool2d((12, 5)), Mean((1, 2), keepdims=True)))
def test_a_pooling_in_half_precision_takes_in_rows(pool: Op, tmp_path: Path) -> None:
    """And pointwise layers work in place: of a chain no tensor is whole but its input."""
    b = Builder(2, "single")
    x = b.conv(b.input(1, 24, 10, 1), 16, 3, stride=2, pads=(1, 1, 1, 1))
    x = b.conv(b.linear(DepthwiseConv2d(pads=(1, 1, 1, 1)), x, (1, 3, 3, 16), 3, 0.0), 16, 1)
    graph = halved(b.graph(b.dense(b.flatten(b.node(pool, x)), 3)))
    for name in ("host", "cortex-m4"):
        program, memory = fitted(lower(graph, target.load(name)), None)
        assert program.calls[2].inplace == (0,) and program.bands[0].parts[-1].gathers
        assert memory.arena_bytes < 3 * graph.type(x).bytes / 2
        if name == "host":
            check(graph, program, tmp_path / "m", 2)
    need_emulator("cortex-m4")
    write(emit(program, memory, "m"), tmp_path / "chip")
    x_ = inputs(graph, 2, 1)
    assert compare(simulate(graph, x_, steps=True), run(tmp_path / "chip", target.load("cortex-m4"), x_, steps=True)).bit_exact


@pytest.mark.parametrize("seed", (8, 10))
def test_the_least_arena(seed: int, tmp_path: Path, apart: None) -> None:
    graph = band_graph(seed, layers=12)
    program = lower(graph, HOST)
    search = Search(program)
    least = search.least
    made, memory = fitted(program, None)
    assert made.bands and least <= memory.arena_bytes < plan(program).arena_bytes
    assert memory.arena_bytes <= least * 1.05
    check(graph, made, tmp_path / "m", seed)


def test_within_a_limit_as_little_as_needed(apart: None) -> None:
    program = lower(band_graph(8, layers=12), HOST)
    whole, least = plan(program).arena_bytes, Search(program).least
    assert fitted(program, whole)[0] is program
    middle = int((whole + least) / 2)
    memory = fitted(program, middle)[1]
    assert memory.arena_bytes <= middle
    search = Search(program)
    costs = [sum(s.cost for s in search.cut(limit) or []) for limit in (whole, middle, least)]
    assert costs == sorted(costs)


@pytest.mark.parametrize("seed", (3, 8, 10))
def test_cuts_are_as_good_as_the_best_of_all(seed: int, apart: None) -> None:
    """Bounds and guesses leave nothing out: every cut into alone and banded calls is looked at."""
    program = lower(band_graph(seed, layers=7), HOST)
    search, every = Search(program), Search(program)
    count, needs = len(program.calls), every._live
    bands = {(i, last): found for i in range(count) for last in every.ends(i) if (found := every.slowest(i, last))}
    need = [0.0, *[math.inf] * count]
    for i in range(count):
        for last, size in [(i, needs[i]), *((b, s.bytes) for (a, b), s in bands.items() if a == i)]:
            need[last + 1] = min(need[last + 1], max(need[i], size))
    assert search.least == need[-1] < max(needs)
    assert all(every.bound(*key) <= found.bytes for key, found in bands.items())
    for limit in (need[-1], (need[-1] + max(needs)) / 2):
        paced = {key: every.paced(s, limit).cost for key, s in bands.items() if s.bytes <= limit}
        cost = [0.0, *[math.inf] * count]
        for i in range(count):
            alone = 0.0 if needs[i] <= limit else math.inf
            for last, more in [(i, alone), *((b, c) for (a, b), c in paced.items() if a == i)]:
                cost[last + 1] = min(cost[last + 1], cost[i] + more)
        assert sum(s.cost for s in Search(program, most=limit).cut(limit) or []) == pytest.approx(cost[-1])


def test_sanitized(tmp_path: Path) -> None:
    for seed in (20, 21):
        graph = band_graph(seed, "tflm")
        program = cut(lower(graph, HOST), seed)
        x = inputs(graph, seed)
        folder = tmp_path / str(seed)
        made = simulate(graph, x, steps=True)
        artifact = emit(program, plan(program), "m", {**x, **made.steps})
        write(artifact, folder)
        flags = [f for f in COMMON_FLAGS if f != "-Wconversion"]
        files = [*sources(folder, artifact.manifest), folder / "m_vectors.c", folder / "main.c"]
        subprocess.run(
            ["gcc", *flags, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *files, "-o", folder / "t"],
            check=True,
        )
        subprocess.run([folder / "t"], check=True)


@pytest.mark.parametrize("name", ["cortex-m4", "riscv", "cortex-m55", "riscv-v"])
def test_emulated(name: str, tmp_path: Path) -> None:
    chip = uncounted(name)
    need_emulator(name)
    for seed in (31,):
        graph = band_graph(seed)
        program = cut(lower(graph, chip), seed)
        x = inputs(graph, seed, 2)
        write(emit(program, plan(program), "m"), tmp_path / str(seed))
        result = compare(simulate(graph, x, steps=True), run(tmp_path / str(seed), chip, x, steps=True))
        assert result.difference is None, f"{result.difference}"


def chain(height: int = 24) -> Graph:
    b = Builder(1, "single")
    x = b.input(1, height, 6, 4)
    for _ in range(3):
        x = b.depthwise(b.conv(x, 8, 1))
    return b.graph(b.conv(x, 2, 3, stride=2, pads=(0, 0, 1, 1)))


def mixed(graph: Graph, at: int, front: bool) -> Graph:
    """A graph on int8 of which the nodes up to number `at` compute in half precision; those behind it where not `front`."""
    halves, cut = halved(graph), graph.nodes[at].outputs[0]
    first = {t for n in graph.nodes[: at + 1] for t in (*n.inputs, *n.outputs)}
    tensors = {n: (halves if (n in first) == front else graph).tensors[n] for n in graph.tensors}
    tensors["turned"] = replace((graph if front else halves).tensors[cut], name="turned")
    behind = [replace(n, inputs=tuple("turned" if i == cut else i for i in n.inputs)) for n in graph.nodes[at + 1 :]]
    turn = Node("turn", Quantize() if front else Dequantize(), (cut,), ("turned",))
    return checked(replace(graph, nodes=(*graph.nodes[: at + 1], turn, *behind), tensors=tensors), "test")


@pytest.mark.parametrize("front", [True, False])
def test_int8_and_half_precision_share_a_band(front: bool, tmp_path: Path, apart: None) -> None:
    graph = mixed(chain(), 3, front)
    for name in ("host", "cortex-m4"):
        whole = lower(graph, target.load(name))
        program, memory = fitted(whole, None)
        assert program.bands[0].first == 0 and program.bands[0].last >= 4 and memory.arena_bytes < plan(whole).arena_bytes / 2
        if name == "host":
            check(graph, program, tmp_path / "m", 1)
    need_emulator("cortex-m4")
    write(emit(program, memory, "m"), tmp_path / "chip")
    x = inputs(graph, 2, 1)
    assert compare(simulate(graph, x, steps=True), run(tmp_path / "chip", target.load("cortex-m4"), x, steps=True)).bit_exact


def test_rows_that_pass_take_no_room() -> None:
    program = lower(chain(), target.load("cortex-m4"))
    band = Bander(program).combined([(0, len(program.calls) - 1, Flow(1, 1, 2))]).bands[0]
    assert any(lines.over or lines.ahead for lines in band.lines.values()) or all(lines.bytes for lines in band.lines.values())
    heights = [lines.bytes // (6 * 8) for lines in band.lines.values() if lines.bytes]
    assert max(heights) <= 3  # a window of three rows, and none of them twice


@pytest.mark.parametrize("rows", (1, 5))
def test_rows_of_many_channels_have_room_where_a_whole_result_takes_few(rows: int, tmp_path: Path) -> None:
    """Those of a depthwise layer lie where the next layer's do, which is projected to few channels and added: not in the result's place."""
    b = Builder(6, "single")
    x = b.input(1, 18, 4, 8)
    y = b.conv(b.linear(DepthwiseConv2d(pads=(1, 1, 1, 1)), b.conv(x, 48, 1), (1, 3, 3, 48), 3, 0.0), 8, 1)
    graph = b.graph(b.add(x, y))
    for name in ("host", "riscv"):
        whole = lower(graph, target.load(name))
        program = Bander(whole).combined([(0, len(whole.calls) - 1, Flow(rows, rows))])
        lines = program.bands[0].lines
        guest = lines[graph.nodes[1].outputs[0]]
        assert guest.bytes or guest.over or lines[guest.ahead].bytes >= rows * 4 * 48
        check(graph, program, tmp_path / name, rows)


@pytest.mark.parametrize("rows", (1, 3, 5))
def test_rows_that_nobody_reads_have_room(rows: int, tmp_path: Path) -> None:
    """A stride beyond the window leaves out rows, which are made all the same: the first of a turn lies before the first that is read."""
    b = Builder(4, "single")
    y = b.linear(Conv2d(pads=(0, 0, 0, 0)), b.input(1, 13, 4, 8), (8, 1, 1, 8), 0, 0.0)
    graph = b.graph(b.linear(Conv2d(stride=(2, 1)), y, (4, 1, 1, 8), 0, 0.0))
    program = Bander(lower(graph, HOST)).combined([(0, 1, Flow(rows, rows))])
    band, trace = program.bands[0], traces_of(program.bands[0].parts, program.bands[0].turns)[0]
    assert band.lines[y].bytes >= int((trace.after - trace.before).max()) * 4 * 8
    check(graph, program, tmp_path / "m", rows)


def test_a_result_trails_its_input(apart: None) -> None:
    b = Builder(2, "single")
    graph = b.graph(b.conv(b.input(1, 32, 16, 4), 4, 3, pads=(1, 1, 1, 1)))
    program = lower(graph, HOST)
    made, memory = fitted(program, None)
    assert len(made.bands) == 1 and memory.arena_bytes < plan(program).arena_bytes * 0.6
    ((pair, distance),) = made.bands[0].overlaps.items()
    assert memory.offsets[pair[0]] + distance <= memory.offsets[pair[1]] < memory.offsets[pair[0]] + graph.type(pair[0]).bytes


FEED = """
#include <string.h>
#include "m.h"
static unsigned char arena[M_ARENA_BYTES] __attribute__((aligned(8)));
void by(const signed char *x, signed char *y, int rows)
{
    memset(arena, 0x5a, sizeof arena);
    m_begin(arena);
    for (int at = 0; at < M_ROWS; at += rows) {
        m_feed(arena, (const void *)(x + at * M_ROW_BYTES), M_ROWS - at < rows ? M_ROWS - at : rows);
    }
    m_end(arena, (void *)y);
}
"""


@pytest.mark.parametrize("seed", (8, 10, 12))
def test_rows_as_they_come(seed: int, tmp_path: Path) -> None:
    """One at a time, some at a time and all at once give the simulator's bytes, in less memory than the input has."""
    b = Builder(seed, "single")
    x = b.input(1, 30, 12, 4)
    y = b.depthwise(b.conv(x, 6, 3, stride=2, pads=(0, 0, 1, 1)))
    y = b.conv(b.add(b.conv(y, 6, 3, pads=(1, 1, 1, 1)), y), 5, 3, stride=2)
    graph = b.graph(b.dense(b.flatten(y), 4) if seed == 8 else y)
    program, memory = fed(lower(graph, HOST), None)
    assert memory.arena_bytes < plan(lower(graph, HOST)).arena_bytes
    assert program.lines[x].bytes <= 4 * 12 * 4
    folder = tmp_path / "m"
    write(emit(program, memory, "m"), folder)
    assert manifest(folder).inputs[0].offset is None and manifest(folder).outputs[0].offset is not None
    (folder / "feed.c").write_text(FEED)
    flags = [f for f in COMMON_FLAGS if f != "-Wconversion"]
    names = [folder / "m.c", folder / "m_kernels.c", folder / "m_weights.c", folder / "feed.c"]
    subprocess.run(["gcc", *flags, "-O1", "-shared", "-fPIC", *names, "-o", folder / "feed.so"], check=True)
    library = ctypes.CDLL(str(folder / "feed.so"))
    data = inputs(graph, seed)
    want = simulate(graph, data).outputs[graph.outputs[0]]
    for rows in (1, 4, 30):
        for given, expected in zip(data[x], want, strict=True):
            made = np.zeros(expected.shape, np.int8)
            library.by(given.ctypes.data_as(ctypes.c_void_p), made.ctypes.data_as(ctypes.c_void_p), rows)
            assert np.array_equal(made, expected)


def test_an_input_that_several_layers_read_comes_by_rows_or_is_refused() -> None:
    """All of them must be in the first band."""
    found = {}
    for seed in range(1, 9):
        program = lower(band_graph(seed, ("single", "tflm")[seed % 2]), HOST)
        try:
            made, _ = fed(program, None)
        except EdgeqError:
            found[seed] = False
            continue
        found[seed] = True
        (name,) = program.graph.inputs
        assert all(i <= made.bands[0].last for i, c in enumerate(program.calls) if name in c.operands) and made.bands[0].first == 0
    assert [s for s, works in found.items() if works] == [4, 6, 7, 8]


def test_what_cannot_be_fed_by_rows_says_so() -> None:
    b = Builder(1, "single")
    graph = b.graph(b.dense(b.input(1, 10), 4))
    with pytest.raises(EdgeqError, match="row by row"):
        fed(lower(graph, HOST), None)


def test_offsets_do_not_depend_on_the_order_of_sets() -> None:
    """Tensors of a band are placed in the order of its calls, however their names are hashed."""
    whole = lower(chain(), HOST)
    program = Bander(whole).combined([(0, len(whole.calls) - 1, Flow(1, 1, 2))])
    spans = arena.lifetimes(program)
    order = dict.fromkeys(program.storage(n) for c in program.calls for n in (*c.operands, *c.outputs))
    assert [n for n in spans if n in order] == [n for n in order if n in spans] and len(order) > 3


def test_the_search_of_a_placement_is_long_enough(data: Path) -> None:
    """A shorter one leaves 20 bytes between the buffers of keyword spotting."""
    graph = load(mlperf_tiny.path(data, mlperf_tiny.INT8["kws"]))
    assert fed(lower(graph, target.load("cortex-m4")), None)[1].arena_bytes == 4052


def test_ways_to_use_memory(apart: None) -> None:
    found = ways(lower(band_graph(8, layers=12), HOST))
    assert found[0].name == "whole tensors" and not found[0].bands
    banded = [w for w in found if w.bands and "fed" not in w.name]
    assert [w.arena for w in banded] == sorted((w.arena for w in banded), reverse=True) and banded[-1].arena < found[0].arena


def test_rows_of_few_pixels_take_the_kernel_for_them() -> None:
    """Not the whole layer's, where another is better at what a turn computes."""
    b = Builder(2, "tflm")
    x = b.conv(b.input(1, 24, 10, 1), 16, 3, stride=2, pads=(1, 1, 1, 1))
    for _ in range(2):
        x = b.conv(b.linear(DepthwiseConv2d(pads=(1, 1, 1, 1)), x, (1, 3, 3, 16), 3, 0.0), 16, 1)
    whole = lower(b.graph(b.dense(b.flatten(b.node(AveragePool2d((12, 5)), x)), 3)), target.load("cortex-m4"))
    banded = fitted(whole, None)[0]
    assert banded.bands and {c.kernel.stem for c in whole.calls if c.kind == "depthwise_conv2d"} == {"depthwise_conv2d_3x3_s8"}
    assert {c.kernel.stem for c in banded.calls if c.kind == "depthwise_conv2d"} == {"depthwise_conv2d_row_s8"}


def test_turns_of_few_and_of_many_pixels_share_the_kernel_of_the_layer() -> None:
    """Twelve rows at a turn, and at the last one four, of which a third would be computed in vain."""
    b = Builder(3, "single")
    whole = lower(b.graph(b.conv(b.conv(b.input(1, 28, 1, 8), 16, 1), 8, 1)), target.load("cortex-m4"))
    banded = Bander(whole).combined([(0, 1, Flow(12, 12))])
    assert [c.kernel.name for c in banded.calls] == [c.kernel.name for c in whole.calls]
