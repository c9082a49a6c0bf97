"""Firmware on the emulated chips: every target, both emulators, three compilers, and what can go wrong."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from installed import need, need_programs
from random_graphs import Builder

from edgeq import board
from edgeq.build import Program, build_firmware, build_programs, section_sizes, toolchain
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.process import run_tool
from edgeq.record import manifest
from edgeq.run import bench, iss, qemu, run, unicorn
from edgeq.run.layout import Layout
from edgeq.simulate import Run, simulate
from edgeq.target import load, names

VECTORS = 3
CHIPS = [n for n in names() if load(n).bsp]
EMULATED = [n for n in CHIPS if n.startswith(("cortex", "riscv", "sifive"))]  # others are a chip's own default board, or in tests/boards
EMULATORS: dict[str, Any] = {"unicorn": unicorn, "qemu": qemu, "iss": iss}


class Model(NamedTuple):
    folder: Path
    inputs: dict[str, Array]
    expected: Run


def make(folder: Path, side: int = 7) -> Model:
    b = Builder(3, "single")
    x = b.input(1, side, side, 3)
    y = b.depthwise(b.conv(x, 5, 3, stride=2, pads=(1, 1, 1, 1)))
    z = b.dense(b.pool(b.add(y, y)), 4)
    graph = b.graph(z)
    inputs = {x: np.random.default_rng(1).integers(-128, 128, (VECTORS, 1, side, side, 3)).astype(np.int8)}
    expected = simulate(graph, inputs, steps=True)
    program = lower(graph, load("host"))
    write(emit(program, plan(program), "m", {**inputs, **expected.outputs}), folder)
    return Model(folder, inputs, expected)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small network, in a folder whose name a shell or a build tool might stumble over."""
    return make(tmp_path_factory.mktemp("firmware") / "a $name with spaces" / "out")


def counts(result: Run) -> tuple[Any, ...]:
    return result.instructions, result.step_instructions, result.constant_time, result.stack_bytes


@pytest.mark.parametrize("target", EMULATED)
def test_all_emulators_agree_with_the_simulator_and_with_each_other(model: Model, target: str) -> None:
    need(target, "gcc", "qemu")
    modules = [EMULATORS[r] for r in load(target).runners]
    results = [m.run(model.folder, load(target), model.inputs, steps=True, chain="gcc", optimize="-Os") for m in modules]
    for result in results:
        comparison = compare(model.expected, result)
        assert comparison.bit_exact, f"{target} {result.runner}: {comparison.difference}"
        assert set(result.steps) == {s.tensor for s in manifest(model.folder).steps}
        assert result.stack_bytes and result.stack_bound and result.stack_bytes <= result.stack_bound == result.stack
    assert len({counts(r) for r in results}) == 1
    assert sum(results[0].step_instructions or ()) == pytest.approx(results[0].instructions, rel=0.02)


@pytest.mark.parametrize("target", ["riscv", "cortex-m0", "cortex-m4"])
def test_zig_and_unicorn_alone(model: Model, target: str) -> None:
    result = run(model.folder, load(target), model.inputs)
    assert result.runner == load(target).runners[0] in ("iss", "unicorn")
    assert compare(model.expected, result).bit_exact and result.instructions


@pytest.mark.parametrize("target", [n for n in EMULATED if load(n).runners == ("qemu",)])
def test_zig_where_qemu_is_the_only_emulator(model: Model, target: str) -> None:
    need(target, "zig", "qemu")
    result = run(model.folder, load(target), model.inputs)
    assert result.runner == "qemu" and compare(model.expected, result).bit_exact and result.instructions


@pytest.mark.parametrize("target", ["riscv", "riscv-f", "cortex-m0", "cortex-m33", "cortex-m55"])
def test_clang(model: Model, target: str) -> None:
    need(target, "clang", *load(target).runners[:1])
    assert compare(model.expected, run(model.folder, load(target), model.inputs, chain="clang", optimize="-O2")).bit_exact


@pytest.mark.parametrize("chain", ["zig", "gcc", "clang"])
@pytest.mark.parametrize("target", ["cortex-m55", "cortex-m85"])
def test_compilers_make_vector_code(target: str, chain: str, tmp_path: Path) -> None:
    need(target, chain)
    source, tool = tmp_path / "probe.c", toolchain(load(target), chain)
    source.write_text("#if __ARM_FEATURE_MVE != 3\n#error no MVE\n#endif\nextern int x;\n")
    run_tool([*tool.command, *tool.flags, "-c", str(source), "-o", str(tmp_path / "probe.o")], "probe")


