"""The cluster: shares of calls for several cores, tables that are copied before they are read, and the harts that do it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from iss_programs import LEAVE, MCYCLE_A0, MCYCLE_A1, ORIGIN, addi, branch, elf, i_type, lui, lw, store
from random_graphs import Builder

from edgeq import api, board
from edgeq import target as targets
from edgeq.api import layout
from edgeq.api.building import artifact
from edgeq.board import Cluster, Region
from edgeq.build import Program, build_programs, toolchain
from edgeq.cli.build import of_weights
from edgeq.emit import EXACT_FLAGS, emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm
from edgeq.plan import MemoryPlan, plan
from edgeq.plan.fit import fitted
from edgeq.plan.shares import spread
from edgeq.program import Program as Lowered
from edgeq.record import manifest
from edgeq.run import bench, host
from edgeq.run.iss.machine import Machine
from edgeq.run.layout import Layout
from edgeq.simulate import simulate

THREADS = Path(__file__).resolve().parents[1] / "examples" / "cores" / "hooks_threads.c"
UNIT, L1, L2 = 0x1A120000, 0x10000000, ORIGIN
MEMORY = {"ram": Region(L1, 1 << 16), "flash": Region(L2, 1 << 20)}
SMALL = Cluster(harts=2, unit=UNIT, l1="ram", l2="flash", l1_banks=4, l2_wait=14, copy_start=30, copy_width=8, wake=4)
ELW = 0x0B | 3 << 12
BARRIER, COPIED = (i_type(0x0B, 3, 0, 8, at) for at in (4, 8))
HART = 0xF1402073 | 10 << 7  # csrr a0, mhartid


def model(seed: int) -> Graph:
    """All ways to divide: rows with and without borders, pixels, channels, additions; and a head that no core shares."""
    b = Builder(seed, "single")
    x = b.conv(b.input(1, 13, 9, 8), 16, 3, pads=(1, 1, 1, 1))
    y = b.conv(b.depthwise(x), 16, 1)
    z = b.conv(b.add(x, y), 8, 3, stride=2, pads=(1, 1, 1, 1))
    return b.graph(b.dense(b.dense(b.flatten(b.pool(z)), 64), 6))


def cell(op: Lstm | Gru, units: int, depth: int) -> Graph:
    """A step of a recurrent layer in int8."""
    rng, state = np.random.default_rng(units), QParams((1 / 128,), 0)
    rows, inputs = op.gates * units, ["x", "w", "r", *("b", "c")[: op.biases], "h"]
    tensors = [Tensor("x", TensorType((1, depth), DType.INT8, QParams((1 / 32,), -3)))]
    tensors += [Tensor(n, TensorType((1, units), DType.INT8, state)) for n in ("h", "y")]
    for weights, bias, columns, scale in (("w", "b", depth, 1 / 32), ("r", "c", units, 1 / 128)):
        scales = tuple(map(float, rng.uniform(0.001, 0.004, rows)))
        whole = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
        tensors += [Tensor(weights, TensorType((rows, columns), DType.INT8, QParams(scales, 0, 0)), whole)]
        if bias in inputs:
            sums = QParams(tuple(scale * s for s in scales), 0, 0)
            tensors += [Tensor(bias, TensorType((rows,), DType.INT32, sums), rng.integers(-500, 500, rows).astype(np.int32))]
    outputs = ["y"]
    if isinstance(op, Lstm):
        tensors += [Tensor(n, TensorType((1, units), DType.INT16, QParams((2.0**-11,), 0))) for n in ("old", "new")]
        inputs, outputs = [*inputs, "old"], [*outputs, "new"]
    names = tuple(n for n in ("x", "h", "old") if n in inputs)
    return Graph("cell", (Node("cell", op, tuple(inputs), tuple(outputs)),), {t.name: t for t in tensors}, names, tuple(outputs), "single")


@pytest.mark.parametrize("op", [Lstm(), Gru()], ids=["lstm", "gru"])
@pytest.mark.parametrize("cores, fast", [(4, 0), (4, 16384)])
def test_units_of_a_recurrent_layer_are_divided(tmp_path: Path, op: Lstm | Gru, cores: int, fast: int) -> None:
    graph = cell(op, 64, 44)
    program = spread(lower(graph, targets.load("riscv-xcv")), cores, fast)
    (call,) = program.calls
    rest = call.fetched.rest if call.fetched else 0  # shares of the last tile, where it is smaller
    assert len(call.shares) - rest == 4 and (call.fetched is not None and call.fetched.tiles > 1) == (fast > 0)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    rng = np.random.default_rng(4)
    inputs = {n: rng.integers(-128, 128, (3, *graph.type(n).shape)).astype(graph.type(n).dtype.numpy) for n in graph.inputs}
    truth, ran = simulate(graph, inputs), host.run(tmp_path / "m", inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(ran.outputs[name], truth.outputs[name], name)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Graph, Path]:
    """A folder for the cluster, its graph and its program."""
    folder, graph = tmp_path_factory.mktemp("cluster"), model(5)
    api.build(graph, output=folder / "m", target="pulp-cluster", name="m", vectors=0, check=False)
    (folder / "work").mkdir()
    target, program = targets.load("pulp-cluster"), Program("bench", hook=True)
    return folder / "m", graph, build_programs(folder / "m", target, toolchain(target), [program], folder / "work")[program]


def run(program: Path, folder: Path, inputs: dict[str, np.ndarray], cluster: Cluster) -> tuple[bench.Measured, Machine]:
    place = replace(board.load(targets.load("pulp-cluster")), cluster=cluster)
    layout = Layout(manifest(folder))
    vectors, packed = layout.pack(inputs)
    with Machine.of(program, place, bench.block(vectors, packed)) as m:
        assert m.run() == 0
        return bench.parse(bytes(m.sent), layout, True, 1.0, "test", m.clock()), m


def test_any_number_of_harts_computes_the_same_bytes_and_more_are_faster(built: tuple[Path, Graph, Path]) -> None:
    folder, graph, program = built
    x = np.random.default_rng(0).integers(-128, 128, (2, 13, 9, 8)).astype(np.int8)[:, None]
    inputs = {graph.inputs[0]: x}
    truth = simulate(graph, inputs, steps=True)
    layout, full = Layout(manifest(folder)), board.load(targets.load("pulp-cluster")).cluster
    assert full is not None and full.harts == 9
    cycles = []
    for harts in (2, 3, 5, 9):
        found, _ = run(program, folder, inputs, replace(full, harts=harts))
        steps = layout.unpack_steps(found.steps)
        for name, value in steps.items():
            np.testing.assert_array_equal(value, truth.steps[name], name)
        assert found.cycles is not None
        cycles.append(int(found.cycles[1]))
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > 3 * cycles[-1]


@pytest.mark.parametrize("cores, fast", [(8, 0), (3, 16384), (1, 12288), (16, 2560)])
def test_shares_and_tiles_of_any_size_compute_the_same_bytes_on_the_host(tmp_path: Path, cores: int, fast: int) -> None:
    graph = model(7)
    program = spread(lower(graph, targets.load("riscv-xcv")), cores, fast)
    assert any(len(c.shares) > 1 for c in program.calls) == (cores > 1)
    assert any(c.fetched for c in program.calls) == (fast > 0)
    assert all(c.fetched.bytes <= fast // 2 for c in program.calls if c.fetched)
    if fast == 12288:
        assert any(c.fetched.tiles > 1 for c in program.calls if c.fetched)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    x = np.random.default_rng(1).integers(-128, 128, (3, 1, 13, 9, 8)).astype(np.int8)
    inputs = {graph.inputs[0]: x}
    truth, ran = simulate(graph, inputs, steps=True), host.run(tmp_path / "m", inputs, steps=True)
    for name, value in truth.steps.items():
        if name in ran.steps:
            np.testing.assert_array_equal(ran.steps[name], value, name)
    np.testing.assert_array_equal(ran.outputs[graph.outputs[0]], truth.outputs[graph.outputs[0]])


@pytest.mark.parametrize("fast", ["4K", "9K"])
def test_tiles_of_layers_that_follow_each_other_take_two_buffers_in_turn(tmp_path: Path, fast: str) -> None:
    """Numbers of channels that no tile divides: the last tile is smaller, and has parts of its own."""
    b = Builder(4, "single")
    graph = b.graph(b.dense(b.dense(b.dense(b.input(1, 90), 67), 101), 59))
    program = spread(lower(graph, targets.load("pulp-cluster")), 8, targets.size(fast))
    calls = [c.fetched for c in program.calls if c.fetched]
    assert all(f.tiles > 1 for f in calls) and any(f.rest > 1 for f in calls)
    memory = plan(program)
    assert len({o for own in memory.buffers.values() for o in own}) == 2
    assert memory.arena_bytes < 3 * max(f.bytes for f in calls)
    built = api.build(graph, output=tmp_path / "m", target="pulp-cluster", name="m", vectors=4, weights_stream=fast)
    assert built.measured.comparisons["iss"].bit_exact


def test_elements_of_a_function_are_divided(tmp_path: Path) -> None:
    b = Builder(6, "single")
    graph = b.graph(b.leaky(b.input(1, 300)))
    built = api.build(graph, output=tmp_path / "m", target="pulp-cluster", name="m", vectors=4)
    assert built.measured.comparisons["iss"].bit_exact and b"eq_fork(" in (tmp_path / "m" / "m.c").read_bytes()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc and its thread sanitizer")
def test_threads_compute_the_same_bytes_without_races_and_copy_each_table_once(tmp_path: Path) -> None:
    graph = model(9)
    program = spread(lower(graph, targets.load("riscv-xcv")), 8, 12288)
    assert any(c.fetched.tiles > 1 for c in program.calls if c.fetched)
    x = np.random.default_rng(2).integers(-128, 128, (2, 1, 13, 9, 8)).astype(np.int8)
    vectors = {graph.inputs[0]: x}
    made = emit(program, plan(program), "m", {**vectors, **simulate(graph, vectors).outputs})
    write(made, tmp_path / "m")
    count = tmp_path / "count.c"
    count.write_text(
        '#include <stdio.h>\n#include <stdlib.h>\nextern unsigned long eq_bytes_copied;\n'
        'static void tell(void) { printf("copied %lu\\n", eq_bytes_copied); }\n'
        '__attribute__((constructor)) static void begin(void) { atexit(tell); }\n'
    )  # fmt: skip
    flags = ["-O1", "-g", "-fsanitize=thread", "-DEQ_TEAM", "-DEQ_COPY", "-DEQ_CORES=3", "-pthread", *EXACT_FLAGS, f"-I{tmp_path / 'm'}"]
    sources = [*map(str, sorted((tmp_path / "m").glob("*.c"))), str(THREADS), str(count)]
    subprocess.run(["gcc", *flags, *sources, "-o", str(tmp_path / "run")], check=True)
    told = subprocess.run([str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "WARNING: ThreadSanitizer" not in told.stderr, told
    read = dict(made.manifest.table_bytes.items())
    copied = int(told.stdout.split("copied ")[1]) // 2
    assert 0.9 * sum(read.values()) < copied <= sum(read.values())


def test_weights_stream_on_any_target_and_what_is_refused(tmp_path: Path) -> None:
    graph = model(3)
    plain = artifact(graph, targets.load("cortex-m4"), "m")
    there = api.build(graph, output=tmp_path / "b", target="cortex-m4", name="m", vectors=1, weights_stream="16K", cores=2)
    assert there.measured.comparisons["unicorn"].bit_exact
    assert b"eq_copy_start" in (tmp_path / "b" / "m.c").read_bytes() and b"eq_fork" in (tmp_path / "b" / "m.c").read_bytes()
    assert b"eq_copy_start" not in plain.files["m.c"] and "eq_copy.h" not in plain.files
    small = api.build(graph, output=tmp_path / "d", target="host", name="m", vectors=1, budget={"ram": 3500}, weights_stream="8K", cores=4)
    code = (tmp_path / "d" / "m.c").read_text()
    assert small.manifest.arena_bytes <= 3500 and "By bands" in code and "eq_copy_start" in code and "eq_fork(" in code
    for wrong, why in (({"cores": 0}, "0 cores"), ({"weights_stream": "x"}, "not a size"), ({"cores": 2, "hardened": True}, "hardened")):
        with pytest.raises(EdgeqError, match=why):
            api.build(graph, output=tmp_path / "c", target="cortex-m4", vectors=0, check=False, **wrong)
    assert of_weights("time,fast=64K", None) == ("time", "64K") and of_weights("time", "8K") == ("time", "8K")


def test_a_limit_just_below_the_least_is_not_tried_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    program, tried = lower(model(3), targets.load("cortex-m4")), list[float | None]()
    least = fitted(program, None)[1].arena_bytes

    def counted(given: Lowered, limit: float | None) -> tuple[Lowered, MemoryPlan]:
        tried.append(limit)
        return fitted(given, limit)

    monkeypatch.setattr(layout, "fitted", counted)
    for cores in (1, 4):
        assert layout.Spreads(cores).within(program, least - 1)[1].arena_bytes >= least
    assert len(tried) == 2


def test_memory_for_copies_is_less_only_by_what_does_not_fit() -> None:
    b = Builder(4, "single")
    program = lower(b.graph(b.dense(b.input(1, 64), 1028)), targets.load("pulp-cluster"))
    wanted = layout.Spreads(8, 51200)
    whole, memory = wanted.of(program, plan(program))
    less, fitting = wanted.within(program, memory.arena_bytes - 8)
    buffers = [max(c.fetched.bytes for c in p.calls if c.fetched) for p in (whole, less)]
    assert fitting.arena_bytes <= memory.arena_bytes - 8 and 0.8 * buffers[0] < buffers[1] < buffers[0]


def cycles(path: Path, words: Sequence[int | bytes], cluster: Cluster = SMALL, other: Sequence[int | bytes] = ()) -> tuple[int, Machine]:
    """What hart 0 takes for words between two readings of mcycle, while hart 1 executes others; x8 is the unit, x9 L1, x18 L2."""
    start = [lui(8, UNIT >> 12), lui(9, L1 >> 12), lui(18, L2 >> 12), HART]
    mine = [MCYCLE_A0, *words, MCYCLE_A1, *LEAVE]
    skip = branch(1, 10, 0, 4 * (len(mine) + 1))
    with Machine(elf(path / "p.elf", [*start, skip, *mine, *other, 0x6F]), MEMORY, cluster=cluster) as m:
        assert m.run() == 0
        clock = m.clock()
        return int(clock[1, 1] - clock[0, 1]) - 4, m


def test_l2_is_slow_and_l1_is_not(tmp_path: Path) -> None:
    assert cycles(tmp_path, [lw(5, 9, 0), lw(6, 9, 4), store(2, 5, 9, 8)])[0] == 3
    assert cycles(tmp_path, [lw(5, 18, 0), lw(6, 18, 4)])[0] == 2 + 2 * SMALL.l2_wait


def test_a_bank_serves_one_core_a_cycle(tmp_path: Path) -> None:
    """Both load from the same bank all the time: each waits for the other about every second cycle. Other banks do not collide."""
    mine = [lw(5, 9, 0)] * 60
    same, other = ([lw(5, 9, at)] * 200 for at in (16, 4))
    alone = cycles(tmp_path, mine)[0]
    assert alone == 60
    assert cycles(tmp_path, mine, other=other)[0] == alone
    assert 1.4 * alone < cycles(tmp_path, mine, other=same)[0] < 2.1 * alone


def test_a_barrier_waits_for_the_last_one(tmp_path: Path) -> None:
    taken = cycles(tmp_path, [BARRIER], other=[*[addi(0, 0, 0)] * 300, BARRIER])[0]
    assert 290 < taken < 310


def test_a_copy_runs_beside_the_core_and_takes_its_turns_at_the_banks(tmp_path: Path) -> None:
    copy = [store(2, 18, 8, 16), store(2, 9, 8, 20), addi(5, 0, 1024), store(2, 5, 8, 24)]
    wait = SMALL.copy_start + 1024 // SMALL.copy_width
    assert cycles(tmp_path, [*copy, COPIED])[0] == pytest.approx(len(copy) + wait, abs=8)
    assert cycles(tmp_path, [*copy, *[addi(0, 0, 0)] * 400, COPIED])[0] == pytest.approx(len(copy) + 400, abs=8)
    with Machine(elf(tmp_path / "q.elf", [lui(8, UNIT >> 12), lui(9, L1 >> 12), lui(18, L2 >> 12), HART, branch(1, 10, 0, 44),
                 *copy, COPIED, lw(7, 9, 0), *LEAVE, 0x6F]), MEMORY, cluster=SMALL) as m:  # fmt: skip
        assert m.run() == 0
        assert m.register(7) == lui(8, UNIT >> 12)  # the program's first word
        traffic = m.traffic()
        assert traffic is not None and traffic.copied == 1024 and len(traffic.banks) == 2


def test_a_board_says_what_is_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="out of range"):
        replace(SMALL, l1_banks=12)
    with pytest.raises(EdgeqError, match="no negative numbers"):
        replace(SMALL, wake=-1)
    (tmp_path / "targets").mkdir()
    (tmp_path / "firmware" / "bsp" / "own").mkdir(parents=True)
    (tmp_path / "targets" / "own.toml").write_text('inherits = "pulp-cluster"\nbsp = "own"\n')
    (tmp_path / "firmware" / "bsp" / "own" / "bsp.toml").write_text('inherits = "pulp-cluster"\n[cluster]\nl1 = "tcdm"\n')
    with pytest.raises(EdgeqError, match=r"names the memory 'tcdm'.*has ram, flash, vectors"):
        board.load(targets.load(str(tmp_path / "targets" / "own.toml")))


def test_a_board_of_ones_own_has_the_sources_of_the_one_that_it_inherits(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "firmware" / "bsp" / "own").mkdir(parents=True)
    (tmp_path / "targets" / "own.toml").write_text('inherits = "pulp-cluster"\nbsp = "own"\n')
    (tmp_path / "firmware" / "bsp" / "own" / "bsp.toml").write_text('inherits = "pulp-cluster"\n[cluster]\nharts = 3\n')
    target = str(tmp_path / "targets" / "own.toml")
    assert board.load(targets.load(target)).inherited[0].name == "pulp-cluster"
    built = api.build(model(2), output=tmp_path / "m", target=target, name="m", vectors=1)
    assert built.measured.comparisons["iss"].bit_exact


def layers(*channels: int) -> Graph:
    """Dense layers one behind the other."""
    b = Builder(sum(channels), "single")
    x = b.input(1, channels[0])
    for count in channels[1:]:
        x = b.dense(x, count)
    return b.graph(x)


@pytest.mark.parametrize("fast", [4096, 9000])
def test_tiles_are_such_that_the_kernel_computes_them(tmp_path: Path, fast: int) -> None:
    """Lanes of RV32IM take sixteen rows at a time: tiles of four cannot be laid out."""
    graph = layers(280, 64, 64)
    program = spread(lower(graph, targets.load("riscv")), 1, fast)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    inputs = {graph.inputs[0]: np.random.default_rng(3).integers(-128, 128, (2, *graph.type(graph.inputs[0]).shape)).astype(np.int8)}
    ran = host.run(tmp_path / "m", inputs)
    np.testing.assert_array_equal(ran.outputs[graph.outputs[0]], simulate(graph, inputs).outputs[graph.outputs[0]])


def rows_and_heads() -> Graph:
    """Layers whose last part is smaller, with borders on all sides, and a function of elements."""
    b = Builder(12, "single")
    x = b.depthwise(b.conv(b.input(1, 11, 7, 5), 12, 3, stride=2, pads=(1, 1, 1, 1)))
    return b.graph(b.dense(b.flatten(b.leaky(b.conv(x, 20, 1))), 10))


NETS = [
    ("rows", lambda: model(11), None, 1), ("layers", lambda: layers(90, 67, 101, 59), None, 1), ("odd", rows_and_heads, None, 1),
    ("lstm", lambda: cell(Lstm(), 40, 36), None, 0), ("gru", lambda: cell(Gru(), 40, 36), None, 0),
    ("tiles", lambda: layers(90, 67, 101, 59), "9K", 1), ("copies", lambda: model(13), "12K", 1),
]  # fmt: skip


@pytest.mark.skipif(shutil.which("qemu-system-riscv32") is None, reason="needs QEMU")
@pytest.mark.parametrize(("make", "fast", "forks"), [n[1:] for n in NETS], ids=[n[0] for n in NETS])
def test_nine_harts_of_qemu_compute_the_same_bytes(tmp_path: Path, make: Callable[[], Graph], fast: str | None, forks: int) -> None:
    built = api.build(make(), output=tmp_path / "m", target="virt-harts", name="m", vectors=2, weights_stream=fast)
    code = (tmp_path / "m" / "m.c").read_bytes()
    assert built.measured.comparisons["qemu"].bit_exact and (b"eq_fork(" in code) == bool(forks)
    assert (b"eq_copy_start" in code) == (fast is not None)
