"""MCUboot: images signed by imgtool, uploaded, tried, confirmed and refused, against a server in Python with MCUboot's rules."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_programmers import job, quiet
from test_selftest import emitted
from typer.testing import CliRunner

from edgeq import api, board, slots
from edgeq.cli.main import app
from edgeq.errors import EdgeqError
from edgeq.flash import image, imgtool, mcumgr
from edgeq.flash.job import Job
from edgeq.run import unicorn
from edgeq.target import load


class SmpBoard:
    """A board with MCUmgr, and MCUboot's slots and rules (docs.mcuboot.com, design): in Python, with imgtool as what checks signatures.

    Args:
        key: the public key that MCUboot was built with; None: it takes images with a hash alone.
        slots: 1: MCUboot's serial recovery; 2: the program that runs has MCUmgr.
    """

    def __init__(self, key: Path | None, slots: int, work: Path) -> None:
        self.key, self.slots, self.work = key, slots, work
        self.images = [b"", b""]
        self.pending = self.confirmed = False
        self.uploaded = bytearray()

    def valid(self, image: bytes) -> bool:
        (self.work / "image").write_bytes(image)
        command = [imgtool_path(), "verify", *(["--key", str(self.key)] if self.key else []), str(self.work / "image")]
        return subprocess.run(command, capture_output=True).returncode == 0

    def state(self, slot: int) -> Any:
        from smp import image_management

        image = self.images[slot]
        major, minor, revision = struct.unpack_from("<BBH", image, 20)
        marks = {"active": slot == 0, "confirmed": slot == 0 and self.confirmed, "pending": slot == 1 and self.pending}
        return image_management.ImageState(
            slot=slot, version=f"{major}.{minor}.{revision}", hash=mcumgr.image_hash(image), **(marks if self.slots == 2 else {})
        )

    def reset(self) -> None:
        """As MCUboot starts: a pending image is swapped in where its signature is right; one that was not confirmed is swapped out."""
        if self.slots == 2 and (self.pending or not self.confirmed) and self.images[1] and self.valid(self.images[1]):
            self.images.reverse()
            self.confirmed = not self.pending
        self.pending = False

    def answer(self, frame: bytes) -> bytes:
        from smp import header, image_management, os_management

        asked = header.Header.loads(frame[:8])
        options = {"sequence": asked.sequence}
        if asked.group_id == header.GroupId.IMAGE_MANAGEMENT and asked.command_id == header.CommandId.ImageManagement.UPLOAD:
            request = image_management.ImageUploadWriteRequest.loads(frame)
            if request.off == 0:
                self.uploaded.clear()
            self.uploaded[request.off :] = request.data
            with contextlib.suppress(struct.error, EdgeqError):  # not all of it is there
                self.images[self.slots - 1] = bytes(self.uploaded)
                mcumgr.image_hash(self.images[self.slots - 1])
            return bytes(image_management.ImageUploadWriteResponse(off=len(self.uploaded), **options).BYTES)
        if asked.group_id == header.GroupId.IMAGE_MANAGEMENT:
            if asked.op == header.OP.WRITE:
                written = image_management.ImageStatesWriteRequest.loads(frame)
                self.confirmed |= written.confirm
                self.pending |= not written.confirm
            states = [self.state(i) for i in range(self.slots) if self.images[i]]
            return bytes(image_management.ImageStatesReadResponse(images=states, splitStatus=0, **options).BYTES)
        if asked.command_id == header.CommandId.OSManagement.RESET:
            self.reset()
            return bytes(os_management.ResetWriteResponse(**options).BYTES)
        return bytes(os_management.MCUMgrParametersReadResponse(buf_size=384, buf_count=4, **options).BYTES)

    def serve(self, line: int) -> None:
        from smp import packet

        waiting, message, expected = b"", b"", 0
        while chunk := os.read(line, 4096):
            waiting += chunk
            while b"\n" in waiting:
                text, waiting = waiting.split(b"\n", 1)
                raw = base64.b64decode(text[2:])
                if text[:2] == b"\x06\x09":
                    expected, message = int.from_bytes(raw[:2], "big"), b""
                    raw = raw[2:]
                message += raw
                if len(message) >= expected:
                    for part in packet.encode(self.answer(message[:-2])):
                        os.write(line, part)


def imgtool_path() -> str:
    """imgtool, or a skip."""
    beside = Path(sys.executable).with_name("imgtool")
    found = str(beside) if beside.is_file() else shutil.which("imgtool")
    if found is None:
        pytest.skip("not installed: imgtool")
    return found


@contextlib.contextmanager
def connected(board: SmpBoard) -> Iterator[str]:
    """The port of a board at the end of a pseudo-terminal."""
    pytest.importorskip("smp", reason="not installed: smpclient")
    ours, theirs = os.openpty()
    for end in (ours, theirs):
        tty.setraw(end)

    def run() -> None:
        with contextlib.suppress(OSError):  # the line was closed
            board.serve(ours)

    threading.Thread(target=run, daemon=True).start()
    yield os.ttyname(theirs)
    os.close(theirs)


def test_mcumgr(tmp_path: Path) -> None:
    recovery = SmpBoard(None, 1, tmp_path)
    with connected(recovery) as port:
        task = job("nrf52840-mcuboot", port=port)
        assert mcumgr.program(task, quiet) == f"{len(recovery.uploaded)} bytes, verified by its hash, reset"
    stored = recovery.uploaded
    magic, _, header, _, size = struct.unpack("<IIHHI", stored[:16])
    assert (magic, header, size) == (0x96F3B83D, 0x200, 3001) and stored[0x200 : 0x200 + 3001] == task.firmware.data
    assert stored[-32:] == hashlib.sha256(stored[: 0x200 + 3001]).digest() and stored[-36:-32] == bytes([0x10, 0, 32, 0])


def test_an_image_that_arrived_damaged_is_told(tmp_path: Path) -> None:
    """The board reports the hash of something else than was sent."""

    class Worn(SmpBoard):
        def state(self, slot: int) -> Any:
            return super().state(slot).model_copy(update={"hash": bytes(32)})

    with connected(Worn(None, 1, tmp_path)) as port, pytest.raises(EdgeqError, match="reports another image than was sent"):
        mcumgr.program(job("nrf52840-mcuboot", port=port), quiet)


def test_signed_images(tmp_path: Path) -> None:
    """Signed, uploaded, tried, confirmed; what is signed by another key is refused, before it is sent where the board's is known."""
    tool, keys = imgtool_path(), [tmp_path / name for name in ("ours.pem", "theirs.pem")]
    for key in keys:
        subprocess.run([tool, "keygen", "-k", str(key), "-t", "ecdsa-p256"], check=True)
    public = tmp_path / "public.pem"
    subprocess.run([tool, "getpub", "-k", str(keys[0]), "-e", "pem", "-o", str(public)], check=True)
    board_ = SmpBoard(public, 2, tmp_path)

    def task(version: str, key: Path | None, **options: Any) -> Job:
        made = job("nrf52840-mcuboot", port=port, key=key, **options)
        return replace(made, firmware=replace(made.firmware, version=slots.version(version)))

    with connected(board_) as port:
        board_.images[0] = imgtool.signed(task("1.0.0", keys[0]), keys[0], 0x200, 0x77000, 4)
        board_.confirmed = True
        assert mcumgr.program(task("1.2.0", keys[0]), quiet).endswith("verified by its hash, reset, started, confirmed")
        assert board_.state(0).version == "1.2.0" and board_.confirmed and board_.valid(board_.images[0])
        with pytest.raises(EdgeqError, match=r"did not start the new program \(1\.2\.0 runs\)"):
            mcumgr.program(task("1.3.0", keys[1]), quiet)
        with pytest.raises(EdgeqError, match=r"did not start the new program"):
            mcumgr.program(task("1.3.0", None), quiet)
        with pytest.raises(EdgeqError, match=r"runs a newer version \(it runs 1\.2\.0, and this is 1\.1\.9\)"):
            mcumgr.program(task("1.1.9", keys[0]), quiet)
        assert "confirmed" in mcumgr.program(task("1.1.9", keys[0], allow_downgrade=True), quiet)
        uploaded = bytes(board_.uploaded)
        refusals = ((keys[1], "the board would refuse this image"), (None, "starts signed images alone"), (tmp_path / "no", "no such key"))
        for key, words in refusals:
            made = task("2.0.0", key)
            known = replace(made, board=replace(made.board, folder=tmp_path, settings={**made.board.settings, "public_key": "public.pem"}))
            with pytest.raises(EdgeqError, match=words):
                mcumgr.program(known, quiet)
        assert board_.uploaded == uploaded, "nothing was sent"


