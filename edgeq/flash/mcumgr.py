"""MCUboot's serial recovery, or an application with MCUmgr: the SMP protocol, by smpclient."""

from __future__ import annotations

import asyncio
import hashlib
import struct

from edgeq.errors import EdgeqError
from edgeq.files import reason
from edgeq.flash.image import Firmware
from edgeq.flash.job import Job, Progress

MAGIC, TLV_MAGIC, TLV_SHA256 = 0x96F3B83D, 0x6907, 0x10
TLV_BYTES = 4 + 4 + 32  # behind the program: two headers and its hash
ATTEMPTS = 3


def mcuboot_image(firmware: Firmware, header: int) -> bytes:
    """A firmware as an image of MCUboot, with a hash and without a signature.

    Args:
        header: bytes before the program, which is linked behind them.
    """
    head = struct.pack("<IIHHIIBBHII", MAGIC, 0, header, 0, len(firmware.data), 0, 0, 0, 0, 0, 0)
    body = head + b"\xff" * (header - len(head)) + firmware.data
    return body + struct.pack("<HHHH", TLV_MAGIC, TLV_BYTES, TLV_SHA256, 32) + hashlib.sha256(body).digest()


def program(job: Job, progress: Progress) -> str:
    """Upload the image into the slot, compare the hash that the board reports, and reset it."""
    try:
        import smpclient  # noqa: F401
    except ImportError:
        raise EdgeqError("smpclient is not installed", fix="pip install 'edgeq[mcumgr]'") from None
    header, flash = int(job.board.settings.get("header", 0x200)), job.board.memory["flash"]
    job.check_region(flash.origin, flash.bytes - TLV_BYTES, "slot behind the image's header")
    if job.firmware.origin != flash.origin:
        raise EdgeqError("the firmware does not begin behind the image's header", where=str(job.firmware.path), why=f"{flash.origin:#x}")
    image = mcuboot_image(job.firmware, header)
    for attempt in range(ATTEMPTS):
        try:
            return asyncio.run(_upload(job, image, progress))
        except EdgeqError:
            raise
        except Exception as e:  # smpclient lets exceptions of several libraries out
            if attempt == ATTEMPTS - 1:
                fix = "reset the board into its bootloader, check --port and --baud, and flash it again"
                raise EdgeqError("the board does not take the image", where=job.port or "", why=reason(e), fix=fix) from e
    raise AssertionError


async def _upload(job: Job, image: bytes, progress: Progress) -> str:
    from smpclient import SMPClient
    from smpclient.generics import error, success
    from smpclient.requests.image_management import ImageStatesRead
    from smpclient.requests.os_management import ResetWrite
    from smpclient.transport.serial import SMPSerialTransport

    async with SMPClient(SMPSerialTransport(baudrate=job.baud), job.need_port()) as client:
        async for offset in client.upload(image):
            progress("write", offset, len(image))
        states = await client.request(ImageStatesRead())
        if error(states):
            raise EdgeqError("the board does not say what it holds", where=job.port or "", why=str(states))
        hashes = [s.hash for s in states.images if s.hash] if success(states) else []
        if hashes and image[-32:] not in [bytes(h) for h in hashes]:
            raise EdgeqError("the board reports another image than was sent", where=job.port or "", fix="flash it again")
        if job.start:
            await client.request(ResetWrite())
    known = "verified by its hash" if hashes else "the board reports no hash"
    return f"{len(image)} bytes, {known}{', reset' if job.start else ''}"