@pytest.mark.parametrize("emulator", EMULATORS)
def test_counts_repeat_and_do_not_depend_on_steps(model: Model, emulator: str) -> None:
    target = load("riscv" if emulator == "iss" else "cortex-m4")
    need(target.name, "gcc", emulator)
    module = EMULATORS[emulator]
    done: list[tuple[int, int]] = []
    plain = module.run(model.folder, target, model.inputs, chain="gcc", progress=lambda a, b: done.append((a, b)))
    again = module.run(model.folder, target, model.inputs, chain="gcc", steps=True)
    assert (plain.instructions, plain.constant_time, plain.stack_bytes) == (again.instructions, again.constant_time, again.stack_bytes)
    assert done[-1] == (VECTORS, VECTORS) and done == sorted(done)


def changed(model: Model, folder: Path, statement: str) -> Path:
    """A copy of the emitted model that first executes `statement`."""
    shutil.copytree(model.folder, folder)
    source = folder / "m.c"
    text = source.read_text(encoding="utf-8")
    before = "    (void)bytes;\n"
    assert before in text
    source.write_text(text.replace(before, f"{before}    {statement}\n"), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("target", "emulator"), [("riscv", "unicorn"), ("cortex-m0", "qemu")])
def test_instructions_and_stack_are_counted_one_by_one(model: Model, target: str, emulator: str, tmp_path: Path) -> None:
    need(target, "gcc", emulator)
    stack = "volatile unsigned char pad[4096]; pad[0] = 0; pad[4095] = 0; (void)pad[0];"
    nops = ' __asm__ volatile(".rept 100\\nnop\\n.endr");'
    folders = [changed(model, tmp_path / "plain", stack), changed(model, tmp_path / "slow", stack + nops)]
    plain, slow = (EMULATORS[emulator].run(f, load(target), model.inputs, chain="gcc") for f in folders)
    assert slow.instructions == plain.instructions + 100
    assert 4096 + 100 < plain.stack_bytes == slow.stack_bytes < 4096 + 600


@pytest.mark.parametrize(("target", "emulator"), [(t, e) for t in ("riscv", "cortex-m3") for e in EMULATORS if e in load(t).runners])
def test_a_fault_names_the_function(model: Model, target: str, emulator: str, tmp_path: Path) -> None:
    need(target, "gcc", emulator)
    folder = changed(model, tmp_path / "bad", "*(volatile int32_t *)0x90000000u = 1;")
    with pytest.raises(EdgeqError, match=r"m_invoke\+0x"):
        EMULATORS[emulator].run(folder, load(target), model.inputs, chain="gcc")


@pytest.mark.parametrize("emulator", EMULATORS)
def test_a_program_without_end_is_stopped(model: Model, emulator: str, tmp_path: Path) -> None:
    target = load("riscv" if emulator == "iss" else "cortex-m4")
    need(target.name, "gcc", emulator)
    folder = changed(model, tmp_path / "endless", 'for (;;) { __asm__ volatile(""); }')
    with pytest.raises(EdgeqError, match=r"did not end within 0\.5 s"):
        replace(EMULATORS[emulator].run, timeout=0.5)(folder, target, model.inputs, chain="gcc")


@pytest.mark.parametrize(
    ("target", "size", "emulator"),
    [("riscv", 65530, "unicorn"), ("sifive-e", 4090, "qemu"), ("cortex-m4", 70000, "unicorn"), ("cortex-m4", 70000, "qemu")],
)
def test_a_stack_overflow_is_told(model: Model, target: str, size: int, emulator: str, tmp_path: Path) -> None:
    need(target, "gcc", emulator)
    statement = f"volatile unsigned char pad[{size}]; for (int i = {size}; i-- > 0;) {{ pad[i] = 0; }} (void)pad[0];"
    with pytest.raises(EdgeqError, match="the stack overflowed"):
        EMULATORS[emulator].run(changed(model, tmp_path / "deep", statement), load(target), model.inputs, chain="gcc")


