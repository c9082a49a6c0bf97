"""The bound of the stack: the compiler's figures along the call graph, and what assembly pushes beside them (`edgeq.run.stack`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.dwarf.structs import DWARFStructs
from elftools.elf.elffile import ELFFile
from installed import need

from edgeq.build import toolchain
from edgeq.process import run_tool
from edgeq.run import moves_arm, moves_riscv, stack
from edgeq.target import load

PROGRAM = """
#define APART __attribute__((noinline))
APART int far(int *x);
APART int far(int *x) { return x[3] + x[7]; }
APART int leaf(int n) { int a[24]; for (int i = 0; i < 24; i++) { a[i] = n * i; } return far(a); }
APART int deep(int n) { int a[100]; for (int i = 0; i < 100; i++) { a[i] = n ^ i; } return leaf(far(a)) + n; }
int both(int n);
int both(int n) { return leaf(n) + deep(n + 1) + 1; }
int round(int n);
APART int round(int n)
{
    int a[9];
    for (int i = 0; i < 9; i++) { a[i] = n; }
    return n ? far(a) + round(n - far(a)) * 3 : 1;
}
int given(int (*f)(int), int n);
int given(int (*f)(int), int n) { return f(n) + 1; }
int sized(int n);
int sized(int n) { int a[n]; for (int i = 0; i < n; i++) { a[i] = i; } return far(a) + 1; }
__attribute__((naked, noinline)) int bare(int n);
__attribute__((naked, noinline)) int bare(int n) { __asm__ volatile(BARE); }
int tail(int n);
int tail(int n) { int a[60]; for (int i = 0; i < 60; i++) { a[i] = n + i; } return deep(far(a)); }
int held(int n);
int held(int n) { return far(&n) ? deep(n) : leaf(n); }
int pointed(int (*f)(int), int n);
int pointed(int (*f)(int), int n) { return f(n + far(&n)); }
int inner(int n);
int inner(int n) { int a[10]; a[3] = a[7] = n; __asm__ volatile(INNER ::: "memory"); return far(a) + bare(n); }
"""
ASSEMBLY = {  # of `bare` and of `inner`, and the bytes that they push
    "cortex-m4": (
        ("push {r0-r12, lr}", "vpush {d8-d9}", "sub sp, #24", "add sp, #24", "vpop {d8-d9}", "pop {r0-r12, pc}"), 96,
        ("push {r4, r5}", "push {r6}", "add sp, #12"), 12,
    ),
    "riscv": (("addi sp, sp, -112", "addi sp, sp, 112", "ret"), 112, ("addi sp, sp, -16", "addi sp, sp, 16"), 16),
}  # fmt: skip


def linked(target: str, chain: str, level: str, folder: Path, *flags: str) -> Path:
    """The program, linked without a board; its frames by ``-fstack-usage`` lie beside it where GCC compiles."""
    need(target, chain)
    tool = toolchain(load(target), chain)
    source, made = folder / "program.c", folder / "program.o"
    bare, _, inner, _ = (r"\n\t".join(part) if isinstance(part, tuple) else part for part in ASSEMBLY[target])
    source.write_text(f'#define BARE "{bare}"\n#define INNER "{inner}"\n{PROGRAM}')
    run_tool([*tool.command, *tool.flags, "-g", "-fomit-frame-pointer", "-ffunction-sections", level, "-fstack-usage",
              *(flags or ("-fno-optimize-sibling-calls",)), "-c", str(source), "-o", str(made)], "program")  # fmt: skip
    run_tool([*tool.link, "-g", "-nostdlib", "-Wl,-e,both", str(made), "-o", str(folder / "program.elf")], "program")
    return folder / "program.elf"


@pytest.mark.parametrize(("target", "chain", "level"), [("cortex-m4", "gcc", "-O2"), ("riscv", "gcc", "-Os"), ("cortex-m4", "clang", "-O3"),
                                                        ("riscv", "clang", "-O2")])  # fmt: skip
def test_frames_are_those_of_the_compiler_and_what_assembly_pushes(target: str, chain: str, level: str, tmp_path: Path) -> None:
    program = linked(target, chain, level, tmp_path)
    rows = [line.split() for line in (tmp_path / "program.su").read_text().splitlines()]
    usage = {row[0].rsplit(":", 1)[1]: int(row[1]) for row in rows}
    with program.open("rb") as file:
        read = stack._Program(ELFFile(file))
        frames = {name: read.function(read.addresses[name]).frame for name in usage}
    _, bare, _, pushed = ASSEMBLY[target]
    assert frames.pop("bare") == bare
    assert frames.pop("inner") == usage["inner"] + pushed
    assert [frames.pop(name) for name in ("given", "pointed", "sized")] == [None] * 3
    assert frames == {name: usage[name] for name in frames} and {"leaf", "deep", "both", "round"} <= set(frames)
    assert stack.bound(program, "both") == usage["both"] + usage["deep"] + usage["leaf"] + usage["far"]
    assert stack.bound(program, "inner") == usage["inner"] + pushed + bare


@pytest.mark.parametrize("target", ["cortex-m4", "riscv"])
def test_nothing_is_claimed_where_nothing_is_known(target: str, tmp_path: Path) -> None:
    program = linked(target, "gcc", "-O1", tmp_path)
    assert [stack.bound(program, name) for name in ("round", "given", "sized", "nobody")] == [None] * 4


@pytest.mark.parametrize(("target", "chain"), [("cortex-m4", "gcc"), ("riscv", "gcc"), ("cortex-m0", "gcc"), ("riscv", "clang")])
def test_tail_calls(target: str, chain: str, tmp_path: Path) -> None:
    """What a function holds is given back before it goes on in another, whose depth counts alone; one that goes on through a pointer
    has no bound."""
    if target not in ASSEMBLY:
        pytest.MonkeyPatch().setitem(ASSEMBLY, target, ("bx lr", 0, "nop", 0))
    program = linked(target, chain, "-O2", tmp_path, "-foptimize-sibling-calls")
    with program.open("rb") as file:
        read = stack._Program(ELFFile(file))
        found = {n: read.function(read.addresses[n]) for n in ("tail", "deep", "leaf", "far", "pointed")}
    deep = found["deep"].frame + found["leaf"].frame + found["far"].frame  # type: ignore[operator]
    assert {held for _, held in found["tail"].jumps} <= {0} and found["pointed"].frame is None
    own = found["tail"].frame + found["far"].frame  # type: ignore[operator]
    assert stack.bound(program, "tail") == (max(own, deep) if found["tail"].jumps else found["tail"].frame + deep)  # type: ignore[operator]
    assert found["tail"].jumps or target == "cortex-m0", "a core without far jumps has no tail calls"


def test_vector_registers_on_the_stack() -> None:
    """The figure of `sub sp, sp, a7`, three registers of a core with 128 or 256 bits, below 224 bytes; on any other nothing is known."""
    read, info = object.__new__(stack._Program), bytes.fromhex("720011e001221103 92a238001e22".replace(" ", ""))
    read.pointer, read.expressions = 2, DWARFExprParser(DWARFStructs(True, 32, 4))
    for read.vector, offset in ((16, 272), (32, 320), (None, None)):
        assert read._offset(list(info)) == offset
    read.vector = 16
    assert read._offset(list(info[:-1])) is None and read._offset([0x73, 0]) is None and read._offset([0x72, 0, 0x23, 5]) == 5
    assert load("riscv-v").vector_bytes == 16 and load("riscv").vector_bytes is None


def test_what_is_held_where_a_function_goes_on() -> None:
    leaving = moves_riscv.Move(20, jump=100)
    assert stack._held([(0, 0), (4, 32), (16, 0)], [leaving], leaving) == 0 and stack._held([(0, 0), (4, 32)], [leaving], leaving) == 32
    given = moves_riscv.Move(18, 24)  # without a figure
    assert stack._held([(0, 0), (4, 32)], [given, leaving], leaving) == 8
    assert stack._held([(0, 0), (4, 32), (18, 8)], [given, leaving], leaving) == 8, "with one"
    assert stack._held([(0, 0), (4, 32)], [given, moves_riscv.Move(19, call=8), leaving], leaving) == 32, "in another path"
    assert stack._held([], [moves_riscv.Move(4, -16), leaving, moves_riscv.Move(24, 16)], leaving) == 16


def test_nothing_is_claimed_where_a_register_moves_the_stack_beside_the_figures() -> None:
    rows, told, beside = [(0, 0), (2, 8)], moves_arm.Move(2, None), moves_arm.Move(6, None)
    assert (stack._frame(rows, [told]), stack._frame(rows, [told, beside])) == (8, None)


def test_instructions_are_read() -> None:
    def moves(code: str, decode: stack.Decoder) -> list[tuple[int | None, int | None, int | None, bool]]:
        return [(m.pointer, m.call, m.jump, m.indirect) for m in decode(bytes.fromhex(code), 0x1000)]

    arm = {
        "f0b5": -20, "2de9f04f": -36, "82b0": -8, "0db0": 52, "adf5007d": -512, "adf20d1d": -269, "2ded108b": -64, "bdec108b": 64,
        "4df8047d": -4, "5df8047b": 4, "6de90445": -16, "fde80445": 16, "a544": None,
    }  # fmt: skip
    assert {code: moves(code, moves_arm.decode) for code in arm} == {code: [(p, None, None, False)] for code, p in arm.items()}
    assert moves("fff7feff", moves_arm.decode) == [(0, 0x1000, None, False)]  # bl .
    assert moves("00f080b8", moves_arm.decode) == [(0, None, 0x1104, False)]  # b.w
    assert moves("fee7", moves_arm.decode) == [(0, None, 0x1000, False)]  # b .
    for code in ("9847", "1847"):  # blx r3; bx r3
        assert moves(code, moves_arm.decode) == [(0, None, None, True)]
    for code in ("7047", "f746", "9f46"):  # bx lr; mov pc, lr; mov pc, r3
        assert moves(code, moves_arm.decode) == []
    assert moves("130101f0", moves_riscv.decode) == [(-256, None, None, False)]  # addi sp, sp, -256
    assert moves("0111", moves_riscv.decode) == [(-32, None, None, False)]  # c.addi sp, -32
    assert moves("3571", moves_riscv.decode) == [(-160, None, None, False)]  # c.addi16sp sp, -160
    assert moves("ef000000", moves_riscv.decode) == [(0, 0x1000, None, False)]  # jal ra, .
    assert moves("6ff0dfff", moves_riscv.decode) == moves("f5bf", moves_riscv.decode) == [(0, None, 0xFFC, False)]  # j .-4
    assert moves("97000000e7804000", moves_riscv.decode) == [(0, 0x1004, None, False)]  # auipc ra; jalr ra, 4(ra)
    for code in ("8297", "8287", "67800700", "67030300"):  # c.jalr a5; c.jr a5; jr a5; jalr t1, t1
        assert moves(code, moves_riscv.decode) == [(0, None, None, True)]
    assert (
        moves("8280", moves_riscv.decode) == moves("67800000", moves_riscv.decode) == moves("8282", moves_riscv.decode) == []
    )  # ret; jr t0
    assert moves("3301a140", moves_riscv.decode) == [(None, None, None, False)]  # sub sp, sp, a0
