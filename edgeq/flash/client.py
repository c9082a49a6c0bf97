"""The commands of ST's AN3155 and those that edgeq's bootloader has besides, over an open line."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import ParamSpec, Self, TypeVar

from edgeq.errors import EdgeqError
from edgeq.flash.job import Progress
from edgeq.flash.line import Line

SYNC, ACK, NACK = 0x7F, 0x79, 0x1F
GET, GET_ID, READ, GO, WRITE, ERASE, EXTENDED_ERASE = 0x00, 0x02, 0x11, 0x21, 0x31, 0x43, 0x44
DESCRIBE, WRITE_BLOCK, CHECK, SLOTS = 0xE0, 0xE1, 0xE2, 0xE3  # edgeq's own, see firmware/bootloader/boot.c
BLOCK = 256  # most bytes of WRITE and READ
REPLY = 5.0  # seconds for an answer: an emulated board on a busy computer may take that long
CALL = 0.1  # between calls: a board that was just reset listens for half a second
QUIET = 0.6  # of silence after which a bootloader of edgeq's has given up what it was receiving
ATTEMPTS = 3
ERASE_SECONDS = 3.0  # the slowest sector: 128 KiB of an STM32F4
CHECK_SPEED = 50_000  # bytes a second at which the slowest core computes a CRC-32

P = ParamSpec("P")
T = TypeVar("T")


class Refused(EdgeqError):
    """The bootloader answered NACK."""


class Unacknowledged(EdgeqError):
    """A program may have been started: the bootloader did not say so."""


class Silent(EdgeqError):
    """It does not answer any more, not even to a call."""


class Garbled(EdgeqError):
    """No answer, or none that makes sense."""


@dataclass(frozen=True)
class Region:
    """What edgeq's bootloader says of the memory that it writes."""

    origin: int
    bytes: int
    sector: int
    block: int


NO_SLOT = 0xFF
EMPTY, NEW, TRIED, CONFIRMED = range(4)  # eq_slot_state, eq_boot.h


@dataclass(frozen=True)
class Held:
    """What a slot holds: its state, and of its image the version and the sequence number, where there is one."""

    state: int
    version: int
    sequence: int


@dataclass(frozen=True)
class Slots:
    """What edgeq's bootloader with two slots says: bytes of each, the slot that it does not let change, and what they hold."""

    bytes: int
    kept: int | None
    held: tuple[Held, Held]

    @property
    def free(self) -> int:
        """Where the next image goes: not over the one that would be started if it fails."""
        if self.kept is not None:
            return 1 - self.kept
        return next((i for i in (0, 1) if self.held[i].state == EMPTY), 0 if later(self.held[1].sequence, self.held[0].sequence) else 1)


def later(a: int, b: int) -> bool:
    """Whether sequence number `a` came after `b`, modulo 2^32."""
    return 0 < (a - b & 0xFFFFFFFF) < 1 << 31


