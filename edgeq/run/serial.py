"""The runner for boards: firmware/apps/serve on the other end of a serial port."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from edgeq import faults as law
from edgeq.build import manifest
from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.run.layout import Layout
from edgeq.run.link import Command, Link
from edgeq.run.ports import Port
from edgeq.simulate import Run

NAME = "board"
PLACE = struct.Struct("<I")
RESULT = struct.Struct("<5I")
STATISTICS = struct.Struct("<9I")
CHECK = struct.Struct("<II")
UNKNOWN = 0xFFFFFFFF
LARGEST = 2**24  # bytes of an area: offsets have three bytes
STOP_AT_STEPS, RESET_STATES = 1, 2


class Area(IntEnum):
    """What a host may read, and in part write."""

    DESCRIPTION = 0
    INPUT = 1
    OUTPUT = 2
    STEP = 3
    STATE = 4


class Result(NamedTuple):
    """Where an inference has come to.

    Attributes:
        at_step: it stopped there; else it is done.
        ticks: of the step, or of the whole inference.
        stack: bytes, UNKNOWN where it was not the model's alone.
        bytes: of the step's tensor, or of the outputs.
    """

    at_step: bool
    step: int
    ticks: int
    stack: int
    bytes: int


class Fault(NamedTuple):
    """Bits to flip in a stored weight: table (an index into the manifest's ``tables``), byte offset, and a byte to xor."""

    table: int
    offset: int
    xor: int

    @classmethod
    def of(cls, manifest: Mapping[str, Any], symbol: str, offset: int, xor: int) -> Self:
        """The fault in the table of that symbol, which may lack the model's prefix (``s0_weights``).

        Raises:
            EdgeqError: there is no such table that faults may hit, or no such byte.
        """
        places = manifest["fault_tables"]
        name = symbol if symbol in places else f"{manifest['model']}_{symbol}"
        if name not in places or not 0 <= offset < manifest["table_bytes"][name] or not 0 < xor < 256:
            fix = "see `fault_tables` and `table_bytes` in manifest.json"
            raise EdgeqError(f"no byte {offset} to xor with {xor}", where=symbol, fix=fix)
        return cls(places[name], offset, xor)


@dataclass(frozen=True)
class Statistics:
    """What the board counted since power-on.

    Attributes:
        frames: whole requests; `damaged` ones, `repeated` ones (answered again, not executed again), and ones that came while
            an earlier one was `missing`.
        deepest_stack: of the model, in bytes, out of `stack` that are reserved.
        touched_arena: bytes from the arena's beginning to the last that is not zero, out of `arena`.
    """

    frames: int
    damaged: int
    repeated: int
    missing: int
    inferences: int
    deepest_stack: int
    stack: int
    touched_arena: int
    arena: int


@dataclass(frozen=True, eq=False)
class Measured:
    """A run on a board.

    Attributes:
        ticks: of the board's clock per inference, int64 ``[V]``.
        seconds: per inference, from the first byte of its input to the last of its output, float64 ``[V]``.
        wire_bytes: both ways; `payload_bytes` of them inputs, outputs and step tensors.
        retries: requests sent more than once.
    """

    run: Run
    ticks: Array
    seconds: Array
    wire_bytes: int
    payload_bytes: int
    retries: int


class Device:
    """A board in a session.

    Attributes:
        description: what its firmware was built from (docs/link.md).
        window: bytes of requests it lets wait; `frame` the longest payload.
        tables, steps: how many constant tables its model has, and tensors that an inference stops at.

    Raises:
        EdgeqError: what it tells of itself makes no sense.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.frame, window, size, self.input_bytes, self.output_bytes, self.steps, self.tables, in_ram = link.facts
        sizes = (size, self.input_bytes, self.output_bytes)
        if not 64 <= self.frame <= 65535 or not min(sizes) > 0 or max(sizes) >= LARGEST or max(self.steps, self.tables) > 65535:
            raise link.strange("HELLO")
        self.frame = min(self.frame, max(256, link.port.baud // 10))  # no frame takes longer than a second
        self.weights_in_ram = bool(in_ram)
        link.window = window
        try:
            self.description: dict[str, Any] = dict(json.loads(self.read(Area.DESCRIPTION, size)))
        except (ValueError, TypeError, RecursionError) as e:
            raise link.strange("a request for its description") from e

    def reading(self, area: Area, size: int) -> list[tuple[Command, bytes]]:
        """The requests that read the first `size` bytes of an area."""
        step = self.frame
        return [(Command.READ, struct.pack("<IH", area << 24 | i, min(step, size - i))) for i in range(0, size, step)]

    def writing(self, area: Area, data: bytes) -> list[tuple[Command, bytes]]:
        """The requests that write an area from its beginning."""
        step = self.frame - PLACE.size
        return [(Command.WRITE, PLACE.pack(area << 24 | i) + data[i : i + step]) for i in range(0, len(data), step)]

    def joined(self, answers: Sequence[bytes], size: int) -> bytes:
        """What `reading` requests gave.

        Raises:
            EdgeqError: it is not `size` bytes.
        """
        data = b"".join(answers)
        if len(data) != size:
            raise self.link.strange("READ")
        return data

    def read(self, area: Area, size: int) -> bytes:
        """The first bytes of an area."""
        return self.joined(self.link.transact(self.reading(area, size)), size)

    def write(self, area: Area, data: bytes) -> None:
        """Write an area from its beginning."""
        self.link.transact(self.writing(area, data))

    def result(self, command: Command, payload: bytes = b"") -> Result:
        """INVOKE or RESUME, and where that has led."""
        (answer,) = self.link.transact([(command, payload)])
        if len(answer) != RESULT.size:
            raise self.link.strange(command.name)
        phase, *values = RESULT.unpack(answer)
        return Result(phase == 1, *values)

    def invoke(self, *, stop: bool = False, reset: bool = False) -> Result:
        """Begin an inference.

        Args:
            stop: come back at the first step; `resume` goes on to the next.
            reset: set the states to zero first.
        """
        return self.result(Command.INVOKE, PLACE.pack(STOP_AT_STEPS * stop | RESET_STATES * reset))

    def resume(self) -> Result:
        """Go on to the next step, or to the end."""
        return self.result(Command.RESUME)

    def reset(self) -> None:
        """Set the states to zero."""
        self.link.transact([(Command.RESET, b"")])

    def checksums(self) -> list[tuple[int, int]]:
        """CRC-32 and bytes of each constant table, as they lie in the board's memory now."""
        answers = [self.link.transact([(Command.CHECK, struct.pack("<H", i))])[0] for i in range(self.tables)]
        if any(len(a) != CHECK.size for a in answers):
            raise self.link.strange("CHECK")
        return [CHECK.unpack(a) for a in answers]

    def _require_ram(self) -> None:
        if not self.weights_in_ram:
            fix = "build the firmware with its weights in RAM: `edgeq firmware --weights ram`"
            raise EdgeqError("the weights lie in flash and cannot be changed", where=self.link.port.url, fix=fix)

    def damage(self, faults: bytes | Sequence[Fault]) -> None:
        """Flip bits of weights; `restore` undoes it.

        Args:
            faults: a map (`faults.block`), or a list of any length.

        Raises:
            EdgeqError: the weights lie in flash, or a fault lies outside of its table. Parts of a long list may be in effect then.
        """
        self._require_ram()
        block = faults if isinstance(faults, bytes) else law.listed(faults)
        for part in law.parts(block, self.frame):
            self.link.transact([(Command.FAULT, part)])

    def restore(self) -> None:
        """Load the weights anew from flash.

        Raises:
            EdgeqError: they lie there.
        """
        self._require_ram()
        self.link.transact([(Command.RESTORE, b"")])

    @contextmanager
    def damaged(self, faults: bytes) -> Iterator[None]:
        """Its weights under a map alone (`faults.block`), and intact again at the end; as they are where it is empty."""
        if not faults:
            yield
            return
        self.restore()
        try:
            self.damage(faults)
            yield
        finally:
            self.restore()

    def instructions(self, ticks: int) -> int | None:
        """What the ticks of an emulated board's clock stand for; None on a real one."""
        ratio = self.description.get("instructions_per_tick")
        return round(ticks * ratio) if isinstance(ratio, float) and 0 < ratio < 1e6 else None

    def statistics(self) -> Statistics:
        """What the board counted."""
        (answer,) = self.link.transact([(Command.STATISTICS, b"")])
        if len(answer) != STATISTICS.size:
            raise self.link.strange("STATISTICS")
        return Statistics(*STATISTICS.unpack(answer))


@contextmanager
def connect(port: Port, model: Mapping[str, Any] | None = None) -> Iterator[Device]:
    """A session with the board at a port.

    Args:
        model: the manifest of the model that its firmware must have been built from.

    Raises:
        EdgeqError: no board answers, or it runs another model.
    """
    with Link(port) as link:
        device = Device(link)
        if model is not None:
            _check(device, model)
        yield device


def _check(device: Device, model: Mapping[str, Any]) -> None:
    layout, told = Layout(model), device.description
    if told.get("sources_sha256") != model["sources_sha256"]:
        why = f"'{told.get('model')}' for {told.get('target')}, sources {str(told.get('sources_sha256'))[:12]}"
        fix = "build and flash the firmware of this folder"
        raise EdgeqError("the board runs another model", where=device.link.port.url, why=why, fix=fix)
    facts = (device.input_bytes, device.output_bytes, device.steps, device.tables)
    if facts != (layout.input_bytes, layout.output_bytes, len(layout.steps), len(model["tables"])):
        raise device.link.strange("HELLO")


def infer(device: Device, layout: Layout, packed: bytes, *, steps: bool, reset: bool) -> tuple[Result, bytes, bytes]:
    """One inference.

    Returns:
        Its result, the output block and the step block, which is empty without `steps`.
    """
    device.write(Area.INPUT, packed)
    result = device.invoke(stop=steps, reset=reset)
    tensors = bytearray()
    for i, tensor in enumerate(layout.steps if steps else ()):
        if not result.at_step or (result.step, result.bytes) != (layout.step_of[i], tensor["bytes"]):
            raise device.link.strange("INVOKE")
        tensors += device.read(Area.STEP, result.bytes) + bytes(-result.bytes % 4)
        result = device.resume()
    if result.at_step:
        raise device.link.strange("INVOKE")
    return result, device.read(Area.OUTPUT, layout.output_bytes), bytes(tensors)


def step_ticks(device: Device) -> list[tuple[int, int]]:
    """Step and ticks of each tensor that an inference on the input that lies there now computes.

    Raises:
        EdgeqError: it stops more often than the model has steps.
    """
    ticks = []
    result = device.invoke(stop=True, reset=True)
    while result.at_step:
        ticks.append((result.step, result.ticks))
        if len(ticks) > device.steps:
            raise device.link.strange("RESUME")
        result = device.resume()
    return ticks


def line_speed(device: Device, amount: int) -> tuple[float, float]:
    """Bytes of payload per second to the board and from it: its input, written and read until `amount` bytes or 64 times."""
    rounds = min(-(-amount // device.input_bytes), 64)
    data = np.random.default_rng(0).bytes(device.input_bytes)
    begun = time.perf_counter()
    device.link.transact(device.writing(Area.INPUT, data) * rounds)
    middle = time.perf_counter()
    answers = device.link.transact(device.reading(Area.INPUT, len(data)) * rounds)
    end = time.perf_counter()
    if device.joined(answers, len(data) * rounds) != data * rounds:
        raise device.link.strange("READ")
    return len(data) * rounds / (middle - begun), len(data) * rounds / (end - middle)


def measure(
    device: Device,
    layout: Layout,
    inputs: Mapping[str, Array],
    *,
    steps: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Run every vector on a board in a session; see `run`."""
    vectors, packed = layout.pack(inputs)
    link = device.link
    before, retried = link.sent + link.received, link.retries
    results, outputs, tensors, seconds = [], [], [], []
    for v in range(vectors):
        begun = time.perf_counter()
        result, output, blocks = infer(device, layout, packed[v].tobytes(), steps=steps, reset=v == 0)
        seconds.append(time.perf_counter() - begun)
        results.append(result)
        outputs.append(np.frombuffer(output, np.uint8))
        tensors.append(np.frombuffer(blocks, np.uint8))
        if progress:
            progress(v + 1, vectors)
    counts = np.array([r.ticks for r in results], np.int64)
    stacks = [r.stack for r in results if r.stack != UNKNOWN]
    run = Run(
        NAME,
        layout.unpack_outputs(np.stack(outputs)),
        layout.unpack_steps(np.stack(tensors)) if steps else {},
        instructions=device.instructions(int(counts.max())),
        stack_bytes=max(stacks, default=None),
    )
    payload = packed.nbytes + vectors * (layout.output_bytes + layout.step_bytes * steps)
    return Measured(run, counts, np.array(seconds), link.sent + link.received - before, payload, link.retries - retried)


def run(
    folder: Path,
    inputs: Mapping[str, Array],
    port: Port,
    *,
    steps: bool = False,
    progress: Callable[[int, int], None] | None = None,
    faults: bytes = b"",
) -> Run:
    """Run every vector on the board at a port, whose firmware was built from `folder`.

    Args:
        inputs: per input ``[V, *shape]`` in the stored dtype.
        steps: stream every step's tensor too.
        progress: called with (vectors done, vectors in all).
        faults: a map (`faults.block`) that hits the model's tables meanwhile; the folder's program must be `hardened`.

    Raises:
        EdgeqError: no board answers, it runs another model, has its weights in flash where there is a map, is restarted or
            unplugged, or falls silent.
    """
    model = manifest(folder)
    with connect(port, model) as device, device.damaged(faults):
        return measure(device, Layout(model), inputs, steps=steps, progress=progress).run
