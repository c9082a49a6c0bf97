"""edgeq's bootloader: with one slot, and with two, where the new program is tried before the old one is given up."""

from __future__ import annotations

import contextlib
import time
import zlib
from dataclasses import replace

from edgeq.board import Boot
from edgeq.board import Region as Place
from edgeq.errors import EdgeqError
from edgeq.flash.client import (
    ACK,
    CHECK,
    CONFIRMED,
    DESCRIBE,
    EMPTY,
    SLOTS,
    SYNC,
    TRIED,
    WRITE_BLOCK,
    Client,
    Garbled,
    Held,
    Refused,
    Region,
    Unacknowledged,
    erase_all,
    write_all,
)  # fmt: skip
from edgeq.flash.image import Firmware, sealed, sealed_for_slot
from edgeq.flash.job import Job, Progress
from edgeq.run.link import HELLO, RESTART
from edgeq.slots import version_text

CALLS, CALL = 20, 0.1  # calls, and seconds between them, while a program is tried: the bootloader listens for half a second
ANSWERS = 0.3  # seconds for the program's own answer


def program(client: Client, job: Job, progress: Progress) -> str:
    """Erase, write, verify, start. The header comes last, so that an image is complete or none."""
    boot = job.board.boot
    assert boot is not None
    if not {DESCRIBE, WRITE_BLOCK, CHECK} <= client.commands:
        raise EdgeqError("this is not edgeq's bootloader", where=client.line.port, fix="check --board")
    core, region = client.again(client.get_id), client.again(client.describe)
    if (core, region.origin, region.bytes) != (boot.core, boot.application.origin, boot.application.bytes):
        why = f"its core is {core:#x}, its application lies at {region.origin:#x}"
        what = f"the bootloader is another board's than {job.target.name}'s"
        raise EdgeqError(what, where=client.line.port, why=why, fix="check --board")
    if SLOTS in client.commands:
        return _update(client, job, region, replace(boot, slots=2), progress)
    place = replace(boot, slots=1).program
    _check_place(job, place, "the application's region")
    header, body = sealed(job.firmware, boot)
    _store(client, place, header, body, region, progress)
    if job.start:
        client.start(boot.application.origin, len(body))
    return f"{len(body)} bytes at {place.origin:#x}, verified{', started' if job.start else ''}"


def _check_place(job: Job, place: Place, name: str) -> None:
    job.check_region(place.origin, place.bytes, name)
    if job.firmware.origin != place.origin:
        raise EdgeqError("the firmware does not begin where the bootloader starts it", where=str(job.firmware.path),
                         why=f"{job.firmware.origin:#x} is not {place.origin:#x}")  # fmt: skip


