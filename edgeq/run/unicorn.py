"""The unicorn runner: the board's own firmware on an emulated core, with nothing but pip packages.

Unicorn emulates cores, not boards. The four functions of firmware/lib/eq_board.h are therefore intercepted where they
begin: what the firmware sends is read out of its memory, and its clock is the number of instructions executed so far,
which a native callback counts block by block.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const, riscv_const

from edgeq import board
from edgeq.board import Board
from edgeq.elf import loads
from edgeq.errors import EdgeqError
from edgeq.resources import resource
from edgeq.run import native
from edgeq.run.bench import Execution, Received, Runner, place_of, stack_overflowed
from edgeq.run.trace import Trace
from edgeq.target import Target
from edgeq.timing import timing

PAGE = 4096
NOWHERE = 0xFFFFFFF0
SYSTEM_CONTROL = 0xE000E000  # of Cortex-M: start-up code writes there
# ELF32
SYMBOL = np.dtype([("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")])


class _Counter(ctypes.Structure):
    """eq_counter of firmware/apps/unicorn.c."""

    _fields_ = (
        ("instructions", ctypes.c_uint64),
        ("origin", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("code", ctypes.c_void_p),
        ("known", ctypes.c_void_p),
        ("riscv", ctypes.c_int32),
        ("strayed", ctypes.c_int32),
    )


@functools.cache
def _callbacks() -> ctypes.CDLL:
    """The library of native callbacks."""
    return native.library("unicorn", [resource("firmware") / "apps" / name for name in ("unicorn.c", "trace.c")])


def _native(engine: Any) -> tuple[Any, Any]:
    """Unicorn's own library and its handle of an engine."""
    try:
        from unicorn.unicorn_py3.unicorn import uclib

        return uclib, engine._uch
    except (ImportError, AttributeError) as e:
        raise EdgeqError(f"unicorn {unicorn.__version__} is not supported", why=str(e), fix="pip install 'unicorn>=2.1.2,<2.2'") from e


def _hook(engine: Any, kind: int, callback: Any, state: ctypes.Structure) -> None:
    """uc_hook_add with a native callback: the Python binding would call Python each time, a hundred times slower."""
    uclib, handle = _native(engine)
    hook = ctypes.c_size_t()
    status = uclib.uc_hook_add(
        handle, ctypes.byref(hook), kind, ctypes.cast(callback, ctypes.c_void_p),
        ctypes.byref(state), ctypes.c_uint64(1), ctypes.c_uint64(0),
    )  # fmt: skip
    if status != unicorn.UC_ERR_OK:
        raise unicorn.UcError(status)


class _Architecture:
    """Names of registers and cores."""

    def __init__(self, target: Target) -> None:
        spec = target.data.get("unicorn", {})
        if not {"architecture", "cpu"} <= spec.keys():
            raise EdgeqError(f"unicorn does not emulate target {target.name}", fix=f"use one of its runners: {', '.join(target.runners)}")
        self.riscv = spec["architecture"] == "riscv"
        if self.riscv:
            c = riscv_const
            self.mode, self.model = (unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32), getattr(c, f"UC_CPU_RISCV32_{spec['cpu']}")
            self.pc, self.lr, self.sp = c.UC_RISCV_REG_PC, c.UC_RISCV_REG_RA, c.UC_RISCV_REG_SP
            self.a0, self.a1 = c.UC_RISCV_REG_A0, c.UC_RISCV_REG_A1
        else:
            # Without UC_MODE_MCLASS, which would override the core with a Cortex-M33.
            a = arm_const
            self.mode, self.model = (unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB), getattr(a, f"UC_CPU_ARM_{spec['cpu']}")
            self.pc, self.lr, self.sp = a.UC_ARM_REG_PC, a.UC_ARM_REG_LR, a.UC_ARM_REG_SP
            self.a0, self.a1 = a.UC_ARM_REG_R0, a.UC_ARM_REG_R1


def _addresses(program: ELFFile, names: Sequence[str]) -> dict[str, int]:
    """Of those symbols that a program has. Some linkers keep tens of thousands of labels, which pyelftools would look at one by one."""
    table = program.get_section_by_name(".symtab")
    if table is None:
        return {}
    symbols, strings = np.frombuffer(table.data(), SYMBOL), program.get_section(table["sh_link"]).data()
    found = {}
    for name in names:
        starts = [m.start() for m in re.finditer(rf"{name}\0".encode(), strings)]  # one may be the end of a longer name
        for symbol in symbols[np.isin(symbols["name"], starts)]:
            found[name] = int(symbol["value"])
    return found


