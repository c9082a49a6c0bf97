"""Random programs of RV32IMCF for the instruction-set simulator and QEMU: each segment prints a checksum of registers, flags and memory."""

from __future__ import annotations

import random
from collections.abc import Callable

SPECIAL = (
    0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFC12345, 1, 0x80000001, 0x007FFFFF, 0x807FFFFF, 0x00800000,
    0x80800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0xBF800000, 0x4F000000, 0xCF000000, 0x4EFFFFFF, 0x4F800000, 0x3F000000, 0xBF000000,
    0x3FC00000, 0xBFC00000, 0x40200000, 0xC0933333, 0x33800000,
)  # fmt: skip  # zeros, infinities, not-a-numbers, the ends of ranges, halves
INTEGERS = [i for i in range(1, 32) if i != 8]  # x8 holds an address
LENGTH = 40  # of a segment
START = """.text
.global _start
_start:
 li t0,0x6000
 csrs mstatus,t0
"""
END = """
 li t0,0x100000
 li t1,0x5555
 sw t1,0(t0)
1: j 1b
report:
 la t0,out
 li t1,194
 li a0,0
 li t3,16777619
2: lw t2,0(t0)
 xor a0,a0,t2
 mul a0,a0,t3
 srli t4,a0,15
 xor a0,a0,t4
 addi t0,t0,4
 addi t1,t1,-1
 bnez t1,2b
 li t0,0x10000000
 li t1,8
3: srli t2,a0,28
 slli a0,a0,4
 addi t2,t2,'a'
 sb t2,0(t0)
 addi t1,t1,-1
 bnez t1,3b
 li t2,10
 sb t2,0(t0)
 ret
.data
.balign 16
out: .space 264
mem: .space 512
"""


