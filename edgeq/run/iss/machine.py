"""The instruction-set simulator of firmware/iss: its library, and a machine with a program in it."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from edgeq.board import MOST_HARTS, Board, Cluster, Region
from edgeq.errors import EdgeqError
from edgeq.files import reason
from edgeq.ir import Array
from edgeq.resources import resource
from edgeq.run import bench, native
from edgeq.run.bench import Received

SLICE = 20_000_000  # instructions between two looks at the clock
CODE_MOST = 64 << 20  # bytes
MEMORY_MOST = 1 << 30
UART, TEST = 0x10000000, 0x100000  # of QEMU's virt machine, where a board says nothing else
RISCV = 243  # e_machine

LIMIT, EXIT, SENT, STRAYED, TRAPPED, BAD_LOOP = range(6)


class _State(ctypes.Structure):
    """The first part of eq_machine."""

    _fields_ = (
        ("x", ctypes.c_uint32 * 33), ("f", ctypes.c_uint32 * 32), ("pc", ctypes.c_uint32),
        ("cycles", ctypes.c_uint64), ("instructions", ctypes.c_uint64), ("limit", ctypes.c_uint64),
        ("reads", ctypes.POINTER(ctypes.c_uint64)), ("why", ctypes.c_char_p), ("exit_code", ctypes.c_int32),
        ("fault_pc", ctypes.c_uint32), ("fault_cause", ctypes.c_uint32), ("fault_address", ctypes.c_uint32),
        ("uart", ctypes.c_uint32), ("test", ctypes.c_uint32), ("sent_bytes", ctypes.c_uint32), ("reads_count", ctypes.c_uint32),
        ("sent", ctypes.POINTER(ctypes.c_uint8)),
    )  # fmt: skip


class _Shared(ctypes.Structure):
    """The first part of eq_cluster."""

    _fields_ = (
        ("harts", ctypes.c_uint32), ("unit", ctypes.c_uint32), ("l1", ctypes.c_uint32), ("l1_bytes", ctypes.c_uint32),
        ("l1_banks", ctypes.c_uint32), ("l2", ctypes.c_uint32), ("l2_bytes", ctypes.c_uint32), ("l2_wait", ctypes.c_uint32),
        ("copy_start", ctypes.c_uint32), ("copy_width", ctypes.c_uint32), ("wake", ctypes.c_uint32),
        ("waited", ctypes.c_uint64 * MOST_HARTS), ("far", ctypes.c_uint64 * MOST_HARTS), ("barrier", ctypes.c_uint64 * MOST_HARTS),
        ("copying", ctypes.c_uint64), ("copied", ctypes.c_uint64), ("copies", ctypes.c_uint64),
        ("hart", ctypes.POINTER(_State) * MOST_HARTS), ("faulty", ctypes.c_uint32),
    )  # fmt: skip


@functools.cache
def library() -> ctypes.CDLL:
    """The simulator, see `native.library`.

    Raises:
        EdgeqError: it cannot be compiled.
    """
    folder = resource("firmware") / "iss"
    return _declared(native.library("iss", folder.glob("*.[ch]"), ("-std=gnu11", "-fvisibility=hidden"), "-lm"))


def _declared(found: ctypes.CDLL) -> ctypes.CDLL:
    state, shared = ctypes.POINTER(_State), ctypes.POINTER(_Shared)
    signatures: dict[str, tuple[object, list[object]]] = {
        "eq_iss_new": (state, [ctypes.c_uint32, ctypes.c_uint32]),
        "eq_iss_ready": (ctypes.c_int, [state]),
        "eq_iss_map": (ctypes.c_void_p, [state, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int]),
        "eq_iss_run": (ctypes.c_int, [state]),
        "eq_iss_counted": (ctypes.POINTER(ctypes.c_uint64), [state]),
        "eq_iss_text": (ctypes.c_uint32, [state, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint32]),
        "eq_iss_free": (None, [state]),
        "eq_cluster_new": (shared, []),
        "eq_cluster_join": (ctypes.c_int, [shared, state]),
        "eq_cluster_run": (ctypes.c_int, [shared]),
        "eq_cluster_free": (None, [shared]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


@dataclass(frozen=True)
class Program:
    """What of an ELF file is loaded: bytes at addresses; `code` is the range of addresses that may be executed."""

    entry: int
    parts: tuple[tuple[int, bytes], ...]
    code: Region


def read_program(elf: Path, memory: Mapping[str, Region]) -> Program:
    """The segments of a program of 32-bit RISC-V, each checked against the board's memory.

    Raises:
        EdgeqError: not such a program, or one that does not fit the memory.
    """
    try:
        size = elf.stat().st_size
        with elf.open("rb") as file:
            found = ELFFile(file)
            if found.elfclass != 32 or not found.little_endian or found["e_machine"] != "EM_RISCV":
                raise EdgeqError("not a program for 32-bit RISC-V", where=str(elf))
            segments = [s for s in found.iter_segments("PT_LOAD") if s["p_memsz"]]
            for s in segments:
                if s["p_offset"] + s["p_filesz"] > size or s["p_filesz"] > s["p_memsz"]:
                    raise EdgeqError("a segment that the file does not hold", where=str(elf), why="the file was cut or damaged")
                for at, room in ((s["p_paddr"], s["p_filesz"]), (s["p_vaddr"], s["p_memsz"])):  # where it is stored, and where it runs
                    if not any(r.origin <= at and at + room <= r.origin + r.bytes for r in memory.values()):
                        raise EdgeqError(f"a segment at {at:#x} lies outside of the board's memory", where=str(elf))
            parts = tuple((int(s["p_paddr"]), bytes(s.data())) for s in segments if s["p_filesz"])
            ranges = [(int(s["p_vaddr"]), int(s["p_memsz"])) for s in segments if s["p_flags"] & 1]
            entry = int(found["e_entry"])
    except (OSError, ELFError, ValueError, KeyError, UnicodeDecodeError) as e:
        raise EdgeqError("cannot read the program", where=str(elf), why=reason(e)) from e
    first, end = min((a for a, _ in ranges), default=0), max((a + n for a, n in ranges), default=0)
    if not first <= entry < end or end - first > CODE_MOST:
        raise EdgeqError("no code at the program's entry", where=str(elf))
    return Program(entry, parts, Region(first & ~3, (end - (first & ~3) + 3) & ~3))


def _merged(memory: Mapping[str, Region]) -> list[Region]:
    """Regions that adjoin are one."""
    joined: list[Region] = []
    for r in sorted(memory.values(), key=lambda r: r.origin):
        if joined and joined[-1].origin + joined[-1].bytes == r.origin:
            joined[-1] = Region(joined[-1].origin, joined[-1].bytes + r.bytes)
        else:
            joined.append(r)
    return joined


@dataclass(frozen=True)
class Traffic:
    """What the harts of a cluster waited for: cycles, per hart, the orchestrating one first.

    Attributes:
        banks: of L1.
        far: answers of L2.
        barrier: asleep until others came, or had work.
        copies: the orchestrating hart, asleep until copies had been made.
        copied: bytes.
    """

    banks: tuple[int, ...]
    far: tuple[int, ...]
    barrier: tuple[int, ...]
    copies: int
    copied: int


class Machine:
    """One simulated core, or a cluster of them, with a program in its memory; a context manager; runs once.

    Args:
        memory: the board's; `vectors` are placed where the region of that name begins.
        cluster: cores that share the memory, of a board that has several.
        devices: addresses of the UART and of the test device.

    Attributes:
        sent: what the program has written to its UART.
        cycles, instructions: so far; of a cluster, the cycles of the hart that orchestrates.

    Raises:
        EdgeqError: the program does not fit the memory, or the computer has not as much.
    """

    def __init__(
        self, elf: Path, memory: Mapping[str, Region], vectors: bytes = b"", cluster: Cluster | None = None,
        devices: tuple[int, int] = (UART, TEST),
    ) -> None:  # fmt: skip
        self.elf, self.sent = elf, bytearray()
        self._states: list[Any] = []
        self._shared: Any = None
        self._devices = devices
        regions = _merged(memory)
        if sum(r.bytes for r in regions) > MEMORY_MOST:
            raise EdgeqError("the board's memory is too large to be simulated", why=f"more than {MEMORY_MOST >> 20} MiB")
        program = read_program(elf, memory)
        self.code = program.code
        self._library = library()
        self._state = self._library.eq_iss_new(program.code.origin, program.code.bytes)
        if not self._state:
            raise EdgeqError("not enough memory to simulate the program", where=str(elf))
        try:
            self._fill(program, regions, vectors, memory)
            if cluster is not None:
                self._join(program, cluster, memory)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, elf: Path, place: Board, vectors: bytes = b"") -> Machine:
        """A board's machine."""
        return cls(
            elf, place.memory, vectors, place.cluster, (place.defines.get("EQ_UART", UART), place.defines.get("EQ_TEST", TEST))
        )  # fmt: skip

    def _join(self, program: Program, cluster: Cluster, memory: Mapping[str, Region]) -> None:
        """The other harts, which have the first one's memory."""
        self._shared = self._library.eq_cluster_new()
        if not self._shared:
            raise EdgeqError("not enough memory to simulate the cluster", where=str(self.elf))
        shared, l1, l2 = self._shared.contents, memory[cluster.l1], memory[cluster.l2]
        for name in ("unit", "l1_banks", "l2_wait", "copy_start", "copy_width", "wake"):
            setattr(shared, name, getattr(cluster, name))
        shared.l1, shared.l1_bytes, shared.l2, shared.l2_bytes = l1.origin, l1.bytes, l2.origin, l2.bytes
        self._library.eq_cluster_join(self._shared, self._state)
        for _ in range(1, cluster.harts):
            self._states.append(self._library.eq_iss_new(program.code.origin, program.code.bytes))
            if not self._states[-1] or not self._library.eq_iss_ready(self._states[-1]):
                raise EdgeqError("not enough memory to simulate the cluster", where=str(self.elf))
            self._library.eq_cluster_join(self._shared, self._states[-1])

    def _fill(self, program: Program, regions: list[Region], vectors: bytes, memory: Mapping[str, Region]) -> None:
        ready = self._library.eq_iss_ready(self._state)
        places = [(r, self._library.eq_iss_map(self._state, r.origin, r.bytes, 1)) for r in regions]
        if not ready or not all(p for _, p in places):
            raise EdgeqError("not enough memory to simulate the program", where=str(self.elf))
        parts = [*program.parts, *([(memory["vectors"].origin, vectors)] if vectors else [])]
        for at, data in parts:
            region, place = next((r, p) for r, p in places if r.origin <= at < r.origin + r.bytes)
            if at + len(data) > region.origin + region.bytes:
                raise EdgeqError("the test vectors do not fit the board's memory", why=f"{len(data)} bytes")
            ctypes.memmove(place + at - region.origin, data, len(data))
        state = self._state.contents
        state.pc, state.uart, state.test = (program.entry, *self._devices)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give its memory back."""
        if self._shared:
            self._library.eq_cluster_free(self._shared)
            self._shared = None
        while self._states:
            if self._states[-1]:
                self._library.eq_iss_free(self._states[-1])
            self._states.pop()
        if self._state:
            self._library.eq_iss_free(self._state)
            self._state = None

    @property
    def cycles(self) -> int:
        """So far."""
        return int(self._state.contents.cycles)

    @property
    def instructions(self) -> int:
        """So far."""
        return sum(int(s.contents.instructions) for s in (self._state, *self._states))

    def traffic(self) -> Traffic | None:
        """What the harts of a cluster have waited for so far; None of one core."""
        if not self._shared:
            return None
        s, n = self._shared.contents, 1 + len(self._states)
        return Traffic(tuple(s.waited[:n]), tuple(s.far[:n]), tuple(s.barrier[:n]), int(s.copying), int(s.copied))

    def register(self, number: int) -> int:
        """The value of an integer register."""
        return int(self._state.contents.x[number])

    def clock(self) -> Array:
        """int64 ``[N, 2]``: instructions and cycles at each reading of mcycle, in order."""
        state = self._state.contents
        flat = np.ctypeslib.as_array(state.reads, (state.reads_count,)) if state.reads_count else np.zeros(0, np.uint64)
        return flat.astype(np.int64).reshape(-1, 2)

    def counted(self) -> Array:
        """int64 ``[N, 2]``: instructions and cycles of each half-word of `code` so far, of all harts."""
        shape = (self.code.bytes // 2 * 2,)
        each = [np.ctypeslib.as_array(self._library.eq_iss_counted(s), shape).astype(np.int64) for s in (self._state, *self._states)]
        return np.asarray(sum(each)).reshape(-1, 2)

    def text(self, address: int) -> str:
        """The instruction at an address of `code`; empty where there is none."""
        room = ctypes.create_string_buffer(96)
        return room.value.decode() if self._library.eq_iss_text(self._state, address, room, 96) else ""

    def run(self, timeout: float = 600.0, received: Received = lambda n: None) -> int:
        """Run to the program's exit and return its code.

        Raises:
            EdgeqError: the program faults, uses a hardware loop in a way that the core forbids, or does not end in `timeout` seconds.
        """
        deadline, state = time.monotonic() + timeout, self._state.contents
        while True:
            state.limit = state.instructions + SLICE
            stopped = self._library.eq_cluster_run(self._shared) if self._shared else self._library.eq_iss_run(self._state)
            self.sent += bytes(state.sent[: state.sent_bytes])
            state.sent_bytes = 0
            received(len(self.sent))
            if stopped == EXIT:
                return int(state.exit_code)
            if stopped not in (LIMIT, SENT):
                raise self._fault(stopped)
            if time.monotonic() > deadline:
                at = bench.place_of(self.elf, state.pc)
                fix = "give fewer vectors or a longer time-out"
                raise EdgeqError(f"the program did not end within {timeout:g} s on the simulated core", where=at, fix=fix)

    def _fault(self, stopped: int) -> EdgeqError:
        state = (self._shared.contents.hart[self._shared.contents.faulty] if self._shared else self._state).contents
        at = bench.place_of(self.elf, state.fault_pc)
        if stopped == BAD_LOOP:
            fix = "see the rules for hardware loops in the CV32E40P's manual"
            return EdgeqError(f"the program uses {(state.why or b'').decode()}", where=at, fix=fix)
        cause = f"exception {state.fault_cause}, address {state.fault_address:#x}"
        why = "it ran code outside of its flash" if stopped == STRAYED else cause
        return EdgeqError("the program faulted on the simulated core", where=at, why=why)
