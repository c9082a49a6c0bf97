"""Memory faults: their law, their statistics, and the same bytes from the simulator, the host's C and emulated boards."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import need_programs
from random_graphs import Builder
from zoo import zoo

from edgeq import api, faults, graphfile, kernels
from edgeq.api.robustness import noise, robustness
from edgeq.build import Installation, Program, build_programs, toolchain
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap, apply, block, flipped, flips, hardened, parameters, tables, uniform, voltage
from edgeq.formats import PLAIN
from edgeq.formats.code import Code
from edgeq.formats.votes import Votes
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.kernels.layouts import places
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.svdf import Svdf
from edgeq.ops.weights import with_formats
from edgeq.plan import plan
from edgeq.quantize import Options
from edgeq.record import manifest
from edgeq.run import bench, gpu, qemu, unicorn
from edgeq.run.layout import Layout
from edgeq.run.patched import Repacked, patched
from edgeq.simulate import simulate
from edgeq.staged import Staged
from edgeq.tables import Constants
from edgeq.target import load

HOST = load("host")
CODES = (
    None, Code(8, True), Code(7, check="parity", votes=True), Code(5, check="hamming", votes=True, small=100), Code(4),
    Code(3, check="triple"), Code(8, small=100), Code(7, True, "hamming", True, asymmetric=True, crc=True),
    Code(7, check="parity", small=100, asymmetric=True), Code(8, votes=True, crc=True),
)  # fmt: skip
MAPS = (
    FaultMap(seed=1, p=0.01), FaultMap("columns", 2, 0.05), FaultMap("stuck", 3, 0.02, 0.3), FaultMap("asymmetric", 4, 0.02, 5.0),
    FaultMap("list", p=0.1, entries=(("s0_weights", 3, 129, 0.0), ("s1_bias", 2, 7, 0.05), ("s1_bias", 1, 7, 0.2))),
)  # fmt: skip

MIXED = [0, 1753845952, 3507691905, 1734902346]
UNIFORM = [393338462, 272824855, 1071112584, 281420808]


def network(code: Code | None = None, law: str = "single") -> Graph:
    """A small network, its weights cut to what the code holds."""
    b = Builder(3, law)
    x = b.input(1, 7, 7, 3)
    y = b.depthwise(b.conv(x, 6, 3, stride=2, pads=(1, 1, 1, 1)))
    graph = b.graph(b.dense(b.pool(b.add(y, y)), 4))
    if code is None:
        return graph
    weights = {n.inputs[1]: 3 if isinstance(n.op, DepthwiseConv2d) else 0 for n in graph.nodes if 1 in n.op.parameters}
    cut = {n: replace(t, data=fitting(t.data, weights[n], code)) for n, t in graph.tensors.items() if n in weights and t.data is not None}
    return with_formats(replace(graph, tensors={**graph.tensors, **cut}), code, Votes() if code.votes else PLAIN)


def fitting(weights: Array, axis: int, code: Code) -> Array:
    """Weights that a code holds; of an asymmetric one each channel about a middle of its own."""
    w = np.moveaxis(weights >> (8 - code.bits), axis, 0)
    if code.asymmetric:
        middle = np.resize((code.limit // 8, -code.limit // 8), len(w)).astype(np.int8)
        w = w + middle.reshape(-1, *[1] * (w.ndim - 1))
    return np.ascontiguousarray(np.moveaxis(w, 0, axis))


def vectors(graph: Graph, count: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {n: rng.integers(-128, 128, (count, *graph.type(n).shape)).astype(np.int8) for n in graph.given}


def output(graph: Graph, outputs: object) -> Array:
    return np.asarray(outputs[graph.results[0]])  # type: ignore[index]


def test_the_law_is_the_same_on_every_machine() -> None:
    assert faults.mix(np.array([0, 1, 2, 0xFFFFFFFF])).tolist() == MIXED
    assert uniform(7, 3, np.array([0, 1, 2, 100000], np.uint32)).tolist() == UNIFORM
    assert [faults.threshold(p) for p in (0, 2**-32, 0.5, 1)] == [0, 1, 2**31, 2**32 - 1]


@pytest.mark.parametrize("p", [1e-4, 1e-3, 0.01, 0.05])
def test_flip_counts_are_binomial(p: float) -> None:
    n, counts = 8 * 40_000, []
    for seed in range(20):
        counts.append(np.unpackbits(FaultMap(seed=seed, p=p).flips(seed, "t", np.zeros(n // 8, np.uint8))).sum())
    z = (np.array(counts) - n * p) / np.sqrt(n * p * (1 - p))
    assert np.abs(z).max() < 4 and abs(z.sum()) / np.sqrt(20) < 3 and 0.4 < z.std() < 1.7


@pytest.mark.parametrize("kind", ["random", "columns", "stuck", "asymmetric"])
def test_rates_are_kept_and_faults_persist(kind: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, 200_000).astype(np.uint8)
    bits = np.unpackbits(data).astype(bool)
    before = np.zeros(bits.size, bool)
    for p in (0.001, 0.01, 0.04):
        faults_at = FaultMap(kind, 5, p, 0.3)
        found = np.unpackbits(faults_at.flips(2, "t", data)).astype(bool)
        p0, p1 = faults_at.rates
        if kind != "columns":  # whose columns are few
            assert (found[~bits].mean(), found[bits].mean()) == pytest.approx((p0, p1), rel=0.15)
        assert found.mean() == pytest.approx(p, rel=0.5) and (p0 + p1) / 2 == pytest.approx(p)
        assert found[before].all()  # a lower rate flips a subset
        before = found


def test_patterns_and_tables_are_independent() -> None:
    data = np.zeros(50_000, np.uint8)
    a, b, c = (np.unpackbits(FaultMap(seed=s, p=0.1).flips(t, "t", data)).astype(bool) for s, t in ((0, 0), (1, 0), (0, 1)))
    for x, y in ((a, b), (a, c), (a, np.roll(a, 1)), (a, np.roll(a, 8))):
        assert (x & y).mean() == pytest.approx(0.01, rel=0.1)
    columns = np.unpackbits(FaultMap("columns", 0, 0.01).flips(0, "t", np.zeros(4096, np.uint8)), bitorder="little").reshape(256, 128)
    assert 3 <= (columns.sum(0) > 0).sum() <= 30  # about a tenth of a bank's columns


@pytest.mark.parametrize("law", ["single", "tflm"])
def test_the_tables_are_those_of_the_c(law: str) -> None:
    for code in CODES:
        graph = network(code, law)
        program = hardened(graph, HOST)
        emitted = emit(program, plan(program), "m").manifest
        assert [f"m_{c.symbol}" for c in Constants(program).tables] == list(emitted.tables)
        assert {f"m_{c.symbol}": i for i, c in tables(program)} == emitted.fault_tables
        assert {f"m_{c.symbol}": len(c.data) for _, c in tables(program)}.items() <= emitted.table_bytes.items()
        names = {n for _, c in tables(program) for _, n in c.users}
        assert names == {"weights", "bias"}
        assert graph.formats == graphfile.loads(graphfile.dumps(graph)).formats


@pytest.mark.parametrize(("code", "law"), [*((c, "single") for c in CODES), (None, "tflm"), (CODES[3], "tflm")], ids=str)
def test_the_c_computes_what_the_simulator_does(code: Code | None, law: str) -> None:
    graph = network(code, law)
    program, inputs = hardened(graph, HOST), vectors(graph)
    maps = [*MAPS, FaultMap(seed=9, p=0.3), FaultMap(seed=10, p=1.0), FaultMap()]
    with patched(program, "zig", workers=2) as device:
        found = list(device.run(inputs, (flips(program, m) for m in maps)))
    expected = [simulate(graph, inputs, parameters=parameters(apply(program, m))).outputs for m in maps]
    clean = output(graph, simulate(graph, inputs).outputs)
    for m, a, b in zip(maps, found, expected, strict=True):
        assert np.array_equal(output(graph, a), output(graph, b)), m
    assert np.array_equal(output(graph, found[-1]), clean)
    assert any(not np.array_equal(output(graph, a), clean) for a in found)


def test_a_checksum_protects_every_layer_with_weights() -> None:
    """Convolutions with groups, transposed, and so on; their int8 weights fit 8 bits as they are."""
    graph = with_formats(zoo(3, "single"), Code(8, True, votes=True, crc=True), Votes())
    program, inputs = hardened(graph, HOST), vectors(graph, 2)
    maps = [FaultMap(), FaultMap(seed=1, p=0.001), FaultMap(seed=2, p=0.01), FaultMap(seed=3, p=1.0)]
    with patched(program, "zig", workers=1) as device:
        found = list(device.run(inputs, (flips(program, m) for m in maps)))
    expected = [simulate(graph, inputs, parameters=parameters(apply(program, m))).outputs for m in maps]
    for a, b in zip(found, expected, strict=True):
        assert all(np.array_equal(a[n], b[n]) for n in b)
    zeroed = apply(program, maps[-1])  # all votes and all covered bits are wrong
    coded = [(call, n) for call in zeroed.calls for n, c in call.staged.items() if c.places is not None]
    assert len(coded) == 6 and not any(call.tables[n].any() or call.params.tables[n].any() for call, n in coded)
    assert any(not np.array_equal(expected[0][n], expected[1][n]) for n in expected[0])


def test_a_recurrent_network_is_stored_by_rows() -> None:
    graph = api.load(Path(__file__).parent.parent / "examples" / "denoiser" / "denoiser.onnx")
    (name,) = graph.given
    frames = {name: np.random.default_rng(1).normal(0, 1, (16, *graph.type(name).shape)).astype(np.float32)}
    options = Options(code=Code(7, votes=True, asymmetric=True, crc=True), rounding="nearest", equalize=False)
    graph = api.quantize(graph, frames, options=options).graph
    outcome = api.compare(graph, {name: frames[name][:4]}, runner="host", faults=FaultMap(seed=1, p=0.001))
    assert outcome.comparison is not None and outcome.comparison.bit_exact and outcome.damage is not None and outcome.damage.bits > 100
    stored = [c for call in hardened(graph, HOST).calls for c in call.staged.values() if c.places is not None]
    assert len(stored) == 7 and sum(len(c.blocks) == 2 for c in stored) == 1  # 257 rows in blocks of eight, and one more


@pytest.mark.parametrize("layout", sorted({k.pack[n] for k in kernels.scan() if k.isa == "c" for n in k.pack if "weights" in n} - {""}))
def test_rows_are_found_in_every_layout(layout: str) -> None:
    for rows, length in ((24, 5), (9, 1), (27, 4), (3, 2)):
        where = places(layout, "w", {"w": np.zeros((rows, length), np.int8)})
        found = np.full_like(where, -1)
        for first, count, start, side in Staged(where, Code(8, crc=True), 0, where).blocks:
            r, k = np.arange(count)[:, None], np.arange(length)
            found[first : first + count] = start + r // side * side * length + k * side + r % side
        assert np.array_equal(found, where) and np.array_equal(np.sort(where.ravel()), np.arange(where.size))


@pytest.mark.parametrize(
    ("target", "code"), [("riscv", CODES[0]), ("riscv", CODES[3]), ("cortex-m4", CODES[0]), ("cortex-m4", CODES[7])], ids=str
)
def test_emulated_boards_compute_what_the_simulator_does(target: str, code: Code | None, tmp_path: Path) -> None:
    """One program for all maps, as the runners build it."""
    chip, graph = load(target), network(code)
    program, inputs, folder = hardened(graph, chip), vectors(graph), tmp_path / "m"
    write(emit(program, plan(program), "m"), folder)
    (tmp_path / "work").mkdir()
    wanted = Program("bench")
    elf = build_programs(folder, chip, toolchain(chip), [wanted], tmp_path / "work", "-Os", Installation(weights="ram"))[wanted]
    layout = Layout(manifest(folder))
    count, packed = layout.pack(inputs)
    clean, changed = output(graph, simulate(graph, inputs).outputs), 0
    for i, m in enumerate(MAPS):
        expected = output(graph, simulate(graph, inputs, parameters=parameters(apply(program, m))).outputs)
        changed += not np.array_equal(expected, clean)
        runners = [unicorn, qemu] if i in (0, 4) and target == "riscv" and shutil.which("qemu-system-riscv32") else [unicorn]
        for runner in runners:
            done = runner.execute(elf, chip, bench.block(count, packed, block(program, m)))
            assert done.exit_code == 0
            found = layout.unpack_outputs(bench.parse(done.sent, layout, False, 1.0, target).outputs)
            assert np.array_equal(output(graph, found), expected), (runner, m)
    assert changed >= (1 if code and code.check == "hamming" else 2)
    damaged = block(program, MAPS[-1])[:-4]
    assert unicorn.execute(elf, chip, bench.block(count, packed, damaged)).exit_code == 3


@pytest.mark.parametrize("law", ["single", "tflm"])
def test_runners_compare_under_a_map(law: str, tmp_path: Path) -> None:
    graph = network(law=law)
    inputs = vectors(graph)
    folder = api.build(graph, output=tmp_path / "m", target="riscv", hardened=True, vectors=0, check=False).folder
    before = (folder / "measurements.json").read_bytes()
    for runner in ("host", "unicorn"):
        outcome = api.compare(folder, inputs, runner=runner, faults=MAPS[2])
        assert outcome.comparison is not None and outcome.comparison.bit_exact and outcome.comparison.tensors > 3
        expected = simulate(graph, inputs, parameters=parameters(apply(hardened(graph, HOST), MAPS[2]))).outputs
        assert np.array_equal(output(graph, outcome.run.outputs), output(graph, expected))
        assert not np.array_equal(output(graph, expected), output(graph, simulate(graph, inputs).outputs))
    assert (folder / "measurements.json").read_bytes() == before


def test_folders_that_do_not_stand_faults_are_refused(tmp_path: Path) -> None:
    for target, law in (("cortex-m4", "single"), ("host", "tflm")):
        folder = api.build(network(law=law), output=tmp_path / law, target=target, vectors=0, check=False).folder
        assert not manifest(folder).hardened
        with pytest.raises(EdgeqError, match=r"bit errors would make the C compute something else .*`edgeq build --hardened`"):
            api.run(folder, faults=MAPS[0])
        assert manifest(api.build(folder, output=folder, target=target, hardened=True, vectors=0, check=False).folder).hardened
    with pytest.raises(EdgeqError, match="stores no table"):
        api.run(folder, faults=FaultMap("list", p=1.0, entries=(("s9_weights", 0, 1, 0.0),)))


def test_a_long_map_is_cut_into_parts_that_do_the_same() -> None:
    entries = [(i % 5, i, 1 + i % 255) for i in range(100)]
    for most in (36, 64, 1000, 1224, 4096):
        cut = [np.frombuffer(p, "<u4") for p in faults.parts(faults.listed(entries), most)]
        assert all(4 * len(p) <= most and p[5] == (len(p) - 6) / 3 for p in cut)
        assert [tuple(row) for p in cut for row in p[6:].reshape(-1, 3)] == entries
    seeded = block(hardened(network(), HOST), MAPS[0])
    assert list(faults.parts(seeded, 24)) == [seeded] and len(seeded) == 24


def test_maps_are_parsed_or_refused(tmp_path: Path) -> None:
    assert faults.parse("stuck:0.25") == FaultMap("stuck", ratio=0.25) and faults.parse("asymmetric").ratio == 4
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"faults": [["s0_weights", 1, 3], ["s0_weights", 2, 255, 0.5]]}))
    assert faults.parse(str(file)).entries == (("s0_weights", 1, 3, 0.0), ("s0_weights", 2, 255, 0.5))
    for bad in ("", "{}", "[]", '{"faults": [["a", 1]]}', '{"faults": [["a", -1, 1]]}', '{"faults": [["a", 1, 256]]}', '{"faults": 3}',
                '{"faults": [[1, 1, 1]]}', '{"faults": [["a", 1, 1, 2]]}', '{"faults": [["a", true, 1]]}', "[" * 100_000):  # fmt: skip
        file.write_text(bad)
        with pytest.raises(EdgeqError):
            faults.parse(str(file))
    for bad in ("nothing", "stuck:2", "asymmetric:x", "random:3", "stuck:nan"):
        with pytest.raises(EdgeqError):
            faults.parse(bad)
    program = hardened(network(), HOST)
    for entry in (("nowhere", 0, 1, 0.0), ("s0_weights", 10**6, 1, 0.0)):
        with pytest.raises(EdgeqError):
            flips(program, FaultMap("list", entries=(entry,)))


def test_robustness_reports_what_it_measures() -> None:
    graph = network()
    inputs = vectors(graph, 20)
    answers = output(graph, simulate(graph, inputs).outputs).reshape(20, -1).argmax(1)
    data = {"x": next(iter(inputs.values())), "y": answers}
    result = robustness(graph, data, rates=[0.3, 0.0], patterns=4, device_name="simulator")
    assert [p.p for p in result.points] == [0.0, 0.3] and result.clean == 0
    assert result.points[0].errors == (0.0,) * 4 and max(result.points[1].errors) > 0
    assert [row.step for row in result.layers] == [0, 1, 4] and result.operating_point in result.points
    assert result.stored == 1 and result.energy(result.points[1]) == pytest.approx(result.points[1].voltage ** 2)
    program = hardened(graph, HOST)
    seeds = [FaultMap(seed=s, p=0.3) for s in range(4)]
    again = [simulate(graph, inputs, parameters=parameters(apply(program, m))).outputs for m in seeds]
    wrong = [100 * float((output(graph, o).reshape(20, -1).argmax(1) != answers).mean()) for o in again]
    assert result.points[1].errors == pytest.approx(wrong)
    assert noise(program, FaultMap(p=0.02), 0) == pytest.approx(4 / 3 * 0.02 * 128**2, rel=0.03)
    wrong_options: list[dict[str, Any]] = [{"rates": []}, {"rates": [2.0]}, {"patterns": 0}, {"device_name": "abacus"}, {"kind": "none"}]
    for bad in wrong_options:
        with pytest.raises(EdgeqError):
            robustness(graph, data, **bad)


def test_voltages_go_through_the_published_points() -> None:
    assert [round(voltage(p), 3) for p in (0.055, 0.011, 0.0015)] == [0.79, 0.84, 0.88]
    assert voltage(0) == 1 and voltage(1e-12) == 1 and 0.88 < voltage(0.001) < 0.9


VECTORIZED = (
    (None, "tflm", "zig"), (None, "single", "gcc"), (CODES[2], "tflm", "zig"), (CODES[3], "single", "gcc"), (CODES[7], "tflm", "gcc"),
)  # fmt: skip


@pytest.mark.parametrize(("code", "law", "chain"), VECTORIZED)
def test_kernels_for_vectors_compute_what_the_simulator_does(code: Code | None, law: str, chain: str) -> None:
    need_programs(chain)
    graph = network(code, law)
    program, inputs = hardened(graph, HOST), vectors(graph, 5)
    maps = [{}, *(flips(program, FaultMap(seed=s, p=p)) for s in range(3) for p in (0.02, 0.5))]
    with patched(program, chain, workers=2, vectors=True) as device:
        assert Repacked(program).possible and any(c.kernel.isa == "host" for c in Repacked(program).program.calls)
        for xor, found in zip(maps, device.run(inputs, maps), strict=True):
            expected = simulate(graph, inputs, parameters=parameters(flipped(program, xor))).outputs
            assert all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.parametrize("words", [False, True])
def test_svdf_is_hit_in_both_its_weights(words: bool) -> None:
    """Alike on simulator, C and GPU kernels, also where faults make sums wrap."""
    rng = np.random.default_rng(2)
    half, dtype = (32768, np.int16) if words else (128, np.int8)
    state = TensorType((1, 3, 8), DType.INT16 if words else DType.INT8, QParams((0.01,), 0))
    tensors = [
        Tensor("x", TensorType((1, 5), DType.INT8, QParams((0.05,), 2))), Tensor("s", state), Tensor("z", state),
        Tensor("f", TensorType((8, 5), DType.INT8, QParams((0.01,), 0)), rng.integers(-99, 99, (8, 5)).astype(np.int8)),
        Tensor("t", TensorType((8, 3), state.dtype, QParams((0.001,), 0)), rng.integers(-half // 9, half // 9, (8, 3)).astype(dtype)),
        Tensor("b", TensorType((4,), DType.INT32, QParams((1e-5,), 0)), rng.integers(-99, 99, 4).astype(np.int32)),
        Tensor("y", TensorType((1, 4), DType.INT8, QParams((0.1,), 0))),
    ]  # fmt: skip
    node = Node("svdf", Svdf(2), ("x", "f", "t", "b", "s"), ("y", "z"))
    graph = Graph("m", (node,), {t.name: t for t in tensors}, ("x", "s"), ("y", "z"), "tflm")
    program, inputs = hardened(graph, HOST), {"x": rng.integers(-128, 128, (4, 1, 5)).astype(np.int8)}
    inputs["s"] = rng.integers(-half, half, (4, *state.shape)).astype(dtype)
    assert [c.symbol for _, c in tables(program)] == ["s0_feature_weights", "s0_feature_bias", "s0_time_weights", "s0_bias"]
    maps = [flips(program, FaultMap(seed=s, p=0.2)) for s in range(4)]
    expected = [simulate(graph, inputs, parameters=parameters(flipped(program, m))).outputs["y"] for m in maps]
    with patched(program, "gcc", workers=1) as device:
        assert [o["y"].tolist() for o in device.run(inputs, maps)] == [e.tolist() for e in expected]
    pytest.importorskip("triton")
    found = gpu.run_patterns([flipped(program, m) for m in maps], inputs, device="interpreter")["y"]
    assert found.tolist() == [e.tolist() for e in expected]
