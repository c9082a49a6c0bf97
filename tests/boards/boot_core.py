"""edgeq's bootloader, compiled for a Cortex-M4, on unicorn's core: power fails at writes to its memory, images are bad or never
confirm themselves, and a program has to run. ``python tests/boards/boot_core.py --every 1`` tries every single write.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from pathlib import Path

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const as arm

from edgeq import board
from edgeq.board import IMAGE_HEADER, Boot
from edgeq.build import build_bootloader, toolchain
from edgeq.flash import image
from edgeq.flash.client import EXTENDED_ERASE, GO, SYNC, WRITE, WRITE_BLOCK
from edgeq.flash.image import Firmware
from edgeq.target import load

TARGET = "mps2-an386"
DEVICES, DEVICE_BYTES, SYSTEM_CONTROL = 0x40000000, 0x10000, 0xE000E000
SEEN = 8192  # bytes of a slot; a sector has 4096
LAST = 5_000_000  # instructions, more than any run takes
BYTE = 2170  # ticks, at 115 200 bits per second
SLOW = 10_000_000  # 0.4 s


class PowerFailed(Exception):
    """It did, at a write."""


@dataclass
class Core:
    """A board: what its memory holds between two power failures.

    Attributes:
        flash: the first `SEEN` bytes of each slot; images are shorter.
        note: the end of RAM, which a restart leaves and a power failure does not.
        writes: to the region, of the last run.
        watchdog: whether the last run started it.
        said: what the last run has answered.
        ticks: of its clock when it ended.
        worn: whether writing fails.
    """

    elf: Path
    boot: Boot
    flash: bytearray = field(default_factory=bytearray)
    note: bytes = bytes(8)
    writes: int = 0
    watchdog: bool = False
    said: bytes = b""
    ticks: int = 0
    worn: bool = False

    def __post_init__(self) -> None:
        with self.elf.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            self.symbols = {s.name: int(s["st_value"]) for s in table.iter_symbols()}
        self.firmware = image.read(self.elf)
        self.flash = self.flash or bytearray(b"\xff" * 2 * SEEN)

    def run(self, line: bytes = b"", cut: int = -1, noise: int | None = None, slow: int | None = None) -> int | None:
        """From reset to the start of an application: the slot that is started, None if nothing is.

        Args:
            line: what a programmer sends.
            noise: seed of bytes that never end and come after it; None: silence.
            cut: the write to the region before which power fails.
            slow: the byte of the line from which on each takes `SLOW` ticks.

        Raises:
            PowerFailed: it did.
        """
        engine, region = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB), self.boot.application
        engine.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        place = board.load(load(TARGET))
        ram = place.memory["ram"]
        engine.mem_map(0, 1 << 20)
        engine.mem_map(ram.origin, ram.bytes)
        engine.mem_map(region.origin, region.bytes)
        engine.mem_map(DEVICES, DEVICE_BYTES)
        engine.mem_map(SYSTEM_CONTROL, 4096)
        engine.mem_write(self.firmware.origin, self.firmware.data)
        for slot, program in enumerate(self.boot.programs):
            engine.mem_write(program.origin - IMAGE_HEADER, bytes(self.flash[slot * SEEN : (slot + 1) * SEEN]))
        engine.mem_write(self.symbols["eq_boot_note"], self.note)
        said, dice = bytearray(), random.Random(noise)
        state: dict[str, int | None] = {"at": 0, "writes": 0, "clock": 0, "slot": None, "failed": 0, "watchdog": 0}

        def give(value: int) -> None:
            engine.reg_write(arm.UC_ARM_REG_R0, value)
            engine.reg_write(arm.UC_ARM_REG_PC, engine.reg_read(arm.UC_ARM_REG_LR))

        def read() -> None:
            data, count, ticks = (engine.reg_read(r) for r in (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2))
            now = line[state["at"] : state["at"] + count]
            late = 0 if slow is None else min(len(now), max(0, state["at"] + len(now) - slow))
            if late and ticks < SLOW:
                now, late = now[:-late], 0
            state["at"] += len(now)
            now += b"" if noise is None else dice.randbytes(count - len(now))
            state["clock"] += BYTE * (len(now) - late) + SLOW * late + (ticks if len(now) < count else 0)
            engine.mem_write(data, now)
            give(len(now))

        def write() -> None:
            said.extend(engine.mem_read(*(engine.reg_read(r) for r in (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1))))
            give(0)

        def clock() -> None:
            state["clock"] += 1000
            give(state["clock"] & 0xFFFFFFFF)

        def start() -> None:
            state["slot"] = (engine.reg_read(arm.UC_ARM_REG_R0) - region.origin) // self.boot.slot_bytes
            engine.emu_stop()

        entries = {
            "eq_board_init": lambda: give(0), "eq_board_write": write, "eq_board_read": read,
            "eq_board_clock": clock, "eq_boot_start": start,
        } | ({"eq_flash_write": lambda: give(1)} if self.worn else {})  # fmt: skip
        at = {self.symbols[name] & ~1: action for name, action in entries.items()}
        for address in at:
            engine.hook_add(unicorn.UC_HOOK_CODE, lambda uc, pc, size, data: at[pc](), None, address, address)

        def stored(uc: unicorn.Uc, access: int, address: int, size: int, value: int, data: object) -> None:
            if state["writes"] == cut:
                state["failed"] = 1
                self.flash[:] = self.read(uc)
                uc.emu_stop()
            state["writes"] += 1

        def watched(uc: unicorn.Uc, access: int, address: int, size: int, value: int, data: object) -> None:
            state["watchdog"] = 1

        engine.hook_add(unicorn.UC_HOOK_MEM_WRITE, stored, None, region.origin, region.origin + region.bytes - 1)
        engine.hook_add(unicorn.UC_HOOK_MEM_WRITE, watched, None, DEVICES + 0x8008, DEVICES + 0x8008)
        engine.emu_start(self.symbols["eq_reset"] | 1, 0xFFFFFFFE, count=LAST)
        self.writes, self.watchdog = int(state["writes"] or 0), bool(state["watchdog"])
        self.said, self.ticks = bytes(said), int(state["clock"] or 0)
        if state["failed"]:
            self.note = bytes(8)
            raise PowerFailed
        self.flash[:] = self.read(engine)
        self.note = bytes(engine.mem_read(self.symbols["eq_boot_note"], 8))
        return state["slot"]

    def read(self, engine: unicorn.Uc) -> bytes:
        """What `flash` holds of the core's memory."""
        return b"".join(bytes(engine.mem_read(program.origin - IMAGE_HEADER, SEEN)) for program in self.boot.programs)

    def confirm(self, slot: int) -> None:
        """What an application notes before it restarts the board (firmware/lib/confirm.c)."""
        at = slot * SEEN
        self.note = b"CONF" + bytes(self.flash[at + 20 : at + 24])

    def mark(self, slot: int, offset: int) -> None:
        """Make one of the bootloader's marks."""
        at = slot * SEEN + offset
        self.flash[at : at + 4] = bytes(4)

    def put(self, slot: int, content: tuple[bytes, bytes], *, confirmed: bool) -> None:
        """What an update has left in a slot."""
        at, whole = slot * SEEN, b"".join(content)
        self.flash[at : at + len(whole)] = whole
        if confirmed:
            self.mark(slot, TRIED)
            self.mark(slot, CONFIRMED)