class Machine:
    """One emulated core with a program and a block of vectors in its memory; runs once.

    Attributes:
        sent: what the program has written to its UART.
        exit_code: what it gave eq_board_exit; None while it runs.
        counter: `counter.instructions` are those executed so far.
        readings: instructions and cycles at each reading of the clock, where the core has a model of cycles.
    """

    def __init__(self, elf: Path, target: Target, place: Board, vectors: bytes, received: Received) -> None:
        self.elf, self.arch, self.received = elf, _Architecture(target), received
        self.sent = bytearray()
        self.exit_code: int | None = None
        self.readings: list[tuple[int, int]] = []
        self.uc = unicorn.Uc(*self.arch.mode)
        self.uc.ctl_set_cpu_model(self.arch.model)
        for name, region in place.memory.items():
            self._map(region.origin, len(vectors) if name == "vectors" else region.bytes)
        if not self.arch.riscv:
            self._map(SYSTEM_CONTROL, PAGE)
        if vectors:
            self.uc.mem_write(place.memory["vectors"].origin, vectors)
        self._load(place)
        _hook(self.uc, unicorn.UC_HOOK_BLOCK, _callbacks().eq_unicorn_block, self.counter)
        model = timing(target, place)
        self.trace: Trace | None = None
        if model is not None and model.traced and not self.arch.riscv:
            self.trace = Trace(model, place, self.counter.origin, self._code, _native(self.uc)[0].uc_reg_read)
            _hook(self.uc, unicorn.UC_HOOK_CODE, _callbacks().eq_unicorn_instruction, self.trace.state)

    def _map(self, origin: int, size: int) -> None:
        first, end = origin // PAGE * PAGE, -(-(origin + size) // PAGE) * PAGE
        self.uc.mem_map(first, max(PAGE, end - first))

    def _load(self, place: Board) -> None:
        flash = place.memory["flash"]
        with self.elf.open("rb") as file:
            program = ELFFile(file)
            pieces = loads(program)
            for address, content in pieces:
                self.uc.mem_write(address, content)
            self.entry = program["e_entry"]
            self._intercept(program)
        size = max(address + len(content) for address, content in pieces) - flash.origin
        self._code = ctypes.create_string_buffer(bytes(self.uc.mem_read(flash.origin, size)), size)
        self._known = (ctypes.c_uint32 * (size // 2 + 1))()
        code, known = ctypes.addressof(self._code), ctypes.addressof(self._known)
        self.counter = _Counter(origin=flash.origin, bytes=size, code=code, known=known, riscv=int(self.arch.riscv))

    def _intercept(self, program: ELFFile) -> None:
        actions = {
            "eq_board_init": self._init, "eq_board_write": self._write, "eq_board_clock": self._clock, "eq_board_exit": self._exit,
        }  # fmt: skip
        found = {name: address & ~1 for name, address in _addresses(program, tuple(actions)).items()}
        if "eq_board_exit" not in found:  # the linker drops the others where they are not used
            raise EdgeqError("not a program that edgeq built", where=str(self.elf), why="it lacks eq_board_exit")
        for name, address in found.items():
            self.uc.hook_add(unicorn.UC_HOOK_CODE, self._intercepted, actions[name], address, address)

    def _intercepted(self, uc: Any, _address: int, _size: int, action: Callable[[int, int], int | None]) -> None:
        """In place of a function of the board: do what it does and return to its caller."""
        result = action(uc.reg_read(self.arch.a0), uc.reg_read(self.arch.a1))
        if result is not None:
            uc.reg_write(self.arch.a0, result)
        uc.reg_write(self.arch.pc, uc.reg_read(self.arch.lr))

    def _init(self, _a: int, _b: int) -> None:
        pass

    def _write(self, data: int, size: int) -> None:
        self.sent += self.uc.mem_read(data, size)
        self.received(len(self.sent))

    def _clock(self, _a: int, _b: int) -> int:
        if self.trace is not None:
            self.readings.append((int(self.counter.instructions), self.trace.cycles))
        return int(self.counter.instructions) & 0xFFFFFFFF

    def _exit(self, code: int, _b: int) -> None:
        self.exit_code = code
        self.uc.emu_stop()

    def run(self, timeout: float) -> int:
        """Run from reset to exit and return the exit code.

        Raises:
            EdgeqError: the program faulted or did not end within `timeout` seconds.
        """
        try:
            self.uc.emu_start(self.entry, NOWHERE, int(timeout * 1e6))
        except unicorn.UcError as e:
            at = place_of(self.elf, self.uc.reg_read(self.arch.pc))
            why = "the stack overflowed" if stack_overflowed(self.elf, self.uc.reg_read(self.arch.sp)) else str(e)
            raise EdgeqError("the program faulted on the emulated core", where=at, why=why) from e
        if self.exit_code is None:
            at = place_of(self.elf, self.uc.reg_read(self.arch.pc))
            fix = "give fewer vectors or a longer time-out"
            raise EdgeqError(f"the program did not end within {timeout:g} s on the emulated core", where=at, fix=fix)
        if self.counter.strayed:
            raise EdgeqError("the emulated program ran code outside of its flash", where=str(self.elf))
        return self.exit_code


def execute(elf: Path, target: Target, vectors: bytes = b"", *, timeout: float = 600.0, received: Received = lambda n: None) -> Execution:
    """Run a program of a target's board to its end.

    Args:
        elf: as `build_firmware` made it.
        vectors: bytes placed where the board keeps test vectors.
        timeout: seconds.
        received: called with the number of bytes sent so far.

    Raises:
        EdgeqError: the program faulted or did not end in time, or unicorn has no such core.
    """
    machine = Machine(elf, target, board.load(target), vectors, received)
    code = machine.run(timeout)
    clock = np.array(machine.readings, np.int64).reshape(-1, 2) if machine.trace is not None else None
    return Execution(bytes(machine.sent), code, clock)


run = Runner("unicorn", execute)
