"""The instruction-set simulator: the core's own state and cycles, the timing rules one by one, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from iss_programs import LEAVE, MCYCLE_A0, MCYCLE_A1, NOP, ORIGIN, addi, branch, elf, i_type, lui, lw, r_type, setup, store
from iss_random import program
from random_graphs import Builder

from edgeq import api
from edgeq.board import Region
from edgeq.errors import EdgeqError
from edgeq.record import manifest, measured
from edgeq.run.iss.machine import Machine, library

MEMORY = {"ram": Region(ORIGIN, 1 << 20)}
TRUTH = Path(__file__).resolve().parents[2] / "shared" / "cycles"
GCC = "riscv64-unknown-elf-gcc"


def machine(path: Path, words: Sequence[int | bytes]) -> Machine:
    return Machine(elf(path / "p.elf", [*words, *LEAVE]), MEMORY)


def cycles(path: Path, words: Sequence[int | bytes], before: Sequence[int] = ()) -> int:
    """What the words take between two readings of mcycle, the first one's own four cycles not counted; x5 to x7 hold 0, x8 memory."""
    start = [lui(8, ORIGIN >> 12), addi(8, 8, 512), addi(9, 0, 3), *before, MCYCLE_A0]
    with machine(path, [*start, *words, MCYCLE_A1]) as m:
        assert m.run() == 0
        clock = m.clock()
        return int(clock[1, 1] - clock[0, 1]) - 4


@pytest.mark.skipif(not TRUTH.is_dir() or shutil.which(GCC) is None, reason="needs ../shared/cycles and gcc for RISC-V")
@pytest.mark.parametrize("seed", [7, 8, 9, 21, 22])
def test_random_programs_end_in_the_cores_state_and_take_its_cycles(tmp_path: Path, seed: int) -> None:
    truth = (TRUTH / f"rnd-{seed}.txt").read_text().splitlines()
    generate = [sys.executable, str(TRUTH / "gen.py"), str(seed), str(len(truth)), *(["xcv"] if seed != 7 else [])]
    (tmp_path / "x.S").write_text(subprocess.run(generate, check=True, capture_output=True, text=True).stdout)
    flags = ["-march=rv32imc_zicsr", "-mabi=ilp32", "-mcmodel=medany", "-ffreestanding", "-O2", f"-I{TRUTH}", "-c"]
    subprocess.run([GCC, *flags, "x.S", *(str(TRUTH / n) for n in ("rnd.c", "start.S", "lib.c"))], check=True, cwd=tmp_path)
    link = ["-march=rv32imc", "-mabi=ilp32", "-nostdlib", "-T", str(TRUTH / "link.ld"), "-Wl,--no-warn-rwx-segments"]
    subprocess.run([GCC, *link, "x.o", "rnd.o", "start.o", "lib.o", "-lgcc", "-o", "x.elf"], check=True, cwd=tmp_path)
    with Machine(tmp_path / "x.elf", {"ram": Region(ORIGIN, 32 << 20)}) as m:
        assert m.run() == 0
        got = [line.split() for line in m.sent.decode().splitlines()]
    want = [line.split() for line in truth]
    assert [(g[0], g[2]) for g in got] == [(w[0], w[2]) for w in want]
    off = [int(g[1]) - int(w[1]) for g, w in zip(got, want, strict=True) if g[1] != w[1]]
    assert len(off) <= 1 and all(abs(n) == 1 for n in off)


@pytest.mark.skipif(shutil.which(GCC) is None or shutil.which("qemu-system-riscv32") is None, reason="needs gcc for RISC-V and QEMU")
@pytest.mark.parametrize("seed", range(3))
def test_random_programs_end_as_on_qemu(tmp_path: Path, seed: int) -> None:
    """Integers, compressed forms, misaligned accesses, floats with their flags in every rounding mode: 200 segments of 40 instructions."""
    (tmp_path / "x.S").write_text(program(seed, 200))
    flags = ["-march=rv32imfc_zicsr", "-mabi=ilp32f", "-nostdlib", f"-Wl,-Ttext={ORIGIN:#x},-e,_start,-N,--no-relax,--no-warn-rwx-segments"]
    subprocess.run([GCC, *flags, "x.S", "-o", "x.elf"], check=True, cwd=tmp_path)
    qemu = ["qemu-system-riscv32", "-M", "virt", "-bios", "none", "-display", "none", "-serial", "stdio", "-monitor", "none"]
    want = subprocess.run([*qemu, "-kernel", "x.elf"], check=True, capture_output=True, cwd=tmp_path, timeout=120).stdout.split()
    with Machine(tmp_path / "x.elf", MEMORY) as m:
        assert m.run() == 0
        got = m.sent.split()
    assert len(want) == 200 and got == want