SEQUENCE = 8  # of the update
TRIED, CONFIRMED = 64, 128  # slots.c
OLD, NEW = 600, 500  # bytes of the programs


def content(boot: Boot, slot: int, size: int, version: int, sequence: int, *, downgrade: bool = False) -> tuple[bytes, bytes]:
    """Header and program of an image; the program begins with a stack pointer and an entry, as a Cortex-M's do."""
    start = struct.pack("<II", boot.ram.origin + boot.ram.bytes, boot.programs[slot].origin + 9)
    program = (start + bytes((i * 7 + size) % 251 for i in range(8, size)))[:size]
    firmware = Firmware(Path("fw.elf"), ((boot.programs[slot].origin, program),), "arm", {}, version)
    return image.sealed_for_slot(firmware, boot, sequence, allow_downgrade=downgrade)


def sealed(data: bytes) -> bytes:
    """With the modulo-2 sum behind it."""
    return data + bytes([reduce(xor, data, 0)])


def update(boot: Boot, slot: int, new: tuple[bytes, bytes]) -> bytes:
    """What a programmer sends to write an image into a slot."""
    header, program = new
    start, page = boot.application.origin + slot * boot.slot_bytes, slot * boot.slot_bytes // boot.sector

    def command(code: int) -> bytes:
        return bytes([code, code ^ 0xFF])

    return b"".join([
        bytes([SYNC]), command(EXTENDED_ERASE), sealed(struct.pack(">HH", 0, page)),
        command(WRITE_BLOCK), sealed(struct.pack(">IH", start + len(header), len(program))), program,
        struct.pack(">I", zlib.crc32(program)),
        command(WRITE), sealed(struct.pack(">I", start)), sealed(bytes([len(header) - 1]) + header),
    ])  # fmt: skip