def _store(client: Client, place: Place, header: bytes, body: bytes, region: Region, progress: Progress) -> None:
    """Write an image whose program lies at `place`."""
    start = place.origin - len(header)
    first = (start - region.origin) // region.sector
    erase_all(client, range(first, first + -(-(len(header) + len(body)) // region.sector)), progress)
    write_all(client, place.origin, body, region.block, progress)
    progress("verify", 0, 1)
    if client.again(client.check, place.origin, len(body)) != zlib.crc32(body):
        fix = "flash it again; its memory may be worn"
        raise EdgeqError("the board's memory differs from the firmware", where=client.line.port, fix=fix)
    client.again(client.write, start, header)
    progress("verify", 1, 1)


def _update(client: Client, job: Job, region: Region, boot: Boot, progress: Progress) -> str:
    """Write the slot that is free, start what is there, and see whether it confirms itself."""
    slots = client.again(client.slots, region)
    if slots.bytes != boot.slot_bytes:
        why = f"{slots.bytes} bytes, not {boot.slot_bytes}"
        raise EdgeqError("the bootloader's slots are not this board's", where=client.line.port, why=why, fix="check --board")
    free, kept = slots.free, None if slots.kept is None else slots.held[slots.kept]
    job = replace(job, firmware=_linked(job.firmware, free))
    place, version = boot.programs[free], version_text(job.firmware.version)
    _check_place(job, place, f"slot {free + 1}")
    _check_version(job, kept, client.line.port)
    sequence = (slots.held[1 - free].sequence if slots.held[1 - free].state != EMPTY else 0) + 1 & 0xFFFFFFFF
    header, body = sealed_for_slot(job.firmware, boot, sequence, allow_downgrade=job.allow_downgrade)
    _store(client, place, header, body, region, progress)
    done = f"version {version}, {len(body)} bytes at {place.origin:#x} in slot {free + 1}, verified"
    if not job.start:
        return f"{done}; the next restart tries it"
    with contextlib.suppress(Unacknowledged):  # a program that was started shows itself
        client.start(place.origin - len(header), len(body))
    _try(client, region, free, boot.trial + 2 * len(body) / 1e6, kept)
    client.start(boot.application.origin, len(body))
    return f"{done}, started, confirmed"


def _linked(firmware: Firmware, slot: int) -> Firmware:
    """The program for a slot.

    Raises:
        EdgeqError: the file has none for the second.
    """
    if slot == 0:
        return firmware
    if firmware.second is None:
        fix = "`edgeq firmware` links it for both where it fits one; else the board needs a bootloader with one slot (--slots 1)"
        raise EdgeqError("the firmware has no program for the second slot, which is the free one", where=str(firmware.path), fix=fix)
    return replace(firmware.second, version=firmware.version)


def _check_version(job: Job, kept: Held | None, port: str) -> None:
    if kept is not None and job.firmware.version < kept.version and not job.allow_downgrade:
        why = f"it runs {version_text(kept.version)}, and this is {version_text(job.firmware.version)}"
        raise EdgeqError("the board runs a newer version", where=port, why=why, fix="--allow-downgrade puts the older one there")


def _try(client: Client, region: Region, slot: int, seconds: float, kept: Held | None) -> None:
    """Wait until the program in `slot` has confirmed itself and the board has restarted into its bootloader.

    A program that serves the link confirms itself when a host greets it; others do so when they know that they work. Then the
    board restarts: the bootloader answers the next call.

    Raises:
        EdgeqError: it did not. Its last words are in the message.
    """
    begin, said = time.monotonic(), bytearray()
    while (spent := time.monotonic() - begin) < seconds:
        client.line.write(HELLO if spent < seconds / 2 else RESTART)  # it may be confirmed and run already
        said += client.line.read(4096, ANSWERS)
        if _called(client):
            state = client.again(client.slots, region).held[slot].state
            if state == CONFIRMED:
                return
            client.start(region.origin, region.bytes)
            raise _unconfirmed(client, said, kept, "it restarted unconfirmed" if state == TRIED else "it was not tried")
    raise _unconfirmed(client, said, kept, f"it did not restart within {seconds:.0f} s")


def _called(client: Client) -> bool:
    """Whether the bootloader is there, and not a program that says something that looks like it."""
    for _ in range(CALLS):
        client.line.write(bytes([SYNC]))
        if client.line.read(1, CALL):
            break
    else:
        return False
    client.line.quiet(0.05)
    try:
        client.get()
    except (Garbled, Refused):
        return False
    return True


def _unconfirmed(client: Client, said: bytearray, kept: Held | None, why: str) -> EdgeqError:
    words = bytes(c for c in said if 32 <= c < 127 or c == 10).decode().rstrip(chr(ACK) + "\n").splitlines()
    last = f"; it said '{words[-1][-60:]}'" if words else ""
    what = "the new program did not confirm that it works"
    if kept is None:
        return EdgeqError(what, where=client.line.port, why=why + last, fix="no confirmed one was there before: flash another one")
    fix = f"version {version_text(kept.version)} of before runs, at the latest after a reset; the new one must call eq_board_confirm()"
    return EdgeqError(what, where=client.line.port, why=why + last, fix=fix)
