"""A board's bootloader in Python, for what no emulator has: ROMs of chips, damaged lines, hostile answers."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import reduce
from operator import xor

from edgeq.flash.line import Line

ACK, NACK = 0x79, 0x1F
ROM = bytes([0x31, 0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x44])
OWN = bytes([*ROM, 0xE0, 0xE1, 0xE2])


class FakeLine(Line):
    """A line whose other end is a function from what is sent to what is answered; silence takes no time."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.port, self.baud, self.answer, self.waiting = "fake", 115200, answer, bytearray()

    def write(self, data: bytes) -> None:
        self.waiting += self.answer(data)

    def read(self, count: int, seconds: float) -> bytes:
        data, self.waiting = bytes(self.waiting[:count]), self.waiting[count:]
        return data

    def __exit__(self, *error: object) -> None:
        pass

    def signals(self, dtr: bool | None, rts: bool | None) -> None:
        pass


class FakeBoard:
    """Answers as AN3155 says, or as edgeq's bootloader with its own commands; call it with what was sent."""

    def __init__(self, origin: int, size: int, sectors: list[int], chip: int, *, own: bool = False, block: int = 4096) -> None:
        self.origin, self.sectors, self.chip, self.block = origin, sectors, chip, block
        self.memory, self.known = bytearray(size), OWN if own else ROM
        self.started: int | None = None
        self.pending: list[Callable[[bytes], bytes]] = []
        self.buffer, self.address = b"", 0

    def __call__(self, data: bytes) -> bytes:
        if self.pending:
            return self.pending.pop(0)(data)
        if data == b"\x7f":
            return bytes([ACK])
        if len(data) != 2 or data[0] ^ data[1] != 0xFF or data[0] not in self.known:
            return bytes([NACK])
        return self.command(data[0])

    def list(self, data: bytes) -> bytes:
        return bytes([ACK, len(data) - 1, *data, ACK])

    def command(self, code: int) -> bytes:
        if code == 0x00:
            return self.list(self.known)
        if code == 0x02:
            return self.list(self.chip.to_bytes(2, "big"))
        if code == 0xE0:
            words = (self.origin, len(self.memory), self.sectors[0], self.block)
            return self.list(b"".join(w.to_bytes(4, "big") for w in words))
        steps = {
            0x11: [self.take_address, self.read], 0x21: [self.go], 0x31: [self.take_address, self.write], 0x44: [self.erase],
            0xE1: [self.take_address, self.write_block], 0xE2: [self.check],
        }  # fmt: skip
        self.pending = list(steps[code])
        return bytes([ACK])

    def refuse(self) -> bytes:
        self.pending = []
        return bytes([NACK])

    def intact(self, data: bytes) -> bool:
        return reduce(xor, data, 0) == 0

    def inside(self, count: int) -> bool:
        return self.origin <= self.address and self.address + count <= self.origin + len(self.memory)

    def take_address(self, data: bytes) -> bytes:
        self.address = int.from_bytes(data[:4], "big")
        return bytes([ACK]) if self.intact(data) and self.inside(1) else self.refuse()

    def read(self, data: bytes) -> bytes:
        at, n = self.address - self.origin, data[0] + 1
        return bytes([ACK]) + self.memory[at : at + n] if data[0] ^ data[1] == 0xFF and self.inside(n) else self.refuse()

    def store(self, data: bytes) -> bytes:
        at = self.address - self.origin
        new, old = (int.from_bytes(x, "big") for x in (data, self.memory[at : at + len(data)]))
        if not self.inside(len(data)) or len(data) % 4 or new & old != new:
            return self.refuse()
        self.memory[at : at + len(data)] = data
        return bytes([ACK])

    def write(self, data: bytes) -> bytes:
        return self.store(data[1:-1]) if self.intact(data) and len(data) == data[0] + 3 else self.refuse()

    def write_block(self, data: bytes) -> bytes:
        return self.store(data[:-4]) if zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big") else self.refuse()

    def check(self, data: bytes) -> bytes:
        at, n = (int.from_bytes(data[i : i + 4], "big") for i in (0, 4))
        if not self.intact(data) or at < self.origin or at + n > self.origin + len(self.memory):
            return self.refuse()
        crc = zlib.crc32(self.memory[at - self.origin : at - self.origin + n])
        return bytes([ACK]) + crc.to_bytes(4, "big") + bytes([ACK])

    def erase(self, data: bytes) -> bytes:
        pages = [int.from_bytes(data[i : i + 2], "big") for i in range(2, len(data) - 1, 2)]
        if not self.intact(data) or len(pages) != int.from_bytes(data[:2], "big") + 1 or max(pages) >= len(self.sectors):
            return self.refuse()
        for page in pages:
            at = sum(self.sectors[:page])
            self.memory[at : at + self.sectors[page]] = b"\xff" * self.sectors[page]
        return bytes([ACK])

    def go(self, data: bytes) -> bytes:
        self.started = int.from_bytes(data[:4], "big")
        return bytes([ACK]) if self.intact(data) else self.refuse()