MULH, DIV, REM = (r_type(0x33, f3, 1, 5, 9, 9) for f3 in (1, 4, 6))
JAL = 0x0080006F  # j .+8
RULES = {
    "ALU": ([addi(5, 9, 1)], 1),
    "mul": ([r_type(0x33, 0, 1, 5, 9, 9)], 1),
    "mulh": ([MULH], 5),
    "div by 3": ([DIV], 3 + 30),
    "rem by -3": ([addi(9, 0, -3), REM], 1 + 3 + 29),
    "div by 0": ([addi(9, 0, 0), DIV], 1 + 35),
    "load": ([lw(5, 8, 0)], 1),
    "load, then use": ([lw(5, 8, 0), addi(6, 5, 1)], 3),
    "load, something, use": ([lw(5, 8, 0), NOP, addi(6, 5, 1)], 3),
    "load, then write the same register": ([lw(5, 8, 0), addi(5, 9, 1)], 3),
    "load to x0": ([lw(0, 8, 0), addi(6, 0, 1)], 2),
    "misaligned word": ([lw(5, 8, 2)], 2),
    "half in a word": ([i_type(0x03, 1, 5, 8, 1)], 1),
    "half across words": ([i_type(0x03, 1, 5, 8, 3)], 2),
    "store across words": ([store(2, 9, 8, 1)], 2),
    "branch not taken": ([branch(1, 0, 0, 8)], 1),
    "branch taken": ([branch(0, 0, 0, 8), NOP], 3),
    "jump": ([JAL, NOP], 2),
    "jump behind mulh": ([MULH, JAL, NOP], 5 + 1),
    "jump behind a crossing load": ([lw(5, 8, 2), JAL, NOP], 2 + 1),
    "jump to a misaligned word": ([b"\x6f\x00\x60\x00", b"\x01\x00", b"\x13\x00\x00\x00", b"\x01\x00"], 2 + 1 + 1 + 1),
    "csrr of another register": ([0x340022F3], 1),
    "cv.sdotsp.b behind its accumulator's load": ([lw(5, 8, 0), r_type(0x7B, 1, 21 << 2, 5, 9, 9)], 3),
    "cv.lw post-increment, then its base": ([i_type(0x0B, 2, 5, 8, 4), addi(6, 8, 1)], 2),
    "hardware loop": ([setup(0, 10, 3), NOP, NOP, NOP], 1 + 30),
    "nested hardware loops": ([setup(1, 2, 6), setup(0, 3, 3), NOP, NOP, NOP, NOP, NOP], 1 + 2 * (1 + 9 + 2)),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_every_timing_rule(tmp_path: Path, rule: str) -> None:
    words, expected = RULES[rule]
    assert cycles(tmp_path, words) == expected


def test_jumps_through_a_register_wait_for_it(tmp_path: Path) -> None:
    here, jump = 0x00000297, i_type(0x67, 0, 0, 5, 12)  # auipc x5, 0; jalr x0, 12(x5)
    assert cycles(tmp_path, [here, jump, NOP]) == 1 + 2 + 1
    assert cycles(tmp_path, [here, NOP, i_type(0x67, 0, 0, 5, 16), NOP]) == 1 + 1 + 2
    assert cycles(tmp_path, [here, NOP, i_type(0x67, 0, 5, 5, 16), NOP]) == 1 + 1 + 2 + 1  # jalr x5, (x5)
    kept = [here, store(2, 5, 8, 0), lw(5, 8, 0)]
    assert cycles(tmp_path, [*kept, NOP, i_type(0x67, 0, 0, 5, 24), NOP, NOP]) == 3 + 1 + 1 + 2 + 1  # the last of them executed


ILLEGAL = {
    "fewer than 3": [setup(0, 2, 2), NOP, NOP, NOP],
    "aligned": [b"\x01\x00", setup(0, 2, 3), NOP, NOP, NOP, b"\x01\x00"],
    "compressed": [setup(0, 2, 3), NOP, b"\x01\x00\x01\x00", NOP, NOP],
    "jump, branch": [setup(0, 2, 4), NOP, branch(1, 0, 0, 8), NOP, NOP, NOP],
    "nested wrongly": [setup(1, 2, 5), setup(0, 2, 3), NOP, NOP, NOP, NOP],
    "inside of itself": [setup(0, 2, 4), NOP, setup(0, 2, 4), NOP, NOP, NOP, NOP],
    "into or out of": [setup(0, 5, 3), branch(0, 0, 0, 8), NOP, NOP, NOP],
}  # fmt: skip


@pytest.mark.parametrize("why", ILLEGAL)
def test_illegal_hardware_loops_are_refused(tmp_path: Path, why: str) -> None:
    words = ILLEGAL[why]
    if why == "into or out of":  # from before the body into its middle, by the body's own check the branch would be found first
        words = [setup(0, 5, 4), NOP, NOP, NOP, NOP, addi(5, 5, 1), *[NOP] * 2]
        words = [i_type(0x2B, 4, 0, 0, 5), i_type(0x2B, 4, 4, 0, 9), i_type(0x2B, 4, 8, 0, 4), branch(0, 0, 0, 16), *[NOP] * 8]
    with machine(tmp_path, words) as m, pytest.raises(EdgeqError, match=why):
        m.run()


DAMAGED = {
    "not a program for 32-bit RISC-V": {"machine": 40},
    "a segment that the file does not hold": {"size": 1 << 30},
    "lies outside of the board's memory": {"address": 0x1000},
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_programs_are_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(EdgeqError, match=what):
        Machine(elf(tmp_path / "p.elf", LEAVE, **DAMAGED[what]), MEMORY)
    (tmp_path / "q.elf").write_bytes(b"\x7fELF" + bytes(30))
    with pytest.raises(EdgeqError, match="cannot read"):
        Machine(tmp_path / "q.elf", MEMORY)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([lw(5, 0, 0)], "exception 5"),
        ([store(2, 0, 0, 4)], "exception 7"),
        ([0xFFFFFFFF], "exception 2"),
        ([i_type(0x67, 0, 0, 0, 0x40)], "outside of its flash"),
    ],
)
def test_faults_are_told(tmp_path: Path, words: list[int], why: str) -> None:
    with machine(tmp_path, words) as m, pytest.raises(EdgeqError, match=why):
        m.run()