@pytest.mark.parametrize("emulator", EMULATORS)
def test_selftest_passes_and_notices_a_wrong_byte(model: Model, emulator: str, tmp_path: Path) -> None:
    need("riscv", "gcc", emulator)
    target = load("riscv")
    wrong = tmp_path / "wrong"
    shutil.copytree(model.folder, wrong)
    weights = wrong / "m_weights.c"
    text = weights.read_text(encoding="utf-8")
    at = text.index("int32_t", text.index("const int8_t"))
    number = text.index("= {", at) + len("= {\n    ")
    end = text.index(",", number)
    weights.write_text(f"{text[:number]}{int(text[number:end]) + 4000}{text[end:]}", encoding="utf-8")
    for folder, answer in ((model.folder, (b"PASS\n", 0)), (wrong, (b"FAIL\n", 1))):
        elf = build_firmware(folder, target, toolchain(target, "gcc"), tmp_path / "out" / "selftest.elf", app="selftest", optimize="-Os")
        done = EMULATORS[emulator].execute(elf, target)
        assert (done.sent, done.exit_code) == answer


def test_unicorn_refuses_instructions_that_the_core_lacks(model: Model, tmp_path: Path) -> None:
    need("cortex-m3", "gcc")
    elf = build_firmware(model.folder, load("cortex-m3"), toolchain(load("cortex-m3"), "gcc"), tmp_path / "m3.elf", app="selftest")
    assert unicorn.execute(elf, load("cortex-m3")).exit_code == 0
    with pytest.raises(EdgeqError, match="faulted on the emulated core"):
        unicorn.execute(elf, load("cortex-m0"))


@pytest.mark.parametrize("chain", ["gcc", "zig"])
def test_a_model_too_large_for_the_board(chain: str, tmp_path: Path) -> None:
    need("sifive-e", chain)
    large = make(tmp_path / "large", side=129)
    with pytest.raises(EdgeqError, match=r"exceeds the ram of board sifive_e by [1-9]\d* bytes") as caught:
        unicorn.run(large.folder, load("sifive-e"), large.inputs, chain=chain)
    assert "\n" not in str(caught.value)


def test_section_sizes(model: Model, tmp_path: Path) -> None:
    need("cortex-m4", "gcc")
    target, programs = load("cortex-m4"), [Program(), Program(hook=True)]
    plain, hooked = build_programs(model.folder, target, toolchain(target, "gcc"), programs, tmp_path, "-Os").values()
    sizes, data = section_sizes(plain), manifest(model.folder)
    assert data.weight_bytes <= sizes["weights"] < data.weight_bytes + 4 * len(data.tables)
    assert 500 < sizes["code"] < 16384
    assert section_sizes(hooked)["weights"] == sizes["weights"] and 0 < section_sizes(hooked)["code"] - sizes["code"] < 400
    with pytest.raises(EdgeqError, match="not a program that edgeq built"):
        section_sizes(model.folder / "m.c")


def stream(layout: Layout, vectors: int = 2) -> bytes:
    """What bench.c would send."""
    record = np.zeros(vectors, bench.record_type(layout, False))
    record["ticks"] = 1000
    body = bench.HEADER.pack(b"EQR1", vectors, 0, layout.output_bytes, 10, 0) + record.tobytes()
    return body + bench.END.pack(b"EQE1", zlib.crc32(body))


def test_damaged_streams_are_refused(model: Model) -> None:
    layout = Layout(manifest(model.folder))
    good = stream(layout)
    assert list(bench.parse(good, layout, False, 0.5, "").instructions) == [495, 495]
    damaged = [good[:n] for n in range(len(good))]
    damaged += [good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :] for i in range(len(good))]
    for bad in [*damaged, good + b"\0", stream(layout, 1)[:-8] + good[-8:]]:
        with pytest.raises(EdgeqError):
            bench.parse(bad, layout, False, 0.5, "")


def test_vectors_that_do_not_fit_at_once_are_run_in_parts(model: Model) -> None:
    layout = Layout(manifest(model.folder))
    parts = list(bench.batches(layout, 10, 16 + 4 * layout.input_bytes))
    assert [(p.start, p.stop) for p in parts] == [(0, 4), (4, 8), (8, 10)]
    with pytest.raises(EdgeqError, match="does not fit the board's memory"):
        bench.batches(layout, 10, layout.input_bytes)


