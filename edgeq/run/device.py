"""firmware/apps/serve on the other end of a serial port, request by request."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Self

from edgeq import faults as law
from edgeq.errors import EdgeqError
from edgeq.record import Manifest
from edgeq.run.link import Command, Link

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
    def of(cls, manifest: Manifest, symbol: str, offset: int, xor: int) -> Self:
        """The fault in the table of that symbol, which may lack the model's prefix (``s0_weights``).

        Raises:
            EdgeqError: there is no such table that faults may hit, or no such byte.
        """
        places = manifest.fault_tables
        name = symbol if symbol in places else f"{manifest.model}_{symbol}"
        if name not in places or not 0 <= offset < manifest.table_bytes[name] or not 0 < xor < 256:
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
        """Load the weights again from flash.

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
