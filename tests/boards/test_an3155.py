"""The client of AN3155: chips' ROMs, damaged and hostile lines; what it costs, and what is refused before anything is written."""

from __future__ import annotations

import dataclasses
import random
import struct
import zlib
from pathlib import Path

import pytest
from fake import FakeBoard, FakeLine

from edgeq import board
from edgeq.board import Board
from edgeq.errors import EdgeqError
from edgeq.flash import an3155
from edgeq.flash.client import Client, write_all
from edgeq.flash.image import Firmware, sealed
from edgeq.flash.job import Job
from edgeq.target import load

SECTORS = [16384] * 4 + [65536] + [131072] * 7  # STM32F405
ORIGIN = 0x08000000


def firmware(size: int, origin: int) -> Firmware:
    start = struct.pack("<II", 0x20001000, origin + 9)
    return Firmware(Path("fw.elf"), ((origin, start + random.Random(size).randbytes(size - 8)),), "arm", {})


def chip() -> Board:
    """A board whose chip has a ROM bootloader."""
    flash = {**board.load(load("mps2-an386")).memory, "flash": board.Region(ORIGIN, 2**20)}
    settings = {"id": 0x413, "sectors": [[4, 16384], [1, 65536], [7, 131072]]}
    return dataclasses.replace(board.load(load("mps2-an386")), memory=flash, boot=None, settings=settings)


def job(place: Board, program: Firmware) -> Job:
    return Job(program, load("mps2-an386"), place, port="fake", baud=115200)


def flash(fake: FakeBoard, task: Job, monkeypatch: pytest.MonkeyPatch, answer: object = None) -> str:
    monkeypatch.setattr(an3155, "Line", lambda port, baud, even: FakeLine(answer or fake))  # type: ignore[arg-type]
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return an3155.program(task, lambda stage, done, total: None)


