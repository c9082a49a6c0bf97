"""edgeq's bootloader, compiled for a Cortex-M4, on unicorn's core: what it starts, what it answers, what it writes."""

from __future__ import annotations

import copy
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import boot_core
import pytest
from installed import need

from edgeq.errors import EdgeqError
from edgeq.flash import client, image


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> boot_core.Core:
    need(boot_core.TARGET, "zig")
    return boot_core.core(tmp_path_factory.mktemp("core"))


def test_power_fails_on_an_emulated_core(core: boot_core.Core) -> None:
    """The compiled bootloader: the old program runs after every failure, or the new one, which has confirmed itself."""
    tried, wrong = boot_core.cuts(core, every=97)
    assert not wrong and tried > 30


def test_a_program_is_tried_once_under_a_watchdog(core: boot_core.Core) -> None:
    made, boot = copy.deepcopy(core), core.boot
    assert made.run(boot_core.update(boot, 1, boot_core.content(boot, 1, 500, 3 << 24, 8))) == 1 and made.watchdog
    assert made.run() == 0 and not made.watchdog, "it did not confirm itself"
    assert made.run(boot_core.update(boot, 1, boot_core.content(boot, 1, 500, 3 << 24, 8))) == 1
    made.confirm(1)
    assert made.run() == 1 and not made.watchdog
    made.flash[boot_core.SEEN + 400] ^= 1  # the confirmed program is damaged: the one of before is there
    assert made.run() == 0


def test_what_the_bootloader_does_not_start(core: boot_core.Core) -> None:
    """A bad image, an older version, one of another core, marks made by a client, the slot of what runs."""
    boot = core.boot
    header, program = boot_core.content(boot, 1, 500, 3 << 24, 8)
    older, wanted = (boot_core.content(boot, 1, 500, 1 << 24, 8, downgrade=d) for d in (False, True))
    other = boot_core.content(replace(boot, core=0x4D03), 1, 500, 3 << 24, 8)
    confirmed = (header[: boot_core.CONFIRMED] + bytes(4) + header[boot_core.CONFIRMED + 4 :], program)
    cases = {
        "good": ((header, program), 1), "bad": ((header, bytes([program[0] ^ 1]) + program[1:]), 0), "older": (older, 0),
        "older, wanted": (wanted, 1), "core": (other, 0), "confirmed by a client": (confirmed, 0),
        "not later": (boot_core.content(boot, 1, 500, 3 << 24, 7), 0),
    }  # fmt: skip
    for name, (content, started) in cases.items():
        made = copy.deepcopy(core)
        assert made.run(boot_core.update(boot, 1, content)) == started, name
    made, before = copy.deepcopy(core), bytes(core.flash)
    assert made.run(boot_core.update(boot, 0, boot_core.content(boot, 0, 500, 3 << 24, 8))) == 0 and made.flash == before


def test_what_is_started_is_acknowledged(core: boot_core.Core) -> None:
    """A call, the command and the address; the trial is marked before, and where it cannot be, nothing is started."""
    boot, yes, no = core.boot, bytes([client.ACK]), bytes([client.NACK])
    made = copy.deepcopy(core)
    assert made.run(boot_core.go(boot, 0)) == 0 and made.said == 3 * yes
    new = boot_core.update(boot, 1, boot_core.content(boot, 1, 500, 3 << 24, 8))
    assert made.run(new + boot_core.go(boot, 1)) == 1 and made.said == 12 * yes and made.watchdog
    worn = copy.deepcopy(core)
    worn.put(1, boot_core.content(boot, 1, 500, 3 << 24, 8), confirmed=False)
    worn.worn = True
    assert worn.run(boot_core.go(boot, 1)) == 0 and worn.said == 2 * yes + no and not worn.watchdog, "the program of before runs"
    empty = copy.deepcopy(core)
    empty.flash[:] = b"\xff" * len(empty.flash)
    assert empty.run(boot_core.go(boot, 0)) is None and empty.said == 2 * yes + no


def test_images_that_cannot_run_are_not_started(core: boot_core.Core) -> None:
    """Stack pointers outside of RAM, entries outside of the program: their checksums are right. The computer refuses them too."""
    boot, ram = core.boot, core.boot.ram
    top, begin, size = ram.origin + ram.bytes, boot.programs[1].origin, 500
    good = {"top": (top, begin + 9), "bottom": (ram.origin + 4, begin + 9), "last": (top, begin + size - 1)}
    bad = {
        "no stack": (ram.origin, begin + 9), "below": (ram.origin - 4, begin + 9), "above": (top + 4, begin + 9),
        "odd": (top - 1, begin + 9), "Arm state": (top, begin + 8), "vectors": (top, begin + 1), "before": (top, begin - 1),
        "behind": (top, begin + size + 1), "other slot": (top, boot.programs[0].origin + 9), "zero": (0, 0),
        "erased": (2**32 - 1, 2**32 - 1),
    }  # fmt: skip

    def image_of(words: tuple[int, int], length: int = size) -> image.Firmware:
        return image.Firmware(Path("fw.elf"), ((begin, (struct.pack("<II", *words) + bytes(size))[:length]),), "arm", {}, 3 << 24)

    def started(program: image.Firmware, monkeypatch: pytest.MonkeyPatch) -> int | None:
        made = copy.deepcopy(core)
        monkeypatch.setattr(image, "check_start", lambda firmware, ram: None)
        return made.run(boot_core.update(boot, 1, image.sealed_for_slot(program, boot, 8)) + boot_core.go(boot, 1))

    programs = {name: (image_of(words), 0) for name, words in bad.items()} | {name: (image_of(words), 1) for name, words in good.items()}
    for name, (program, slot) in (programs | {"short": (image_of((top, begin + 9), 4), 0)}).items():
        with pytest.MonkeyPatch.context() as patch:
            assert started(program, patch) == slot, name
        if slot:
            image.sealed_for_slot(program, boot, 8)
        else:
            with pytest.raises(EdgeqError, match="would not start"):
                image.sealed_for_slot(program, boot, 8)


