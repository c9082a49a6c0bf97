"""The host's end of the device link: frames, and requests that survive a noisy line (docs/link.md)."""

from __future__ import annotations

import contextlib
import secrets
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from types import TracebackType
from typing import NamedTuple, Self

import serial
from cobs import cobs

from edgeq.errors import EdgeqError
from edgeq.files import reason
from edgeq.run.ports import Port

VERSION = 1
HEADER = struct.Struct("<BBH")
CRC = struct.Struct("<I")
REFUSAL = struct.Struct("<II")
ANSWER, COMMANDS, NUMBERS = 0x20, 0x1F, 0x100
FACTS = struct.Struct("<9I")
LONGEST = 65535 + HEADER.size + CRC.size
MOST = 64  # requests under way, so that no number is ambiguous
PATIENCE = (0.1, 1.0)  # seconds without a byte after which a request is sent again, at least and at most; transmission comes on top
LONGEST_BUSY = 600.0  # seconds, however often the board says that it is busy


class Command(IntEnum):
    """What a request asks for, or an answer is."""

    HELLO = 1
    READ = 2
    WRITE = 3
    INVOKE = 4
    RESUME = 5
    RESET = 6
    CHECK = 7
    FAULT = 8
    RESTORE = 9
    STATISTICS = 10
    RESTART = 11
    BUSY = 30
    REFUSED = 31


class Refusal(IntEnum):
    """Why a request was not executed."""

    NO_SESSION = 1
    EXPECTED = 2
    UNKNOWN = 3
    MALFORMED = 4
    OUT_OF_RANGE = 5
    NOT_NOW = 6
    READ_ONLY = 7


REASONS: dict[int, str] = {
    Refusal.UNKNOWN: "it does not know this request",
    Refusal.MALFORMED: "the request has the wrong length",
    Refusal.OUT_OF_RANGE: "no such area, table or offset",
    Refusal.NOT_NOW: "the request does not fit what the board is doing",
    Refusal.READ_ONLY: "this cannot be written",
}


class _Silence(EdgeqError):
    """Nothing comes that shows that the board goes on."""

    def __init__(self, why: str, where: str) -> None:
        super().__init__("the board fell silent", where=where, why=why, fix="reset it; give --timeout if one step takes longer")


class Frame(NamedTuple):
    """A request or an answer.

    Attributes:
        kind: version, whether it is an answer, command.
        number: of the request, modulo 256.
    """

    kind: int
    number: int
    payload: bytes

    @property
    def command(self) -> int:
        return self.kind & COMMANDS


def encode(kind: int, number: int, payload: bytes) -> bytes:
    """The bytes of a frame on the line."""
    body = HEADER.pack(kind, number, len(payload)) + payload
    return bytes(cobs.encode(body + CRC.pack(zlib.crc32(body)))) + b"\0"


def decode(raw: bytes) -> Frame | None:
    """The frame between two zero bytes; None where it is damaged."""
    try:
        body = cobs.decode(raw)
    except cobs.DecodeError:
        return None
    if len(body) < HEADER.size + CRC.size or CRC.unpack(body[-CRC.size :])[0] != zlib.crc32(body[: -CRC.size]):
        return None
    kind, number, size = HEADER.unpack_from(body)
    payload = bytes(body[HEADER.size : -CRC.size])
    return Frame(kind, number, payload) if size == len(payload) else None


# Asks an application that serves the link to restart into edgeq's bootloader; the zero ends what came before it.
RESTART = b"\0" + encode(VERSION << 6 | Command.RESTART, 0, b"BOOT")

# Greets one: what answers is reached by a host. The nonce opens a session that nobody goes on with.
HELLO = b"\0" + encode(VERSION << 6 | Command.HELLO, 0, b"EQOK")