class _Segment:
    """Instructions of one segment, which reads its registers from a table and writes them, flags and mscratch to ``out``."""

    def __init__(self, r: random.Random, number: int) -> None:
        self.r, self.number = r, number
        self.labels: dict[int, list[str]] = {}
        self.kinds: list[tuple[int, Callable[[], str]]] = [
            (22, self._register), (16, self._immediate), (3, lambda: f"lui {self._x()},{r.getrandbits(20)}"), (17, self._memory),
            (4, self._csr), (16, self._arithmetic), (4, lambda: f"fsqrt.s {self._f()},{self._f()},{self._mode()}"), (4, self._fused),
            (3, lambda: f"{r.choice(('fmin', 'fmax', 'fsgnj', 'fsgnjn', 'fsgnjx'))}.s {self._f()},{self._f()},{self._f()}"),
            (3, lambda: f"{r.choice(('feq', 'flt', 'fle'))}.s {self._x()},{self._f()},{self._f()}"), (5, self._converted),
            (2, lambda: f"{r.choice(('fclass.s', 'fmv.x.w'))} {self._x()},{self._f()}"), (1, lambda: f"fmv.w.x {self._f()},{self._x()}"),
        ]  # fmt: skip

    def _x(self) -> str:
        return f"x{self.r.choice([*INTEGERS, 0])}"

    def _f(self) -> str:
        return f"f{self.r.randrange(32)}"

    def _mode(self) -> str:
        return self.r.choice(("rne", "rtz", "rdn", "rup", "rmm", "rmm", "dyn", "dyn"))

    def _register(self) -> str:
        names = "add sub sll slt sltu xor srl sra or and mul mulh mulhsu mulhu div divu rem remu".split()
        return f"{self.r.choice(names)} {self._x()},{self._x()},{self._x()}"

    def _immediate(self) -> str:
        if self.r.random() < 0.25:
            return f"{self.r.choice(('slli', 'srli', 'srai'))} {self._x()},{self._x()},{self.r.randrange(32)}"
        names, to = ("addi", "slti", "sltiu", "xori", "ori", "andi"), self._x()
        value = self.r.choice((self.r.randrange(-2048, 2048), self.r.randrange(-32, 32)))
        return f"{self.r.choice(names)} {to},{self.r.choice((to, self._x()))},{value}"

    def _memory(self) -> str:
        name = self.r.choice(("lb", "lh", "lw", "lbu", "lhu", "sb", "sh", "sw", "flw", "fsw"))
        place = self.r.randrange(0, 124, 4) if self.r.random() < 0.5 or name[0] == "f" else self.r.randrange(-256, 253)
        return f"{name} {self._f() if name[0] == 'f' else self._x()},{place}(x8)"

    def _csr(self) -> str:
        name = self.r.choice(("fflags", "fcsr", "frm", "mscratch"))
        if name in ("fflags", "mscratch"):
            return f"{self.r.choice(('csrrw', 'csrrs', 'csrrc'))} {self._x()},{name},{self._x()}"
        if name == "frm":
            return f"csrrwi {self._x()},frm,{self.r.choice((0, 1, 2, 3, 4, 4))}"
        return f"csrrci {self._x()},fcsr,{self.r.randrange(32)}"

    def _arithmetic(self) -> str:
        return f"{self.r.choice(('fadd', 'fsub', 'fmul', 'fdiv'))}.s {self._f()},{self._f()},{self._f()},{self._mode()}"

    def _fused(self) -> str:
        name = self.r.choice(("fmadd", "fmsub", "fnmadd", "fnmsub"))
        return f"{name}.s {self._f()},{self._f()},{self._f()},{self._f()},{self._mode()}"

    def _converted(self) -> str:
        kind = self.r.choice(("w", "wu"))
        ways = f"fcvt.{kind}.s {self._x()},{self._f()},{self._mode()}", f"fcvt.s.{kind} {self._f()},{self._x()},{self._mode()}"
        return self.r.choice(ways)

    def _branch(self, at: int) -> str:
        label, to = f"L{self.number}_{at}", min(at + self.r.randrange(2, 5), LENGTH)
        self.labels.setdefault(to, []).append(label)
        return f"{self.r.choice(('beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu'))} {self._x()},{self._x()},{label}"

    def lines(self) -> list[str]:
        """Assembly."""
        found = [f"la x8,tab{self.number}", "csrwi fcsr,0", *(f"flw f{i},{4 * i}(x8)" for i in range(32))]
        found += [*(f"lw x{i},{128 + 4 * i}(x8)" for i in INTEGERS), "la x8,mem+256"]
        for i in (5, 7):  # flags of a conversion alone
            found += [f"fcvt.{self.r.choice(('w', 'wu'))}.s x{i},{self._f()},{self._mode()}", f"csrrwi x{i + 1},fflags,0"]
        found[-1] = "csrrwi x9,fflags,0"
        weights, makers = [w for w, _ in self.kinds], [m for _, m in self.kinds]
        for at in range(LENGTH):
            found += [f"{label}:" for label in self.labels.pop(at, ())]
            found.append(self._branch(at) if self.r.random() < 0.05 else self.r.choices(makers, weights)[0]())
        found += [f"{label}:" for labels in self.labels.values() for label in labels]
        found += ["la x8,out", *(f"sw x{i},{4 * i}(x8)" for i in INTEGERS), *(f"fsw f{i},{128 + 4 * i}(x8)" for i in range(32))]
        return [*found, "csrr t0,fcsr", "sw t0,256(x8)", "csrr t0,mscratch", "sw t0,260(x8)", "call report"]


def program(seed: int, segments: int) -> str:
    """The assembly of a program of so many segments for QEMU's virt machine; assemblers write 16 bits where an instruction has them."""
    r, parts, tables = random.Random(seed), [START], []
    for number in range(segments):
        parts += _Segment(r, number).lines()
        reals = [r.choice((r.choice(SPECIAL), r.getrandbits(32), r.getrandbits(1) << 31 | r.randrange(110, 145) << 23 | r.getrandbits(23)))
                 for _ in range(32)]  # fmt: skip
        ends = 0, 1, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF
        whole = [r.choice((*ends, r.getrandbits(32), r.getrandbits(32), r.getrandbits(8))) for _ in range(32)]
        tables += [f"tab{number}:", *(f".word {v}" for v in (*reals, *whole))]
    return "\n".join([*parts, END, *tables, ""])