class Client:
    """Commands of the protocol over an open line. Integers are big-endian, checksums modulo-2 sums.

    Attributes:
        commands: what the bootloader knows, after `open`.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.commands: frozenset[int] = frozenset()

    def open(self, seconds: float = 5.0, wake: bytes = b"") -> Self:
        """Call until the bootloader answers, and learn what it knows.

        Args:
            wake: sent where it does not, for an application that can restart into it.

        Raises:
            EdgeqError: it does not answer.
        """
        deadline = time.monotonic() + seconds
        while True:
            self.line.write(bytes([SYNC]))
            answer = self.line.read(1, CALL)
            if answer and answer[0] in (ACK, NACK):  # NACK: it was called before
                break
            if answer:
                self.line.quiet(0.1)
            else:
                self.line.write(wake)
            if time.monotonic() > deadline:
                fix = "reset the board into its bootloader, check --port and --baud"
                raise EdgeqError("no bootloader answers", where=self.line.port, fix=fix)
        self.line.quiet(0.05)
        self.commands = frozenset(self.again(self.get)[1:])
        return self

    def resume(self) -> None:
        """After an error: wait until the bootloader has given up what it was doing, and call again.

        Raises:
            Silent: it does not answer any more.
        """
        self.line.quiet(QUIET)
        self.line.write(bytes([SYNC]))
        answer = self.line.read(1, REPLY)
        if not answer or answer[0] not in (ACK, NACK):
            fix = "reset it and flash it once more: its bootloader is still there"
            raise Silent("the board does not answer any more", where=self.line.port, fix=fix)
        self.line.quiet(0.05)

    def again(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of an action, repeated after a damaged exchange.

        Raises:
            EdgeqError: it fails every time, or the port is gone.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return action(*args, **kwargs)
            except (Refused, Garbled):
                self.resume()
        return action(*args, **kwargs)

    def _acknowledged(self, what: str, seconds: float = REPLY) -> None:
        answer = self.line.read(1, seconds)
        if not answer:
            raise Garbled(f"the board does not answer to {what}", where=self.line.port)
        if answer[0] == NACK:
            raise Refused(f"the board refuses {what}", where=self.line.port)
        if answer[0] != ACK:
            raise Garbled(f"the board answers {answer[0]:#04x} to {what}", where=self.line.port, fix="check --board and --baud")

    def _command(self, code: int, what: str) -> None:
        self.line.write(bytes([code, code ^ 0xFF]))
        self._acknowledged(what)

    def _sealed(self, data: bytes, what: str, seconds: float = REPLY) -> None:
        self.line.write(data + bytes([reduce(xor, data, 0)]))
        self._acknowledged(what, seconds + self.line.seconds(len(data)))

    def _exactly(self, count: int, what: str, seconds: float = REPLY) -> bytes:
        data = self.line.read(count, seconds)
        if len(data) != count:
            raise Garbled(f"the board's answer to {what} ends early", where=self.line.port)
        return data

    def _list(self, code: int, what: str) -> bytes:
        self._command(code, what)
        (n,) = self._exactly(1, what)
        data = self._exactly(n + 1, what)
        self._acknowledged(what)
        return data

    def get(self) -> bytes:
        """The version, and the codes of the commands."""
        return self._list(GET, "GET")

    def get_id(self) -> int:
        """The chip's product number; of edgeq's bootloader the core (`Boot.core`)."""
        return int.from_bytes(self._list(GET_ID, "GET ID"), "big")

    def describe(self) -> Region:
        """The region of edgeq's bootloader."""
        data = self._list(DESCRIBE, "DESCRIBE")[:16]
        if len(data) != 16:
            raise Garbled("the board's answer to DESCRIBE is too short", where=self.line.port)
        region = Region(*struct.unpack(">4I", data))
        if not 0 < region.sector <= region.bytes or not 4 <= region.block <= 65532:
            raise Garbled("the board describes no memory", where=self.line.port)
        return region

    def slots(self, region: Region) -> Slots:
        """What edgeq's bootloader with two slots holds."""
        what = "SLOTS"
        self._command(SLOTS, what)
        (n,) = self._exactly(1, what, REPLY + 2 * region.bytes / CHECK_SPEED)  # it computes the checksums of both
        data = self._exactly(n + 1, what)
        self._acknowledged(what)
        if len(data) != 5 + 2 * 9 or data[4] not in (0, 1, NO_SLOT) or max(data[5], data[14]) > CONFIRMED:
            raise Garbled("the board's answer to SLOTS makes no sense", where=self.line.port)
        held = (Held(*struct.unpack(">BII", data[at : at + 9])) for at in (5, 14))
        return Slots(int.from_bytes(data[:4], "big"), None if data[4] == NO_SLOT else data[4], (next(held), next(held)))

    def read(self, address: int, count: int) -> bytes:
        """1 to 256 bytes of memory."""
        what = f"READ at {address:#x}"
        self._command(READ, what)
        self._sealed(struct.pack(">I", address), what)
        self._command(count - 1, what)
        return self._exactly(count, what, REPLY + self.line.seconds(count))

    def write(self, address: int, data: bytes) -> None:
        """Write 4 to 256 bytes, a multiple of 4, to erased memory."""
        what = f"WRITE at {address:#x}"
        self._command(WRITE, what)
        self._sealed(struct.pack(">I", address), what)
        self._sealed(bytes([len(data) - 1]) + data, what)

    def write_block(self, address: int, data: bytes) -> None:
        """`write` for as many bytes as edgeq's bootloader takes, with a CRC-32."""
        what = f"WRITE BLOCK at {address:#x}"
        self._command(WRITE_BLOCK, what)
        self._sealed(struct.pack(">IH", address, len(data)), what)
        self.line.write(data + struct.pack(">I", zlib.crc32(data)))
        self._acknowledged(what, REPLY + self.line.seconds(len(data)))

    def check(self, address: int, count: int) -> int:
        """The CRC-32 of memory, computed by edgeq's bootloader."""
        what = f"CHECK at {address:#x}"
        self._command(CHECK, what)
        self._sealed(struct.pack(">II", address, count), what)
        (crc,) = struct.unpack(">I", self._exactly(4, what, REPLY + count / CHECK_SPEED))
        self._acknowledged(what)
        return int(crc)

    def erase(self, pages: list[int]) -> None:
        """Erase pages by number, as the chip counts them."""
        what, seconds = "ERASE", REPLY + ERASE_SECONDS * len(pages)
        if EXTENDED_ERASE in self.commands:
            self._command(EXTENDED_ERASE, what)
            self._sealed(struct.pack(f">H{len(pages)}H", len(pages) - 1, *pages), what, seconds)
        else:
            self._command(ERASE, what)
            self._sealed(bytes([len(pages) - 1, *pages]), what, seconds)

    def go(self, address: int, size: int) -> None:
        """Start the program at `address`; edgeq's bootloader checks its `size` bytes first, and answers when it is about to leave."""
        self._command(GO, "GO")
        self._sealed(struct.pack(">I", address), "GO", REPLY + size / CHECK_SPEED)

    def start(self, address: int, size: int) -> None:
        """`go`, repeated after a damaged exchange.

        Raises:
            Unacknowledged: the board did not answer.
            EdgeqError: it refuses to.
        """
        try:
            self.again(self.go, address, size)
        except Refused as e:
            why = "it is damaged there, made for another core, or its trial cannot be noted" if DESCRIBE in self.commands else ""
            raise EdgeqError("the board refuses to start the program", where=self.line.port, why=why, fix="flash it again") from e
        except (Garbled, Silent) as e:
            what, fix = "the board did not acknowledge the start of the program", "it is written and verified: reset the board"
            raise Unacknowledged(what, where=self.line.port, why=e.what, fix=fix) from e


def erase_all(client: Client, pages: Iterable[int], progress: Progress) -> None:
    """Erase pages, a few at a time, in the given order."""
    pages = list(pages)
    for i in range(0, len(pages), 8):
        progress("erase", i, len(pages))
        client.again(client.erase, pages[i : i + 8])
    progress("erase", len(pages), len(pages))


def write_all(client: Client, address: int, data: bytes, block: int, progress: Progress) -> None:
    """Write erased memory in blocks; those that are erased bytes throughout stay as they are."""
    store = client.write if block == BLOCK else client.write_block
    for i in range(0, len(data), block):
        part = data[i : i + block]
        if part.strip(b"\xff"):
            client.again(store, address + i, part)
        progress("write", min(i + block, len(data)), len(data))
