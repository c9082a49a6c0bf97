"""What is connected: serial ports by their USB identity, and drives that boards show."""

from __future__ import annotations

from dataclasses import dataclass

from serial.tools import list_ports

from edgeq import system


@dataclass(frozen=True)
class Connected:
    """A port or a drive.

    Attributes:
        port: for ``--port``.
        programmer: that usually speaks to it; empty where several do.
        boards: targets that it may be.
    """

    port: str
    what: str
    programmer: str = ""
    boards: tuple[str, ...] = ()


KNOWN = {  # (USB vendor, product or None for all of its products) -> what, programmer, targets
    (0x0483, 0x374B): ("ST-LINK/V2-1, serial port of a Nucleo", "pyocd", ("nucleo-f446", "nucleo-l4r5")),
    (0x0483, 0x374E): ("ST-LINK/V3, serial port of a Nucleo", "pyocd", ("nucleo-h743",)),
    (0x0483, None): ("STMicroelectronics", "pyocd", ()),
    (0x303A, 0x1001): ("USB serial of an ESP32-C3 or -C6", "esptool", ("esp32-c3",)),
    (0x2E8A, None): ("Raspberry Pi RP2040", "copy", ("rp2040",)),
    (0x0D28, 0x0204): ("DAPLink probe", "pyocd", ()),
    (0x1366, None): ("SEGGER J-Link", "pyocd", ("nrf52840", "hifive1")),
    (0x1915, None): ("Nordic nRF52", "mcumgr", ("nrf52840",)),
    (0x28E9, None): ("GigaDevice", "an3155", ("gd32vf103",)),
    (0x10C4, 0xEA60): ("CP210x serial adapter", "", ()),
    (0x1A86, None): ("CH340 serial adapter", "", ()),
    (0x0403, None): ("FTDI serial adapter", "", ()),
}
DRIVES = {"INFO_UF2.TXT": "UF2 drive", "DETAILS.TXT": "DAPLink drive", "MBED.HTM": "drag-and-drop drive"}


def connected() -> list[Connected]:
    """All serial ports, and all mounted drives that belong to a board."""
    return [*_serial(), *drives()]


def _serial() -> list[Connected]:
    found = []
    for port in list_ports.comports():
        known = KNOWN.get((port.vid, port.pid)) or KNOWN.get((port.vid, None))
        found.append(Connected(port.device, *known) if known else Connected(port.device, port.description or ""))
    return sorted(found, key=lambda c: c.port)


def drives() -> list[Connected]:
    """Mounted drives with the files that boards put there."""
    found = []
    for place in system.drives():
        for name, what in DRIVES.items():
            try:
                text = (place / name).read_text(encoding="utf-8", errors="replace")[:4096]
            except OSError:
                continue
            model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(("Model:", "Board-ID:"))), "")
            found.append(Connected(str(place), f"{what} {model}".strip(), "copy"))
            break
    return found
