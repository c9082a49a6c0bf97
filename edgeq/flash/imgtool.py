"""Signed images for MCUboot by its own program, imgtool. No cryptography of edgeq's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.flash.job import Job
from edgeq.flash.program import call, find
from edgeq.slots import version_text

INSTALL = "pip install 'edgeq[mcuboot]'"


def _tool() -> str:
    """imgtool on the PATH, or beside the Python that runs."""
    beside = Path(sys.executable).with_name("imgtool")
    return str(beside) if os.access(beside, os.X_OK) else find(("imgtool", "imgtool.py"), INSTALL)


def signed(job: Job, key: Path, header: int, slot: int, align: int) -> bytes:
    """A firmware as a signed image, and the signature checked by the key that the board has.

    Args:
        key: the private key (PEM): RSA, ECDSA or Ed25519, as MCUboot was built.
        header: bytes before the program, which is linked behind them.
        slot: bytes of a slot, MCUboot's trailer counted.
        align: bytes that the board's flash writes at once.

    Raises:
        EdgeqError: imgtool is not installed, or does not take the key or the program; or the board's own key is another.
    """
    if not key.is_file():
        fix = f"`imgtool keygen -k {key.name} -t ecdsa-p256` makes one; MCUboot is built with it"
        raise EdgeqError("no such key", where=str(key), fix=fix)
    tool = _tool()
    with temporary_folder() as folder:
        program, image = Path(folder) / "program.bin", Path(folder) / "image.bin"
        program.write_bytes(job.firmware.data)
        call([
            tool, "sign", "--key", str(key), "--version", version_text(job.firmware.version), "--header-size", f"{header:#x}",
            "--pad-header", "--slot-size", f"{slot:#x}", "--align", str(align), str(program), str(image),
        ])  # fmt: skip
        boards = board_key(job)
        try:
            call([tool, "verify", "--key", str(boards or key), str(image)])
        except EdgeqError as e:
            what = f"the board would refuse this image: its signature is not by the key of board {job.target.name}"
            raise EdgeqError(what, where=str(key), why=e.what.splitlines()[-1], fix=f"sign with the private half of {boards or key}") from e
        return image.read_bytes()


def board_key(job: Job) -> Path | None:
    """The public key that the board's MCUboot was built with, where its bsp.toml names it (``[programmer] public_key``)."""
    name = job.board.settings.get("public_key")
    return job.board.folder / str(name) if name else None