class Decoder:
    """Cuts what comes over the line into frames. Holds no more than one frame, whatever comes."""

    def __init__(self) -> None:
        self._open, self._overlong, self.damaged = bytearray(), False, 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The whole frames that end within `data`; damaged ones are counted."""
        *ends, rest = data.split(b"\0")
        for part in ends:
            self._take(part)
            raw, overlong = bytes(self._open), self._overlong
            self._open, self._overlong = bytearray(), False
            frame = None if overlong else decode(raw)
            if frame is not None:
                yield frame
            elif raw or overlong:
                self.damaged += 1
        self._take(rest)

    def _take(self, part: bytes) -> None:
        self._open += part
        if len(self._open) > LONGEST + LONGEST // 254 + 1:
            self._open, self._overlong = bytearray(), True


class _Request:
    """One that is to be answered."""

    def __init__(self, number: int, command: Command, payload: bytes) -> None:
        self.number, self.command = number, command
        self.line = encode(VERSION << 6 | command, number, payload)
        self.answer: bytes | None = None
        self.overtaken = False  # the answer to a later one came first: its own was lost


class _Exchange:
    """Requests under way: which are sent, which answered.

    Attributes:
        done: the first that is not answered.
        sent: the first that is not sent, or to be sent again.
        tries: how often patience has ended since the last answer.
    """

    def __init__(self, requests: list[_Request]) -> None:
        self.requests, self.done, self.sent, self.tries = requests, 0, 0, 0

    def next(self, window: int) -> _Request | None:
        """The next to send, if the window has room for it."""
        while self.sent < len(self.requests) and self.requests[self.sent].answer is not None:
            self.sent += 1
        if self.sent == len(self.requests):
            return None
        ahead, waiting = self.requests[self.sent], self.under_way
        if waiting and (len(waiting) == MOST or sum(len(r.line) for r in waiting) + len(ahead.line) > window):
            return None
        self.sent += 1
        return self.requests[self.sent - 1]

    @property
    def under_way(self) -> list[_Request]:
        return [r for r in self.requests[self.done : self.sent] if r.answer is None]

    def index(self, number: int) -> int:
        """Which request a number belongs to, the unanswered ones and those after them considered."""
        return self.done + (number - self.requests[self.done].number) % NUMBERS

    def take(self, frame: Frame) -> bool:
        """Note an answer; whether it answers something new."""
        i = self.index(frame.number)
        if not self.done <= i < self.sent or self.requests[i].answer is not None or frame.command != self.requests[i].command:
            return False
        self.requests[i].answer = frame.payload
        while self.done < len(self.requests) and self.requests[self.done].answer is not None:
            self.done += 1
        self.sent = max(self.sent, self.done)
        return True


class Link:
    """A session with a board: requests in order, answers checked, what gets lost sent again. A context manager.

    Attributes:
        facts: the words of the HELLO answer, after the nonce.
        window: bytes of requests that may be under way; 0: one request at a time.
        sent, received: bytes on the line so far.
        retries: requests sent more than once.

    Raises:
        EdgeqError: the port cannot be opened, or no board answers.
    """

    def __init__(self, port: Port) -> None:
        self.port, self.window = port, 0
        self.sent = self.received = self.retries = 0
        self._decoder, self._frames, self._heard = Decoder(), list[Frame](), 0.0
        self._number, self._slowest = secrets.randbelow(NUMBERS), PATIENCE[0]
        try:
            self._line = serial.serial_for_url(port.url, port.baud, timeout=0.02, write_timeout=port.timeout / 2, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as e:
            fix = "is the board connected, and no other program?"
            raise EdgeqError("cannot open the port", where=port.url, why=reason(e), fix=fix) from e
        try:
            self.facts = self._hello()
        except BaseException:
            self.close()
            raise

    def _hello(self) -> tuple[int, ...]:
        nonce = secrets.randbelow(2**32 - 1) + 1
        self._write(b"\0")  # ends what an earlier program may have begun
        try:
            (answer,) = self.transact([(Command.HELLO, struct.pack("<I", nonce))])
        except _Silence as e:
            fix = "flash firmware made by `edgeq firmware --app serve`, reset the board, check --baud"
            raise EdgeqError("no answer from the board", where=self.port.url, why=e.why, fix=fix) from e
        if len(answer) != FACTS.size or FACTS.unpack(answer)[0] != nonce:
            raise self.strange("HELLO")
        return FACTS.unpack(answer)[1:]

    def strange(self, what: str) -> EdgeqError:
        """The error for an answer that no firmware of this version gives."""
        fix = "flash firmware of this version of edgeq"
        return EdgeqError(f"the board answers {what} with something else", where=self.port.url, fix=fix)

    def transact(self, requests: Sequence[tuple[Command, bytes]]) -> list[bytes]:
        """Send requests in order and return the payloads of their answers.

        No request may change what an earlier one of them reads: a lost answer is asked for again after all were executed.

        Raises:
            EdgeqError: the port is gone, the board fell silent or was restarted, or it refuses a request.
        """
        exchange = _Exchange([_Request((self._number + i) % NUMBERS, *r) for i, r in enumerate(requests)])
        self._number = (self._number + len(requests)) % NUMBERS
        answered = alive = asked = time.monotonic()
        while exchange.done < len(requests):
            while request := exchange.next(self.window):
                self._write(request.line)
                asked = time.monotonic()
            frame, done = self._read(), exchange.done
            now = time.monotonic()
            if frame is not None and self._heed(frame, exchange):
                self._slowest = max(now - asked, 0.9 * self._slowest)
                alive = asked = now
                exchange.tries = 0
            answered = now if exchange.done > done else answered
            if now - alive > self.port.timeout:
                raise _Silence(f"nothing for {self.port.timeout:g} s", self.port.url)
            if now - answered > LONGEST_BUSY:
                raise _Silence(f"busy for {LONGEST_BUSY:g} s", self.port.url)
            if now - max(asked, self._heard) > self._patience(exchange):
                self._write(b"\0")  # ends what noise may have begun
                exchange.tries += 1
                self._again(exchange, exchange.done)
        return [r.answer or b"" for r in exchange.requests]

    def _patience(self, exchange: _Exchange) -> float:
        """Seconds to wait for an answer: some of the slowest so far, and the time that the requests take at this baud rate.

        Doubled with every try, so that a board that is merely slow is not buried in repetitions.
        """
        least, most = PATIENCE
        transmission = sum(len(r.line) for r in exchange.under_way) * 15 / self.port.baud
        return (min(max(least, 4 * self._slowest), most) + transmission) * (1 << exchange.tries)

    def _again(self, exchange: _Exchange, first: int) -> None:
        self.retries += 1
        exchange.sent = first

    def _heed(self, frame: Frame, exchange: _Exchange) -> bool:
        """Act on what came; whether it shows that the board goes on.

        Raises:
            EdgeqError: it refuses a request.
        """
        if not frame.kind & ANSWER or frame.kind >> 6 != VERSION:
            return False
        i, under_way = exchange.index(frame.number), exchange.under_way
        if frame.command == Command.REFUSED and len(frame.payload) == REFUSAL.size:
            return self._refused(frame, exchange)
        if frame.command == Command.BUSY:
            return any(r.number == frame.number for r in under_way)
        if not exchange.take(frame):
            return False
        first = exchange.requests[exchange.done] if exchange.done < min(i, exchange.sent) else None
        if first is not None and not first.overtaken:
            first.overtaken = True
            self.retries += 1
            self._write(first.line)
        return True

    def _refused(self, frame: Frame, exchange: _Exchange) -> bool:
        why, detail = REFUSAL.unpack(frame.payload)
        under_way = exchange.under_way
        if why == Refusal.EXPECTED:
            i = exchange.index(detail)
            if exchange.done <= i < exchange.sent:
                self._again(exchange, i)
                return False
            return i == exchange.sent and any(r.command in (Command.INVOKE, Command.RESUME) for r in under_way)
        if not any(r.number == frame.number for r in under_way):
            return False
        if why == Refusal.NO_SESSION:
            fix = "run it again; watch its supply, and that no other program talks to it"
            raise EdgeqError("the board was restarted in the middle", where=self.port.url, fix=fix)
        reason = REASONS.get(why, f"reason {why}")
        raise EdgeqError("the board refuses a request", where=self.port.url, why=f"{reason}; detail {detail}")

    @contextlib.contextmanager
    def _port_errors(self) -> Iterator[None]:
        try:
            yield
        except serial.SerialTimeoutException as e:
            raise _Silence("it takes no bytes", self.port.url) from e
        except (serial.SerialException, OSError) as e:
            raise EdgeqError("the port is gone", where=self.port.url, why=reason(e), fix="connect the board again") from e

    def _write(self, data: bytes) -> None:
        with self._port_errors():
            self._line.write(data)
        self.sent += len(data)

    def _read(self) -> Frame | None:
        """The next frame, or None if none has come whole yet."""
        if not self._frames:
            with self._port_errors():
                data = self._line.read(max(1, self._line.in_waiting))
            if data:
                self._heard = time.monotonic()
                self.received += len(data)
                self._frames = list(self._decoder.feed(data))
        return self._frames.pop(0) if self._frames else None

    def close(self) -> None:
        """Let go of the port."""
        with contextlib.suppress(serial.SerialException, OSError):
            self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
