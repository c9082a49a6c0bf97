"""MCUboot's serial recovery, or an application with MCUmgr: the SMP protocol, by smpclient."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import struct
import time
from typing import TYPE_CHECKING

from edgeq import slots
from edgeq.errors import EdgeqError
from edgeq.files import reason
from edgeq.flash import imgtool
from edgeq.flash.image import Firmware, check_start
from edgeq.flash.job import Job, Progress

if TYPE_CHECKING:
    from smp.image_management import ImageState
    from smpclient import SMPClient

MAGIC, TLV_MAGIC, TLV_SHA256 = 0x96F3B83D, 0x6907, 0x10
TLV_BYTES = 4 + 4 + 32  # behind the program: two headers and its hash
ATTEMPTS = 3
RESTART = 30.0  # seconds for the new program to answer: MCUboot may have to swap two slots


def mcuboot_image(firmware: Firmware, header: int) -> bytes:
    """A firmware as an image of MCUboot, with a hash and without a signature.

    Args:
        header: bytes before the program, which is linked behind them.
    """
    v = firmware.version
    version = (v >> 24, v >> 16 & 0xFF, v & 0xFFFF, 0)
    head = struct.pack("<IIHHIIBBHII", MAGIC, 0, header, 0, len(firmware.data), 0, *version, 0)
    body = head + b"\xff" * (header - len(head)) + firmware.data
    return body + struct.pack("<HHHH", TLV_MAGIC, TLV_BYTES, TLV_SHA256, 32) + hashlib.sha256(body).digest()


def image_hash(image: bytes) -> bytes:
    """The SHA-256 by which MCUboot knows an image: the one in its trailer.

    Raises:
        EdgeqError: it has none.
    """
    _, _, header, protected, size = struct.unpack_from("<IIHHI", image)
    at = header + size + protected
    end = at + struct.unpack_from("<HH", image, at)[1]
    at += 4
    while at + 4 <= end:
        kind, length = struct.unpack_from("<HH", image, at)
        if kind == TLV_SHA256:
            return image[at + 4 : at + 4 + length]
        at += 4 + length
    raise EdgeqError("the image has no SHA-256", fix="sign it with a key whose hash is SHA-256")


def program(job: Job, progress: Progress) -> str:
    """Sign, upload into the free slot, compare the hash that the board reports, have it tried, and confirm what answers."""
    try:
        import smpclient  # noqa: F401
    except ImportError:
        raise EdgeqError("smpclient is not installed", fix="pip install 'edgeq[mcumgr]'") from None
    logging.getLogger("smpclient").setLevel(logging.CRITICAL)  # it logs what leaves its context, with a traceback; it is told here
    header, flash = int(job.board.settings.get("header", 0x200)), job.board.memory["flash"]
    job.check_region(flash.origin, flash.bytes - TLV_BYTES, "the slot behind the image's header")
    if job.firmware.origin != flash.origin:
        raise EdgeqError("the firmware does not begin behind the image's header", where=str(job.firmware.path), why=f"{flash.origin:#x}")
    check_start(job.firmware, job.board.memory["ram"])
    if job.key is None and imgtool.board_key(job) is not None:
        raise EdgeqError(f"board {job.target.name} starts signed images alone", fix="give --key, the private half of its public_key")
    if job.key is None:
        image = mcuboot_image(job.firmware, header)
    else:
        slot, align = int(job.board.settings.get("slot", header + flash.bytes)), int(job.board.settings.get("align", 4))
        image = imgtool.signed(job, job.key, header, slot, align)
    how = "signed, " if job.key else ""
    for attempt in range(ATTEMPTS):
        try:
            return how + asyncio.run(_upload(job, image, progress))
        except EdgeqError:
            raise
        except Exception as e:  # smpclient lets exceptions of several libraries out
            if attempt == ATTEMPTS - 1:
                fix = "reset the board into its bootloader, check --port and --baud, and flash it again"
                raise EdgeqError("the board does not take the image", where=job.port or "", why=reason(e), fix=fix) from e
    raise AssertionError


def _connected(job: Job) -> SMPClient:
    from smpclient import SMPClient
    from smpclient.transport.serial import SMPSerialTransport

    return SMPClient(SMPSerialTransport(baudrate=job.baud), job.need_port())


async def _states(client: SMPClient, job: Job) -> tuple[ImageState, ...]:
    """What the board says of its slots.

    Raises:
        EdgeqError: it does not.
    """
    from smpclient.generics import error
    from smpclient.requests.image_management import ImageStatesRead

    states = await client.request(ImageStatesRead())
    if error(states):
        raise EdgeqError("the board does not say what it holds", where=job.port or "", why=str(states))
    return tuple(states.images)


def _check_version(job: Job, states: tuple[ImageState, ...]) -> None:
    active = next((s for s in states if s.active), None)
    try:
        runs = slots.version((active.version if active else "0.0.0").partition("+")[0])
    except EdgeqError:
        return  # no number of ours to compare with
    if job.firmware.version < runs and not job.allow_downgrade:
        why = f"it runs {slots.version_text(runs)}, and this is {slots.version_text(job.firmware.version)}"
        raise EdgeqError("the board runs a newer version", where=job.port or "", why=why, fix="--allow-downgrade puts the older one there")


async def _upload(job: Job, image: bytes, progress: Progress) -> str:
    from smpclient.generics import error
    from smpclient.requests.image_management import ImageStatesWrite
    from smpclient.requests.os_management import ResetWrite

    wanted = image_hash(image)
    async with _connected(job) as client:
        _check_version(job, await _states(client, job))
        async for offset in client.upload(image):
            progress("write", offset, len(image))
        states = await _states(client, job)
        hashes = [bytes(s.hash) for s in states if s.hash]
        if hashes and wanted not in hashes:
            raise EdgeqError("the board reports another image than was sent", where=job.port or "", fix="flash it again")
        second = any(s.slot > 0 and s.hash and bytes(s.hash) == wanted for s in states)
        if second and error(answer := await client.request(ImageStatesWrite(hash=wanted))):
            why = f"{answer}; a signature that MCUboot does not accept is refused here or at the next reset"
            raise EdgeqError("the board does not try the image", where=job.port or "", why=why, fix="sign it with the board's key (--key)")
        if job.start:
            await client.request(ResetWrite())
    known = "verified by its hash" if hashes else "the board reports no hash"
    done = f"{len(image)} bytes, {known}"
    if not job.start:
        return done + ("; the next restart tries it" if second else "")
    return f"{done}, reset{await _confirm(job, wanted) if second else ''}"


async def _confirm(job: Job, wanted: bytes) -> str:
    """Confirm the image that runs now, where the program speaks MCUmgr.

    Raises:
        EdgeqError: another image runs: MCUboot refused the new one, or went back to the old one.
    """
    from smpclient.generics import error
    from smpclient.requests.image_management import ImageStatesWrite

    deadline = time.monotonic() + RESTART
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError, OSError):
            async with _connected(job) as client:
                active = next((s for s in await _states(client, job) if s.active), None)
                if active is None or active.hash is None:
                    return ", started; the board does not say what runs"
                if bytes(active.hash) != wanted:
                    fix = "sign it with the key that MCUboot was built with (--key); the old program runs"
                    raise EdgeqError("the board did not start the new program", where=job.port or "", why=f"{active.version} runs", fix=fix)
                if error(answer := await client.request(ImageStatesWrite(hash=wanted, confirm=True))):
                    raise EdgeqError("the board does not confirm the new program", where=job.port or "", why=str(answer))
                return ", started, confirmed"
        await asyncio.sleep(0.2)
    must = "it must confirm itself (boot_write_img_confirmed), or the next reset brings the old one back"
    return f", started; it does not speak MCUmgr: {must}"