@pytest.mark.parametrize("bad", [{}, {"y": np.zeros((1, 1, 7, 7, 3), np.int8)}, {"x0": np.zeros((1, 7, 7, 3), np.int8)},
                                 {"x0": np.zeros((1, 1, 7, 7, 3), np.float32)}, {"x0": np.zeros((0, 1, 7, 7, 3), np.int8)}])  # fmt: skip
def test_vectors_of_another_form_are_refused(model: Model, bad: dict[str, Array]) -> None:
    with pytest.raises(EdgeqError, match=r"give int8\[V, 1, 7, 7, 3\]"):
        run(model.folder, load("riscv"), bad, chain="gcc")


def test_missing_programs_are_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgeqError, match="apt-get install --no-install-recommends qemu-system-arm"):
        run(model.folder, load("cortex-m4"), model.inputs, runner="qemu")
    with pytest.raises(EdgeqError, match="qemu-system-arm; no other emulator runs target cortex-m55"):
        run(model.folder, load("cortex-m55"), model.inputs)
    for chain in ("gcc", "clang"):
        with pytest.raises(EdgeqError, match=r"is not installed.*apt-get install"):
            run(model.folder, load("riscv"), model.inputs, chain=chain)
    with pytest.raises(EdgeqError, match=r"has no runner 'host'.*unicorn, qemu"):
        run(model.folder, load("riscv"), model.inputs, runner="host")
    with pytest.raises(EdgeqError, match="unknown optimization level"):
        run(model.folder, load("riscv"), model.inputs, optimize="-O9")


def test_targets_and_boards_are_complete() -> None:
    for name in CHIPS:
        target = load(name)
        place = board.load(target)
        assert set(target.toolchains) == {"zig", "gcc", "clang"}
        assert target.runners in (("iss",), ("iss", "unicorn", "qemu"), ("unicorn", "qemu"), ("qemu",), ("unicorn",))
        assert target.flash and target.ram and target.isa[-1] == "c" and target.description
        assert {"flash", "ram", "vectors"} <= set(place.memory) and place.stack % 16 == 0
        assert target.flash <= place.memory["flash"].bytes and target.ram <= max(r.bytes for r in place.memory.values())
    chips = {"virt": "riscv", "mps2-an385": "cortex-m3", "mps2-an386": "cortex-m4", "mps2-an500": "cortex-m7", "mps2-an505": "cortex-m33"}
    chips["mps3-an547"] = "cortex-m55"
    for alias, chip in chips.items():
        assert (load(alias).bsp, load(alias).toolchains) == (load(chip).bsp, load(chip).toolchains)
    assert not [n for n in names() if n.startswith("_")]
    with pytest.raises(EdgeqError, match="unknown target '_riscv'"):
        load("_riscv")
    with pytest.raises(EdgeqError, match="has no board"):
        board.load(load("host"))


def test_the_block_of_vectors() -> None:
    packed = np.arange(8, dtype=np.uint8).reshape(2, 4)
    assert bench.block(2, packed) == struct.pack("<4sIII", b"EQV1", 2, 4, 0) + bytes(range(8))


def test_the_emitted_folder_builds_alone_with_scons(model: Model, tmp_path: Path) -> None:
    need_programs("gcc")
    shutil.copytree(model.folder, tmp_path / "m")
    (tmp_path / "SConstruct").write_text(
        'env = Environment(CCFLAGS=["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off"])\n'
        'env.Program("selftest", [SConscript("m/SConscript", exports="env"), "m/main.c", "m/m_vectors.c"])\n'
    )
    subprocess.run([sys.executable, "-m", "SCons", "-Q", "-s"], cwd=tmp_path, check=True, timeout=60)
    assert subprocess.run([tmp_path / "selftest"], check=False, timeout=60).returncode == 0


def test_the_emitted_folder_builds_alone_with_cmake(model: Model, tmp_path: Path) -> None:
    need_programs("cmake", "gcc")
    build = ["cmake", "-S", str(model.folder), "-B", str(tmp_path), "-DCMAKE_C_FLAGS=-Wall -Wextra -Wconversion -Werror -ffp-contract=off"]
    subprocess.run(build, check=True, timeout=60, capture_output=True)
    subprocess.run(["cmake", "--build", str(tmp_path)], check=True, timeout=60, capture_output=True)
    subprocess.run(["ctest", "--test-dir", str(tmp_path)], check=True, timeout=60, capture_output=True)
