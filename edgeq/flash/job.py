"""What every programmer is given, and what it may ask of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeq.board import Board
from edgeq.errors import EdgeqError
from edgeq.flash.image import Firmware
from edgeq.target import Target

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a board is to be programmed.

    Attributes:
        port: serial port, URL of pyserial, or folder of a drive; None where the programmer finds the board by itself.
        baud: bits per second; 0 is the board's usual speed.
        command: the user's own, for programmer ``command``.
        start: start the firmware when it is there.
        listen: seconds of silence up to which what it says is heard; 0: not at all.
        heard: called with what it says.
        allow_downgrade: also where the board runs a higher version.
        key: a private key (PEM), by which the image for MCUboot is signed; None: it has a hash alone.
    """

    port: str | None = None
    baud: int = 0
    command: str | None = None
    start: bool = True
    listen: float = 0
    heard: Callable[[bytes], None] = lambda data: None
    allow_downgrade: bool = False
    key: Path | None = None


@dataclass(frozen=True)
class Job(Wanted):
    """One firmware for one board; its `baud` is known."""

    firmware: Firmware
    target: Target
    board: Board

    def need_port(self, what: str = "a serial port") -> str:
        """The port.

        Raises:
            EdgeqError: none was given.
        """
        if not self.port:
            raise EdgeqError(f"board {self.target.name} is programmed through {what}", fix="give --port; `edgeq flash --list` shows them")
        return self.port

    def check_region(self, origin: int, size: int, name: str) -> None:
        """Refuse a firmware that is not within a region of memory.

        Raises:
            EdgeqError: it is not; the message says what to do.
        """
        f = self.firmware
        if not (origin <= f.origin and f.end <= origin + size):
            got = f"{f.origin:#x} to {f.end:#x}"
            fix = f"build it for board {self.target.name}"
            raise EdgeqError(
                f"the firmware does not fit {name} of board {self.target.name}, {origin:#x} to {origin + size:#x}",
                where=str(f.path), why=f"it lies at {got}", fix=fix,
            )  # fmt: skip