def go(boot: Boot, slot: int) -> bytes:
    """What a programmer sends to have a slot started."""
    return bytes([SYNC, GO, GO ^ 0xFF]) + sealed(struct.pack(">I", boot.application.origin + slot * boot.slot_bytes))


def core(work: Path) -> Core:
    """A board with a confirmed program, version 2.0.0, in its first slot, and the rest of an older update in the other."""
    target = load(TARGET)
    boot = board.load(target).boot
    assert boot is not None and boot.slots == 2
    made = Core(build_bootloader(target, toolchain(target), work / "boot.elf"), boot)
    made.put(0, content(boot, 0, OLD, 2 << 24, 7), confirmed=True)
    made.put(1, content(boot, 1, OLD, 1 << 24, 6), confirmed=True)
    return made


def trial(made: Core, before: bytes, line: bytes, cut: int, confirms: bool) -> tuple[bool, str]:
    """An update that power cuts short: whether it was, and what is wrong then.

    Args:
        line: an update of slot 1.
        confirms: whether its program confirms itself when it is started.
    """
    made.flash[:], made.note, left, failed = before, bytes(8), cut, False
    for sent in (line, b"", b""):  # the update; then the restarts of the trial and of its end
        try:
            slot = made.run(sent, left)
        except PowerFailed:
            failed = True
            break
        left -= made.writes
        if slot is None:
            return False, "nothing was started"
        if slot == 1 and confirms:
            made.confirm(1)
    started = [made.run() for _ in range(3)]
    if None in started:
        return failed, f"no program was started: {started}"
    new = bytes(made.flash[SEEN:])
    confirmed = new[20:24] == struct.pack("<I", SEQUENCE) and not any(new[CONFIRMED : CONFIRMED + 4])
    if started[1:] != [int(confirmed)] * 2 or (confirmed and not confirms):
        return failed, f"slots {started} were started, the new program was {'' if confirmed else 'not '}confirmed"
    same = made.flash[:SEEN] == before[:SEEN]
    return failed, "" if same else "the old program was changed"


def cuts(made: Core, every: int) -> tuple[int, list[str]]:
    """Power failures at every so many writes of an update, of a good program and of one that never confirms itself; and those of
    the last writes, which decide."""
    before, tried, wrong = bytes(made.flash), 0, []
    line = update(made.boot, 1, content(made.boot, 1, NEW, 3 << 24, SEQUENCE))
    for confirms in (True, False):
        made.flash[:], made.note, total = before, bytes(8), 0
        for sent in (line, b"", b""):
            if made.run(sent) == 1 and confirms:
                made.confirm(1)
            total += made.writes
        for cut in sorted({*range(0, total, every), *range(total - 12, total)}):
            failed, what = trial(made, before, line, cut, confirms)
            tried += failed
            wrong += [f"write {cut} of {total}: {what}"] if what else []
    made.flash[:] = before
    return tried, wrong


def main() -> int:
    """Print how many power failures were tried, and those after which something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try every so many writes")
    with tempfile.TemporaryDirectory() as work:
        tried, wrong = cuts(core(Path(work)), parser.parse_args().every)
    print("\n".join([*wrong, f"{tried} power failures, {len(wrong)} failed"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