def test_a_chips_rom(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, program = FakeBoard(ORIGIN, 2**20, SECTORS, 0x413), firmware(70001, ORIGIN)
    done = flash(fake, job(chip(), program), monkeypatch)
    assert done == f"70004 bytes at {ORIGIN:#x}, verified, started" and fake.started == ORIGIN
    assert fake.memory[:70001] == program.data
    assert set(fake.memory[70001:131072]) == {0xFF} and set(fake.memory[131072:]) == {0}, "the sectors that it touches are erased"


def test_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for fake, place, program, words in (
        (FakeBoard(ORIGIN, 2**20, SECTORS, 0x419), chip(), firmware(1000, ORIGIN), "product number is 0x419, not 0x413"),
        (FakeBoard(ORIGIN, 2**20, SECTORS, 0x413), chip(), firmware(2**20 + 4, ORIGIN), "does not fit the flash"),
        (FakeBoard(ORIGIN, 2**20, SECTORS, 0x413), chip(), firmware(1000, ORIGIN - 500), "does not fit the flash"),
        (FakeBoard(ORIGIN, 2**20, SECTORS, 0x413), board.load(load("mps2-an386")), firmware(1000, 0x21000100), "not edgeq's bootloader"),
        (own(chip=0x4D03), board.load(load("mps2-an386")), firmware(1000, 0x21000100), "another board's than mps2-an386's"),
    ):
        with pytest.raises(EdgeqError, match=words):
            flash(fake, job(place, program), monkeypatch)
        assert set(fake.memory) == {0}, words


def own(chip: int = 0x4D04) -> FakeBoard:
    return FakeBoard(0x21000000, 4 * 2**20, [4096] * 1024, chip, own=True)


def test_wrong_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worn(FakeBoard):
        def store(self, data: bytes) -> bytes:
            answer = super().store(data)
            self.memory[self.address - self.origin + 2] &= 0x0F
            return answer

    for fake, place, origin in (
        (Worn(ORIGIN, 2**20, SECTORS, 0x413), chip(), ORIGIN),
        (Worn(0x21000000, 4 * 2**20, [4096] * 1024, 0x4D04, own=True), board.load(load("mps2-an386")), 0x21000100),
    ):
        with pytest.raises(EdgeqError, match="memory differs from the firmware"):
            flash(fake, job(place, firmware(9000, origin)), monkeypatch)
        assert fake.started is None


def test_a_program_that_is_not_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The board refuses, or says nothing and then nothing more: it may run."""

    class Refuses(FakeBoard):
        def go(self, data: bytes) -> bytes:
            return self.refuse()

    class Leaves(FakeBoard):
        def __call__(self, data: bytes) -> bytes:
            return b"" if self.started is not None else super().__call__(data)

        def go(self, data: bytes) -> bytes:
            super().go(data)
            return b""

    for kind, words in (
        (Refuses, r"the board refuses to start the program \(it is damaged there.*flash it again"),
        (Leaves, r"did not acknowledge the start of the program \(the board does not answer any more\).*verified: reset the board"),
    ):
        fake = kind(0x21000000, 4 * 2**20, [4096] * 1024, 0x4D04, own=True)
        with pytest.raises(EdgeqError, match=words):
            flash(fake, job(board.load(load("mps2-an386")), firmware(9000, 0x21000100)), monkeypatch)
    with pytest.raises(EdgeqError, match=r"refuses to start the program\. Fix"):
        flash(Refuses(ORIGIN, 2**20, SECTORS, 0x413), job(chip(), firmware(9000, ORIGIN)), monkeypatch)


def test_a_board_that_trickles_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte every half a second, whatever it is asked: no 65536 of them are waited for."""
    line, now = FakeLine(lambda data: b""), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def read(count: int, seconds: float) -> bytes:
        now[0] += 0.5
        return b"\x55"

    monkeypatch.setattr(line, "read", read)
    with pytest.raises(EdgeqError, match="does not stop sending"):
        line.quiet(0.6)
    assert now[0] < 12


@pytest.mark.parametrize("rate", [0.002, 0.02])
def test_a_damaged_line_never_leads_to_a_wrong_success(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    place = board.load(load("mps2-an386"))
    assert place.boot is not None
    program, succeeded = firmware(20000, 0x21000100), 0
    image = b"".join(sealed(program, place.boot))
    for seed in range(40):
        fake, dice = own(), random.Random(seed)

        def noisy(data: bytes, dice: random.Random = dice) -> bytes:
            return bytes(b ^ (1 << dice.randrange(8)) if dice.random() < rate else b for b in data if dice.random() >= rate / 4)

        try:
            flash(fake, job(place, program), monkeypatch, lambda data, f=fake, n=noisy: n(f(data)))
        except EdgeqError:
            continue
        succeeded += 1
        assert fake.memory[: len(image)] == image
    assert succeeded > (20 if rate < 0.01 else 0)


def test_hostile_answers_end_in_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 000 answers without sense, some of them likely bytes: every session ends, and not with an error of Python's."""
    place, answers, likely = board.load(load("mps2-an386")), 0, bytes([0x79, 0x79, 0x79, 0x79, 0x79, 0x79, 0x1F, 0x00, 0x01, 0x0F, 0x0A])
    clock, dice, fake, errors = iter(range(10**9)), random.Random(0), own(), 0
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    def answer(data: bytes) -> bytes:
        nonlocal answers
        answers += 1
        if sensible and dice.random() < 0.9:
            return fake(data)
        noise = dice.randbytes(dice.choice((0, 1, 1, 2, 20, 300)))
        return noise if dice.random() < 0.3 else bytes(dice.choices(likely, k=dice.randrange(6)))

    jobs = job(place, firmware(20000, 0x21000100)), job(chip(), firmware(20000, ORIGIN))
    while answers < 100_000:
        sensible = dice.random() < 0.5
        try:
            flash(fake, dice.choice(jobs), monkeypatch, answer)
        except EdgeqError:
            errors += 1
    assert errors > 1000


def test_a_board_that_never_stops_sending() -> None:
    line = FakeLine(lambda data: b"\x55" * 10**6)
    with pytest.raises(EdgeqError, match="does not stop sending"):
        Client(line).open()


@pytest.mark.parametrize("size", [1024, 4096, 100_000])
def test_overhead_of_large_blocks(size: int) -> None:
    """All bytes in both directions for the payload, with edgeq's WRITE BLOCK: 3 % at most from 1 kB on."""
    fake, moved = own(), 0

    def counted(data: bytes) -> bytes:
        nonlocal moved
        answer = fake(data)
        moved += len(data) + len(answer)
        return answer

    client = Client(FakeLine(counted)).open()
    client.erase([*range(-(-size // 4096))])
    moved = 0
    write_all(client, 0x21000000, random.Random(0).randbytes(size), 4096, lambda *a: None)
    assert fake.memory[:size] == random.Random(0).randbytes(size)
    assert moved - size <= 0.03 * size
    moved = 0
    assert client.check(0x21000000, size) == zlib.crc32(fake.memory[:size])
    assert moved < 24, "and its check costs next to nothing"
