"""Serial lines: opening them, and bytes with a deadline."""

from __future__ import annotations

import contextlib
import re
import time
from types import TracebackType
from typing import Self

import serial

from edgeq.errors import EdgeqError
from edgeq.files import reason

LONGEST = 70_000  # bytes that are written at once
NOISE = 10.0  # seconds of bytes that nobody asked for, however few


class LineLost(EdgeqError):
    """The port is gone: no further attempt makes sense."""


class Line:
    """An open serial port, or a URL that pyserial knows (``socket://host:port``); a context manager.

    Args:
        even: 8E1 instead of 8N1, where the port is a real one: a pseudo-terminal has no parity.

    Raises:
        EdgeqError: it cannot be opened.
    """

    def __init__(self, port: str, baud: int, *, even: bool = False) -> None:
        virtual = "://" in port or re.match(r"/dev/(pts/|ttys\d)", port) is not None
        parity = serial.PARITY_EVEN if even and not virtual else serial.PARITY_NONE
        self.port, self.baud = port, baud
        try:
            wait = 3.0 + self.seconds(LONGEST)
            self._serial = serial.serial_for_url(port, baudrate=baud, parity=parity, timeout=1.0, write_timeout=wait, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as e:
            raise EdgeqError("cannot open the port", where=port, why=reason(e), fix="`edgeq flash --list` shows what is there") from e

    def seconds(self, count: int) -> float:
        """How long so many bytes are on their way."""
        return 11 * count / self.baud

    def write(self, data: bytes) -> None:
        """Send.

        Raises:
            LineLost: the port is gone, or takes nothing any more.
        """
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as e:
            raise self._lost(e) from e

    def read(self, count: int, seconds: float) -> bytes:
        """What has come when there are `count` bytes or the time is up.

        Raises:
            LineLost: the port is gone.
        """
        try:
            self._serial.timeout = seconds
            return bytes(self._serial.read(count))
        except (serial.SerialException, OSError, TypeError) as e:  # pyserial reads from a closed port as from None
            raise self._lost(e) from e

    def quiet(self, seconds: float, most: int = 65536) -> None:
        """Throw away what comes, until nothing has come for so long.

        Raises:
            EdgeqError: it does not end.
        """
        dropped, begin = 0, time.monotonic()
        while chunk := self.read(256, seconds):
            dropped += len(chunk)
            if dropped > most or time.monotonic() - begin > NOISE:
                raise EdgeqError("the board does not stop sending", where=self.port, fix="reset it, or check --board and --baud")

    def signals(self, dtr: bool | None, rts: bool | None) -> None:
        """Set the lines that many boards have wired to reset and boot selection.

        Raises:
            LineLost: the port has no such lines.
        """
        try:
            if dtr is not None:
                self._serial.dtr = dtr
            if rts is not None:
                self._serial.rts = rts
        except (serial.SerialException, OSError) as e:
            raise self._lost(e) from e

    def _lost(self, error: Exception) -> LineLost:
        fix = "connect the board again and flash it once more: its bootloader is still there"
        return LineLost("the connection to the board was lost", where=self.port, why=reason(error), fix=fix)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(serial.SerialException, OSError):  # it may be gone already
            self._serial.close()