def test_a_folder_is_built_signed_uploaded_and_confirmed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In one command; what then lies in the slot that runs is its program, and it passes on the emulated core."""
    tool, target = imgtool_path(), "nrf52840-mcuboot"
    ours, theirs, public = (tmp_path / name for name in ("ours.pem", "theirs.pem", "public.pem"))
    for key in (ours, theirs):
        subprocess.run([tool, "keygen", "-k", str(key), "-t", "ecdsa-p256"], check=True)
    subprocess.run([tool, "getpub", "-k", str(ours), "-e", "pem", "-o", str(public)], check=True)
    folder, mcuboot = emitted(tmp_path / "m"), SmpBoard(public, 2, tmp_path)
    with connected(mcuboot) as port:
        mcuboot.images[0] = imgtool.signed(job(target, port=port), ours, 0x200, 0x77000, 4)
        mcuboot.confirmed = True
        done = api.flash(folder, board=target, port=port, key=ours, app="selftest", version="1.4.2")
        assert done.startswith("signed, ") and done.endswith("verified by its hash, reset, started, confirmed")
        runs = mcuboot.images[0]
        assert mcuboot.valid(runs) and mcuboot.confirmed and mcuboot.state(0).version == "1.4.2"
        words = ["flash", str(folder), "--board", target, "--port", port, "--app", "selftest", "--image-version", "1.5.0"]
        refused = CliRunner().invoke(app, [*words, "--key", str(theirs)])
        assert refused.exit_code == 1 and "did not start the new program (1.4.2 runs)" in " ".join(refused.output.split())
        assert not caplog.records, "nothing else is said"
        assert mcuboot.images[0] == runs and mcuboot.confirmed
    elf = api.firmware(folder, board=target, output=tmp_path / "fw.elf", app="selftest", version="1.4.2").elf
    program = image.read(elf).data
    assert runs[0x200 : 0x200 + len(program)] == program
    assert board.load(load(target)).memory["flash"].origin == image.read(elf).origin
    said = unicorn.execute(elf, load(target)).sent.decode().splitlines()
    assert said[-1] == "PASS" and len(said) == 5
