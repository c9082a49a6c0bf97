"""What firmware/apps/bench.c exchanges with an emulator: the block of vectors, the stream of results, fault records."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgeq import board
from edgeq.build import Installation, Program, build_programs, section_sizes, toolchain
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.ir import Array
from edgeq.record import manifest
from edgeq.run import stack as stacks
from edgeq.run.layout import Layout
from edgeq.simulate import Cycles, Run
from edgeq.target import Target
from edgeq.timing import Timing, timing

Progress = Callable[[int, int], None]
Received = Callable[[int], None]

HEADER = struct.Struct("<4sIIIII")  # tag, vectors, steps, output bytes, empty measurement, empty step
STACK_RESERVE = 256  # of bench.c itself
ENTRY = "eq_model_invoke"  # what it measures
END = struct.Struct("<4sI")
FAULT = struct.Struct("<4sIII")


@dataclass(frozen=True)
class Execution:
    """What a program sent over its UART, and its exit code.

    Attributes:
        clock: int64 ``[N, 2]``, instructions and cycles at each reading of the board's clock; None where the emulator has no cycles.
    """

    sent: bytes
    exit_code: int
    clock: Array | None = None


# Program, bytes for the board's vector memory, a function told how many bytes have been sent -> execution.
Emulator = Callable[[Path, bytes, Received], Execution]


class Execute(Protocol):
    """Runs a program of a target's board to its end; `received` is told how many bytes it has sent."""

    def __call__(self, elf: Path, target: Target, vectors: bytes, *, timeout: float, received: Received) -> Execution: ...


@dataclass(frozen=True, eq=False)
class Measured:
    """One stream.

    Attributes:
        instructions: per vector, int64 ``[V]``.
        step_instructions: int64 ``[V, S]``, a column per step; S is 0 without the hook.
        stack_bytes: per vector, int64 ``[V]``.
        outputs, steps: uint8 blocks ``[V, bytes]``.
        cycles, step_cycles: like the instructions; None where the emulator has no cycles.
    """

    instructions: Array
    step_instructions: Array
    stack_bytes: Array
    outputs: Array
    steps: Array
    cycles: Array | None = None
    step_cycles: Array | None = None


@dataclass(frozen=True, eq=False)
class _Intervals:
    """What a program measured, in one unit: per vector each record of a step and the rest ``[V, S]`` and ``[V]``; of nothing."""

    steps: Array
    last: Array
    empty: int
    empty_step: int

    def totals(self) -> Array:
        """Per vector, int64 ``[V]``."""
        return np.asarray(self.steps.sum(1) + self.last - self.empty)

    def per_step(self, layout: Layout) -> Array:
        """int64 ``[V, steps]``: a step of several outputs has several records."""
        own = self.steps - self.empty_step
        first = [i for i in range(own.shape[1]) if i == 0 or layout.step_of[i] != layout.step_of[i - 1]]
        if not own.shape[1]:
            return own
        counts = np.zeros((len(own), layout.step_count), np.int64)  # a step that delivers nothing counts with the next one that does
        counts[:, [layout.step_of[i] for i in first]] = np.add.reduceat(own, first, axis=1)
        return counts


def _clocked(clock: Array, vectors: int, steps: int, where: str) -> tuple[_Intervals, _Intervals]:
    """Instructions and cycles of the intervals between two readings of the clock each, in the order of firmware/apps/bench.c."""
    before = 4 if steps else 1  # two empty steps and the rest behind them; nothing
    spans = clock[1::2] - clock[::2] if len(clock) % 2 == 0 else clock[:0]
    if len(spans) != before + vectors * (steps + 1):
        raise EdgeqError("the firmware did not read its clock as edgeq's does", where=where)
    rows = spans[before:].reshape(vectors, steps + 1, 2)
    made = (_Intervals(rows[:, :-1, k], rows[:, -1, k], int(spans[before - 1, k]), int(spans[1, k]) if steps else 0) for k in (0, 1))
    return next(made), next(made)