def test_an_endless_program_is_stopped(tmp_path: Path) -> None:
    with machine(tmp_path, [0x6F]) as m, pytest.raises(EdgeqError, match="did not end"):
        m.run(timeout=0.05)


def test_code_that_is_overwritten_is_decoded_anew(tmp_path: Path) -> None:
    """A loop of two rounds stores `addi x7, x7, 64` over its `addi x7, x7, 1`."""
    new = addi(7, 7, 64)
    words = [
        lui(8, ORIGIN >> 12), lui(5, (new + 0x800) >> 12 & 0xFFFFF), addi(5, 5, new & 0xFFF), addi(6, 0, 2),
        addi(7, 7, 1), store(2, 5, 8, 16), 0x0000100F, addi(6, 6, -1), branch(1, 6, 0, -16),
    ]  # fmt: skip
    with machine(tmp_path, words) as m:
        m.run()
        assert m.register(7) == 65


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    b = Builder(3, "single")
    x = b.input(1, 7, 7, 3)
    graph = b.graph(b.dense(b.pool(b.depthwise(b.conv(x, 5, 3, stride=2, pads=(1, 1, 1, 1)))), 4))
    return api.build(graph, output=tmp_path_factory.mktemp("iss") / "out", target="riscv", name="m").folder


def test_the_runner_gives_cycles_in_all_and_per_step(folder: Path) -> None:
    run = api.run(folder, runner="iss", vectors=3).run
    assert run.cycles is not None and run.cycles.steps is not None and run.instructions is not None
    assert run.instructions < run.cycles.total < 2 * run.instructions
    assert sum(run.cycles.steps) == pytest.approx(run.cycles.total, rel=0.03)
    assert all(c > n for c, n in zip(run.cycles.steps, run.step_instructions or (), strict=True))
    record = measured(folder, manifest(folder).sources_sha256).runs["iss"]
    assert record.cycles is not None and record.cycles.total == run.cycles.total


def test_a_profile_tells_the_same_cycles_by_function_and_instruction(folder: Path) -> None:
    run, found = api.run(folder, runner="iss", vectors=1).run, api.profile(folder, vectors=1)
    assert run.cycles is not None
    assert found.cycles == pytest.approx(run.cycles.total, rel=0.02)
    assert found.instructions == pytest.approx(run.instructions, rel=0.02)
    assert {f.name for f in found.functions} >= {"m_invoke"}
    lines = [x for f in found.functions for x in f.lines]
    assert all(x.cycles >= x.count > 0 and x.text for x in lines)
    assert any("m_kernels.c:" in x.source for x in lines)


def test_the_library_is_made_anew_where_it_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "edgeq" / Path(library()._name).name
    kept.parent.mkdir(mode=0o700)
    kept.write_bytes(b"damaged")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.cache_clear()
    library()
    assert kept.read_bytes().startswith(b"\x7fELF")
    library.cache_clear()
