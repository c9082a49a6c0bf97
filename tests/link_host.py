"""serve.c as a process on this computer, with sanitizers: a board on a pipe, and a line that can be made bad."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from installed import need_programs

from edgeq import board, target
from edgeq.build import WEIGHTS
from edgeq.emit import description
from edgeq.record import manifest
from edgeq.resources import resource

HERE = Path(__file__).parent
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
Noise = Callable[[bytes], bytes]


def build(folder: Path, work: Path, *, payload: int = 4096) -> Path:
    """Compile serve.c and an emitted folder for this computer, weights in RAM."""
    need_programs("gcc")
    model, firmware = manifest(folder).model, resource("firmware")
    text = description.header(manifest(folder), board.load(target.load("virt")), weights_in_ram=True)
    (work / "eq_description.h").write_text(text)
    defines = ("-DEQ_HOOK", "-DEQ_TICKS_PER_MS=1000u", f"-DEQ_LINK_PAYLOAD={payload}u", "-DEQ_LINK_WINDOW=2000u")
    command = ("gcc", "-std=c99", "-ffp-contract=off", "-fno-strict-aliasing", *WEIGHTS["ram"], *WARNINGS, *SANITIZE, *defines)
    places = [f"-I{p}" for p in (work, folder, firmware / "protocol", firmware / "lib", firmware / "bootloader")]
    weights, program = work / "weights.o", work / "serve"
    section = '-Dconst=__attribute__((section("eq_weights")))'
    subprocess.run([*command, *places, section, "-c", folder / f"{model}_weights.c", "-o", weights], check=True)
    library = [firmware / "lib" / f for f in ("confirm.c", "crc.c", "faults.c")]
    sources = [firmware / "apps" / "serve.c", *(firmware / "protocol").glob("*.c"), *library, HERE / "link_board.c"]
    symbols = [f"-Wl,--defsym=_weights_{a}=__{b}_eq_weights" for a, b in (("start", "start"), ("end", "stop"))]
    parts = [folder / f"{model}.c", folder / f"{model}_kernels.c", weights]
    subprocess.run([*command, *places, *symbols, *sources, *parts, "-o", program], check=True)
    return program


class Process:
    """The program behind a pseudo-terminal, with a line that noise may change in both directions.

    Attributes:
        port: what to open.
        errors: what the sanitizers said, after the end.
    """

    def __init__(self, program: Path, to_board: Noise = bytes, to_host: Noise = bytes) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.port, self.errors = os.ttyname(self._slave), b""
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        assert self._process.stdin and self._process.stdout
        for source, sink, noise in (
            (self._master, self._process.stdin.fileno(), to_board), (self._process.stdout.fileno(), self._master, to_host),
        ):  # fmt: skip
            threading.Thread(target=self._carry, args=(source, sink, noise), daemon=True).start()

    def _carry(self, source: int, sink: int, noise: Noise) -> None:
        try:
            while data := os.read(source, 4096):
                data = noise(data)
                while data:
                    data = data[os.write(sink, data) :]
        except OSError:
            pass

    def unplug(self) -> None:
        """End the program and the line."""
        self._process.kill()
        for fd in (self._master, self._slave):
            close(fd)

    def close(self) -> None:
        """End the program by closing its input, and collect what the sanitizers said."""
        assert self._process.stdin and self._process.stderr
        if self._process.poll() is None:
            self._process.stdin.close()
            self._process.wait(10)
        self.errors = self._process.stderr.read()
        for fd in (self._master, self._slave):
            close(fd)


def close(fd: int) -> None:
    """Close what may be closed already."""
    with suppress(OSError):
        os.close(fd)


@contextmanager
def running(program: Path, to_board: Noise = bytes, to_host: Noise = bytes) -> Iterator[Process]:
    """The program while it runs; the sanitizers must stay silent."""
    process = Process(program, to_board, to_host)
    try:
        yield process
    finally:
        process.close()
    assert not process.errors, process.errors.decode()


def noise(seed: int, rate: float) -> Noise:
    """Flips, drops, doubles and inserts bytes, and doubles whole pieces, at a rate per byte."""
    rng = random.Random(seed)

    def change(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            kind = rng.randrange(4) if rng.random() < rate else 4
            out += (bytes([byte ^ 1 << rng.randrange(8)]), b"", bytes([byte, byte]), bytes([rng.randrange(256), byte]), bytes([byte]))[kind]
        return bytes(out + out if rng.random() < 10 * rate else out)

    return change