@pytest.mark.parametrize("noise", range(4))
def test_noise_that_does_not_end_does_not_keep_a_board(noise: int, core: boot_core.Core) -> None:
    """The program is started within half a minute, whether noise comes at once, within a command, or after an update."""
    boot, seconds = core.boot, 25_000_000
    new = boot_core.update(boot, 1, boot_core.content(boot, 1, 500, 3 << 24, 8))
    for line, slot in ((b"", 0), (bytes([boot_core.SYNC]), 0), (new[:-7], 0), (new, 1)):
        made = copy.deepcopy(core)
        assert made.run(line, noise=noise) == slot and made.ticks < 30 * seconds, len(line)


def test_a_block_that_trickles_in_ends(core: boot_core.Core) -> None:
    """Of 500 bytes, 0.4 s each, the first takes the board's patience; the old program runs within half a minute, not after 200 s."""
    boot, seconds = core.boot, 25_000_000
    line = boot_core.update(boot, 1, boot_core.content(boot, 1, 500, 3 << 24, 8))
    for slow in (len(line) - 700, len(line) - 400):
        made = copy.deepcopy(core)
        assert made.run(line[: slow + 75], slow=slow) == 0 and made.ticks < 30 * seconds, slow
    assert copy.deepcopy(core).run(line, slow=len(line)) == 1


def test_a_program_that_never_ran_cannot_confirm_itself(core: boot_core.Core) -> None:
    made = copy.deepcopy(core)
    made.put(1, boot_core.content(core.boot, 1, 500, 3 << 24, 8), confirmed=False)
    made.confirm(1)
    assert made.run() == 1 and made.watchdog, "it is tried all the same"
    assert made.run() == 0


def test_damaged_frames_write_nothing(core: boot_core.Core) -> None:
    """A wrong checksum of a command, an address, a block or bytes, and a block that is too long; whole ones do write."""
    start, page = core.boot.application.origin + core.boot.slot_bytes, core.boot.slot_bytes // core.boot.sector
    erase = bytes([boot_core.SYNC]) + frame(boot_core.EXTENDED_ERASE) + boot_core.sealed(struct.pack(">HH", 0, page))

    def block(size: int, seal: int = 0, crc: int = 0) -> bytes:
        where, data = boot_core.sealed(struct.pack(">IH", start + 1024, size)), b"\x5a" * size
        return frame(boot_core.WRITE_BLOCK) + flipped(where, seal) + data + struct.pack(">I", zlib.crc32(data) ^ crc)

    def write(seal: int = 0, total: int = 0) -> bytes:
        data = boot_core.sealed(bytes([63]) + b"\x5a" * 64)
        return frame(boot_core.WRITE) + flipped(boot_core.sealed(struct.pack(">I", start + 1024)), seal) + flipped(data, total)

    def left(line: bytes) -> bytes:
        made = copy.deepcopy(core)
        made.run(erase + line)
        return bytes(made.flash)

    erased = left(b"")
    assert left(block(64)) != erased and left(block(64)) == left(write()) and left(block(2048)) != erased
    unsure = bytes([boot_core.WRITE_BLOCK, boot_core.WRITE_BLOCK ^ 0xFE]) + block(64)[2:]
    for damaged in (unsure, block(64, seal=1), block(64, crc=1), block(4100), write(seal=1), write(total=1)):
        assert left(damaged) == erased
    made = copy.deepcopy(core)
    made.run(flipped(erase, 1))
    assert made.flash == core.flash != erased


def frame(code: int) -> bytes:
    return bytes([code, code ^ 0xFF])


def flipped(data: bytes, last: int) -> bytes:
    """With bits of the last byte flipped."""
    return data[:-1] + bytes([data[-1] ^ last])


def test_an_image_of_no_bytes_is_none(core: boot_core.Core, monkeypatch: pytest.MonkeyPatch) -> None:
    made = copy.deepcopy(core)
    monkeypatch.setattr(image, "check_start", lambda firmware, ram: None)
    made.put(1, boot_core.content(core.boot, 1, 0, 3 << 24, 8), confirmed=False)
    assert made.run() == 0


def test_the_number_of_an_update_may_wrap(core: boot_core.Core) -> None:
    made, boot = copy.deepcopy(core), core.boot
    for slot, sequence in ((0, 2**32 - 2), (1, 2**32 - 3)):
        made.put(slot, boot_core.content(boot, slot, boot_core.OLD, 2 << 24, sequence), confirmed=True)
    assert made.run() == 0
    assert made.run(boot_core.update(boot, 1, boot_core.content(boot, 1, 500, 3 << 24, 1))) == 1
    made.confirm(1)
    assert made.run() == made.run() == 1
