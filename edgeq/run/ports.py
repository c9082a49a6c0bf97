"""Which serial port a board is connected to."""

from __future__ import annotations

from dataclasses import dataclass

BAUD = 115200
SILENCE = 3.0  # seconds


@dataclass(frozen=True)
class Port:
    """A serial port.

    Attributes:
        url: what pyserial opens: /dev/ttyACM0, COM3, socket://host:port.
        timeout: seconds without progress after which the board counts as lost.
    """

    url: str
    baud: int = BAUD
    timeout: float = SILENCE
