"""A board that QEMU emulates behind a pseudo-terminal: to a program on this computer, a board on a serial port."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import tty
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgeq.errors import EdgeqError
from edgeq.process import start, stop
from edgeq.run.qemu import command, emulation
from edgeq.target import Target


class EmulatedBoard:
    """A board under QEMU, from power-on to power-off; a context manager.

    It is switched on with its core halted, so that nothing that the firmware says is lost: open `port`, then `start`.

    Args:
        elf: what lies in its memory when it is switched on.
        target: a target whose board QEMU has.
        memory: a file that holds what the board keeps without power (`Emulation.keep`); made where it is missing. None: it
            forgets everything.
        options: more arguments for QEMU: drives, memory, harts.

    Attributes:
        port: the device to open, /dev/pts/N.

    Raises:
        EdgeqError: QEMU is not installed, has no such board, or refuses the arguments.
    """

    def __init__(self, elf: Path, target: Target, *, memory: Path | None = None, options: Sequence[str] = ()) -> None:
        qemu = emulation(target)
        if memory is not None:
            with memory.open("ab") as file:
                file.truncate(qemu.kept)
            options = [*(word.replace("{file}", str(memory)) for word in qemu.keep), *options]
        words = [*command(target), "-device", f"loader,file={elf}", "-S", "-serial", "pty", "-qmp", "stdio", *options]
        self._process = start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self._read()
            self.command("qmp_capabilities")
            (uart,) = [c for c in self.command("query-chardev") if c["label"] == "serial0"]
            self.port = str(uart["filename"]).removeprefix("pty:")
            self._line = os.open(self.port, os.O_RDWR | os.O_NOCTTY)  # kept, so that the line survives one program's end
            tty.setraw(self._line)
            time.sleep(1.1)  # QEMU looks once a second whether somebody has opened its pseudo-terminal
        except BaseException:
            stop(self._process)
            raise

    def _read(self) -> dict[str, Any]:
        """The next message from QEMU, past its notices."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        assert self._process.stderr is not None
        why = self._process.stderr.read().strip().splitlines()
        raise EdgeqError("QEMU has stopped", why=why[-1] if why else f"exit code {self._process.wait()}")

    def command(self, name: str, **arguments: Any) -> Any:
        """Execute a command of QEMU's machine protocol and return its result.

        Raises:
            EdgeqError: QEMU has ended or refuses it.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except OSError as e:
            raise EdgeqError("QEMU has stopped", why=f"exit code {self._process.wait()}") from e
        while True:
            message = self._read()
            if "error" in message:
                raise EdgeqError(f"QEMU refuses {name}", why=message["error"]["desc"])
            if "return" in message:
                return message["return"]

    def start(self) -> None:
        """Let the core run."""
        self.command("cont")

    def reset(self) -> None:
        """Press the reset button: memory that no program file fills keeps its content."""
        self.command("system_reset")

    def kill(self) -> None:
        """Pull the plug: the port is gone, without a last word."""
        stop(self._process)

    @property
    def running(self) -> bool:
        """Whether the emulator is there; it ends when the firmware calls eq_board_exit."""
        return self._process.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        with contextlib.suppress(OSError):
            os.close(self._line)