def block(vectors: int, packed: Array, faults: bytes = b"") -> bytes:
    """The memory image that bench.c reads, from packed inputs ``[V, input_bytes]`` and a fault map (`faults.block`)."""
    return struct.pack("<4sIII", b"EQV1", vectors, packed.shape[1], len(faults)) + packed.tobytes() + faults


def record_type(layout: Layout, hook: bool) -> np.dtype[np.void]:
    """What a stream holds per vector."""
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    for i, step in enumerate(layout.steps if hook else []):
        fields += [(f"ticks{i}", "<u4", ()), (f"step{i}", "u1", ((step.bytes + 3) // 4 * 4,))]
    return np.dtype([*fields, ("ticks", "<u4", ()), ("stack", "<u4", ()), ("output", "u1", (layout.output_bytes,))])


def parse(stream: bytes, layout: Layout, hook: bool, instructions_per_tick: float, where: str, clock: Array | None = None) -> Measured:
    """Check and take apart a stream; counts are those of `clock` (`Execution`) where it is given.

    Raises:
        EdgeqError: it is truncated, damaged, or of another model.
    """
    record = record_type(layout, hook)
    if len(stream) < HEADER.size + END.size:
        raise EdgeqError("the firmware sent no results", where=where, why=f"{len(stream)} bytes arrived")
    tag, vectors, steps, output_bytes, empty, empty_step = HEADER.unpack_from(stream)
    if tag != b"EQR1" or steps != (len(layout.steps) if hook else 0) or output_bytes != layout.output_bytes:
        raise EdgeqError("the firmware's results do not belong to this model", where=where)
    expected = HEADER.size + vectors * record.itemsize + END.size
    end, crc = END.unpack_from(stream, len(stream) - END.size)
    if len(stream) != expected or end != b"EQE1" or crc != zlib.crc32(stream[: -END.size]):
        why = f"{len(stream)} of {expected} bytes" if len(stream) != expected else "wrong checksum"
        raise EdgeqError("the firmware's results arrived damaged", where=where, why=why)
    rows = np.frombuffer(stream, record, vectors, HEADER.size)

    def instructions(ticks: Array | int) -> Array:
        return np.asarray(np.rint(np.asarray(ticks, np.float64) * instructions_per_tick), np.int64)

    count = range(steps)
    per_step = np.stack([instructions(rows[f"ticks{i}"]) for i in count], 1) if steps else np.zeros((vectors, 0), np.int64)
    tensors = np.concatenate([rows[f"step{i}"] for i in count], 1) if steps else np.zeros((vectors, 0), np.uint8)
    told = _Intervals(per_step, instructions(rows["ticks"]), int(instructions(empty)), int(instructions(empty_step)))
    counted, cycles = (told, None) if clock is None else _clocked(clock, vectors, steps, where)
    return Measured(
        instructions=counted.totals(),
        step_instructions=counted.per_step(layout),
        stack_bytes=rows["stack"].astype(np.int64),
        outputs=np.ascontiguousarray(rows["output"]),
        steps=tensors,
        cycles=cycles.totals() if cycles else None,
        step_cycles=cycles.per_step(layout) if cycles else None,
    )


def _symbols(elf: Path) -> list[tuple[str, str, int, int]]:
    """Name, type, address and size of each symbol of a program."""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        rows = table.iter_symbols() if isinstance(table, SymbolTableSection) else ()
        return [(s.name, s["st_info"]["type"], s["st_value"], s["st_size"]) for s in rows]


def place_of(elf: Path, address: int) -> str:
    """``function+offset (address)`` for an address of a program, or the bare address."""
    for name, kind, value, size in _symbols(elf):
        start = value & ~1
        if kind == "STT_FUNC" and start <= address < start + size:
            return f"{name}+{address - start:#x} ({address:#010x})"
    return f"{address:#010x}"


def stack_overflowed(elf: Path, pointer: int) -> bool:
    """Whether a stack pointer lies below the program's stack."""
    return any(name == "_stack_limit" and pointer < value for name, _, value, _ in _symbols(elf))


def fault(stream: bytes, elf: Path) -> str:
    """What the fault record at the end of a stream says; empty if there is none."""
    if len(stream) < FAULT.size:
        return ""
    tag, pc, cause, pointer = FAULT.unpack_from(stream, len(stream) - FAULT.size)
    if tag != b"EQF1":
        return ""
    return "the stack overflowed" if stack_overflowed(elf, pointer) else f"exception {cause} at {place_of(elf, pc)}"


def batches(layout: Layout, vectors: int, region: int) -> Iterator[slice]:
    """Cut the vectors so that each part fits the board's memory for them.

    Raises:
        EdgeqError: not even one fits.
    """
    fit = (region - 16) // max(1, layout.input_bytes)
    if fit < 1:
        raise EdgeqError(f"an input of {layout.input_bytes} bytes does not fit the board's memory for test vectors", why=f"{region} bytes")
    if layout.streams and vectors > fit:
        raise EdgeqError(f"{vectors} consecutive vectors do not fit the board's memory for them", why=f"{fit} do", fix="give fewer")
    return (slice(i, min(i + fit, vectors)) for i in range(0, vectors, fit))


def _join(parts: list[Measured]) -> Measured:
    known = [f for f in Measured.__dataclass_fields__ if getattr(parts[0], f) is not None]
    return Measured(**{f: np.concatenate([getattr(p, f) for p in parts]) for f in known})


def _cycles(measured: Measured, plain: Measured, steps: bool, bounds: tuple[float, float]) -> Cycles | None:
    """Of the program without hooks, and per step of the one with them."""
    if measured.cycles is None or plain.cycles is None or measured.step_cycles is None:
        return None
    each = measured.cycles - measured.cycles[0] + plain.cycles[0]
    per_step = tuple(int(n) for n in measured.step_cycles.max(axis=0)) if steps else None
    return Cycles(int(each.max()), per_step, *bounds)


def _estimated(run: Run, model: Timing | None) -> Run:
    """With cycles from the number of instructions alone, where the core's model asks for no more."""
    if run.cycles is not None or run.instructions is None or model is None or model.traced:
        return run
    rate = model.costs[0]
    steps = None if run.step_instructions is None else tuple(round(rate * n) for n in run.step_instructions)
    return replace(run, cycles=Cycles(round(rate * run.instructions), steps, model.low, model.high))


@dataclass(frozen=True, eq=False)
class _Session:
    """An emulator that runs the programs of one folder.

    Attributes:
        ratio: instructions per tick of the board's counter.
        faults: a map (`faults.block`) that hits the model's tables first.
    """

    folder: Path
    layout: Layout
    emulator: Emulator
    ratio: float
    faults: bytes

    def measure(self, elf: Path, hook: bool, packed: Array, done: Received) -> Measured:
        """Run one program over some vectors; `done` is told how many are finished."""
        each, last = record_type(self.layout, hook).itemsize, -1

        def received(size: int) -> None:
            nonlocal last
            finished = min(max(0, size - HEADER.size) // each, len(packed))
            if finished != last:
                last = finished
                done(finished)

        execution = self.emulator(elf, block(len(packed), packed, self.faults), received)
        if execution.exit_code != 0:
            why = fault(execution.sent, elf)
            raise EdgeqError(f"the program ended with exit code {execution.exit_code}", where=str(self.folder), why=why)
        return parse(execution.sent, self.layout, hook, self.ratio, str(self.folder), execution.clock)


@dataclass(frozen=True)
class Runner:
    """A runner by an emulator: builds a folder's bench application and runs every vector in it.

    With `steps` two programs are run: one with the step hook over all vectors, and over one vector that without it,
    from which the instructions and the stack are taken, so that both are the same whether steps are asked for or not.

    Attributes:
        execute: runs a program of a target's board to its end.
        ratio: of a target, instructions per tick of its board's counter.
        bounds: of a target, those of the emulator's cycles (`Cycles`); None: those of the target's model.
        timeout: seconds for each run of the emulator.
    """

    name: str
    execute: Execute
    ratio: Callable[[Target], float] = lambda target: 1.0
    bounds: Callable[[Target], tuple[float, float] | None] = lambda target: None
    timeout: float = 600.0

    def __call__(
        self,
        folder: Path,
        target: Target,
        inputs: Mapping[str, Array],
        *,
        steps: bool = False,
        chain: str | None = None,
        optimize: str = "-O3",
        progress: Progress | None = None,
        faults: bytes = b"",
    ) -> Run:
        """Build `folder` for the target's board and run every vector there.

        Args:
            inputs: per input ``[V, *shape]`` in the stored dtype.
            steps: keep every step's output, instructions and cycles.
            chain: tool chain name (zig, gcc, clang).
            optimize: -O0, -O1, -O2, -O3, -Os, -Oz or -Og.
            progress: called with (vectors done, vectors in all).
            faults: a map (`faults.block`) that hits the model's tables, which lie in RAM then, before the first vector; the
                folder's program must be `hardened`.

        Raises:
            EdgeqError: the emulator is not installed or has no such board, the build fails, the program faults or does not end
                in time, or its results arrive damaged.
        """
        model = manifest(folder)
        layout, place, ratio = Layout(model), board.load(target), self.ratio(target)
        session = _Session(folder, layout, partial(self._execution, target), ratio, faults)
        vectors, packed = layout.pack(inputs)
        programs = [Program("bench", hook) for hook in ((True, False) if steps else (False,))]
        installation = Installation(weights="ram" if faults or model.weights_in == "ram" else "flash")

        def done(first: int, finished: int) -> None:
            if progress:
                progress(first + finished, vectors)

        with temporary_folder() as work:
            elf = build_programs(folder, target, toolchain(target, chain), programs, Path(work), optimize, installation)
            first, last = programs[0], programs[-1]
            room = place.memory["vectors"].bytes - len(faults)
            parts = batches(layout, vectors, room)
            measured = _join([session.measure(elf[first], first.hook, packed[p], partial(done, p.start)) for p in parts])
            plain = session.measure(elf[last], last.hook, packed[:1], lambda finished: None) if steps else measured
            code, most = section_sizes(elf[last])["code"], stacks.bound(elf[last], ENTRY, target.vector_bytes)
        if int(plain.stack_bytes.max()) >= place.stack - STACK_RESERVE:
            why = f"board {place.name} reserves {place.stack} bytes"
            raise EdgeqError("the stack overflowed", where=str(folder), why=why, fix="raise `stack` in its bsp.toml")
        ran = Run(self.name, layout.unpack_outputs(measured.outputs), layout.unpack_steps(measured.steps) if steps else {})
        core = timing(target, place)
        limits = self.bounds(target) or ((core.low, core.high) if core else (1.0, 1.0))
        counted = replace(_counted(ran, measured, plain, steps, limits), stack_bound=most, code_bytes=code)
        return _estimated(counted, core)

    def _execution(self, target: Target, elf: Path, vectors: bytes, received: Received) -> Execution:
        return self.execute(elf, target, vectors, timeout=self.timeout, received=received)


def _counted(run: Run, measured: Measured, plain: Measured, steps: bool, limits: tuple[float, float]) -> Run:
    """With the counts of its vectors, and of the program without hooks."""
    each = measured.instructions - measured.instructions[0] + plain.instructions[0]
    return replace(
        run,
        instructions=int(each.max()),
        step_instructions=tuple(int(n) for n in measured.step_instructions.max(axis=0)) if steps else None,
        constant_time=bool((each == each[0]).all()) if len(each) > 1 else None,
        stack_bytes=int(plain.stack_bytes.max()),
        cycles=_cycles(measured, plain, steps, limits),
    )
