"""The QEMU runner: the board's firmware on the emulated board, devices included."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from edgeq import board
from edgeq.board import Emulation
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.process import started
from edgeq.run.bench import Execution, Received, Runner
from edgeq.target import Target


def emulation(target: Target) -> Emulation:
    """How QEMU runs the target's board.

    Raises:
        EdgeqError: it has no such board, or it is not installed.
    """
    found = board.load(target).qemu
    if found is None:
        raise EdgeqError(f"QEMU has no board for target {target.name}", fix=f"use one of its runners: {', '.join(target.runners)}")
    if shutil.which(found.command) is None:
        others = [r for r in target.runners if r != "qemu"]
        otherwise = f", or use the runner {others[0]}" if others else f"; no other emulator runs target {target.name}"
        raise EdgeqError("QEMU is not installed", why=f"no {found.command}", fix=f"{found.install}{otherwise}")
    return found


def command(target: Target) -> list[str]:
    """QEMU for the target's board, without a program.

    Raises:
        EdgeqError: see `emulation`.
    """
    qemu, cpu = emulation(target), target.data.get("qemu", {}).get("cpu")
    return [qemu.command, *qemu.arguments, *(("-cpu", cpu) if cpu else ()), "-display", "none", "-monitor", "none"]


def _wait(process: subprocess.Popen[str], output: Path, timeout: float, received: Received) -> None:
    """Until QEMU ends or the time is up; tells how much has arrived meanwhile."""
    deadline = time.monotonic() + timeout
    size, pause = 0, 0.005
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise EdgeqError(f"the program did not end within {timeout:g} s under QEMU", fix="give fewer vectors or a longer time-out")
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
        now = output.stat().st_size if output.exists() else 0
        if now != size:
            size = now
            received(size)


def execute(elf: Path, target: Target, vectors: bytes = b"", *, timeout: float = 600.0, received: Received = lambda n: None) -> Execution:
    """Run a program of a target's board to its end.

    Args:
        elf: as `build_firmware` made it.
        vectors: bytes placed where the board keeps test vectors.
        timeout: seconds.
        received: called with the number of bytes sent so far.

    Raises:
        EdgeqError: QEMU is not installed, has no such board, or the program does not end in time.
    """
    place = board.load(target)
    with temporary_folder() as work:
        image, output, log = (Path(work) / name for name in ("vectors.bin", "uart.bin", "errors.txt"))
        image.write_bytes(vectors)
        words = [
            *command(target), "-kernel", str(elf), "-chardev", f"file,id=uart,path={output}", "-serial", "chardev:uart",
            *(("-device", f"loader,file={image},addr={place.memory['vectors'].origin:#x},force-raw=on") if vectors else ()),
        ]  # fmt: skip
        with log.open("wb") as to, started(words, stdin=subprocess.DEVNULL, stdout=to, stderr=to) as process:
            _wait(process, output, timeout, received)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.strip() and "warning:" not in line]
        sent = output.read_bytes() if output.exists() else b""
    if process.returncode < 0 or (errors and process.returncode):
        raise EdgeqError("QEMU failed", where=str(elf), why=errors[0] if errors else f"signal {-process.returncode}")
    return Execution(sent, process.returncode)


run = Runner("qemu", execute, ratio=lambda target: emulation(target).instructions_per_tick)
