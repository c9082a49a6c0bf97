"""Programmers without an emulated board: what they write and call is what the board or the program gets; errors are told."""

from __future__ import annotations

import random
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from installed import need_programs

from edgeq import board, system
from edgeq.build import build_bootloader, toolchain
from edgeq.errors import EdgeqError
from edgeq.flash import command, copy, cores, esptool, image, ports, pyocd
from edgeq.flash.image import Firmware
from edgeq.flash.job import Job
from edgeq.target import load


def job(target: str, size: int = 3001, **options: Any) -> Job:
    place = board.load(load(target))
    origin = place.memory["flash"].origin
    start = struct.pack("<II", place.memory["ram"].origin + 4096, origin + 9)
    firmware = Firmware(Path("fw.elf"), ((origin, start + random.Random(7).randbytes(size - 8)),), "arm", {})
    if "memory" in place.settings:
        firmware = replace(firmware, parts=((place.settings["memory"][0], firmware.data), (0x42000000, b"code")))
    return Job(firmware, load(target), place, baud=115200, **options)


def quiet(stage: str, done: int, total: int) -> None:
    pass


def test_uf2(tmp_path: Path) -> None:
    (tmp_path / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    task = job("rp2040", port=str(tmp_path))
    assert "was not read back" in copy.program(task, quiet)
    data, memory = (tmp_path / "firmware.uf2").read_bytes(), {}
    assert len(data) % 512 == 0
    for i in range(len(data) // 512):
        block = data[512 * i : 512 * (i + 1)]
        magic, second, flags, address, payload, number, count, family = struct.unpack("<8I", block[:32])
        assert (magic, second, flags, payload, number, count, family) == (
            0x0A324655, 0x9E5D5157, 0x2000, 256, i, len(data) // 512, 0xE48BFF56,
        )  # fmt: skip
        assert block[-4:] == struct.pack("<I", 0x0AB16F30) and address % 256 == 0
        memory |= {address + k: block[32 + k] for k in range(256)}
    assert bytes(memory[task.firmware.origin + k] for k in range(3001)) == task.firmware.data


@pytest.mark.parametrize("origin", [0x08000000, 0x0800FFF9])
def test_intel_hex(origin: int, tmp_path: Path) -> None:
    firmware = Firmware(Path("fw.elf"), ((origin, random.Random(1).randbytes(140_001)),), "arm", {})
    memory, upper = {}, 0
    for line in copy.intel_hex(firmware).decode().splitlines():
        raw = bytes.fromhex(line[1:])
        assert line[0] == ":" and sum(raw) & 0xFF == 0 and raw[0] == len(raw) - 5
        offset, kind, data = int.from_bytes(raw[1:3], "big"), raw[3], raw[4:-1]
        if kind == 4:
            upper = int.from_bytes(data, "big") << 16
        else:
            assert kind == (1 if not data else 0) and offset + len(data) <= 0x10000
            memory |= {upper + offset + k: b for k, b in enumerate(data)}
    assert bytes(memory[origin + k] for k in range(140_001)) == firmware.data and len(memory) == 140_001


def test_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EdgeqError, match="no such drive"):
        copy.program(job("rp2040", port=str(tmp_path / "x")), quiet)
    (tmp_path / "DETAILS.TXT").write_text("DAPLink Firmware\n")
    monkeypatch.setattr(system, "drives", lambda: [tmp_path, tmp_path / "missing"])
    assert [(c.port, c.programmer) for c in ports.connected() if c.programmer == "copy"] == [(str(tmp_path), "copy")]
    assert "firmware.hex" in copy.program(job("nrf52840"), quiet), "the only drive is found"
    (tmp_path / "FAIL.TXT").write_text("error: The hex file cannot be decoded.\n")
    with pytest.raises(EdgeqError, match=r"refuses the firmware \(error: The hex file cannot be decoded"):
        copy.program(job("nrf52840"), quiet)
    monkeypatch.setattr(system, "drives", lambda: [])
    with pytest.raises(EdgeqError, match="connected: none"):
        copy.program(job("nrf52840"), quiet)


SCRIPT = """#!{python}
import json, pathlib, sys
log = pathlib.Path("{log}")
log.write_text((log.read_text() if log.exists() else "") + json.dumps(sys.argv[1:]) + "\\n")
for word in sys.argv:
    if word.startswith("savemem "):
        _, origin, size, file = word.split()
        pathlib.Path(file).write_bytes(pathlib.Path("{memory}").read_bytes()[: int(size)])
if "--output" in sys.argv:
    pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).write_bytes(b"image")
print("what it says")
sys.exit({code})
"""


def fake(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> Path:
    """A program on the PATH that notes how it is called; `memory` beside it is what it reads from the board."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    (folder / name).write_text(SCRIPT.format(python=sys.executable, log=log, memory=folder / "memory", code=code))
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return log


def test_esptool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake(tmp_path, "esptool", monkeypatch)
    assert esptool.program(job("esp32-c3", port="/dev/ttyACM0"), quiet) == "5 bytes at 0x10000 of the flash, verified by esptool, started"
    first, second = log.read_text().splitlines()
    assert '"--chip", "esp32c3", "elf2image"' in first and first.endswith('"fw.elf"]')
    assert '"--port", "/dev/ttyACM0", "--baud", "115200", "--after", "hard_reset", "write_flash", "0x10000"' in second
    fake(tmp_path, "esptool", monkeypatch, code=2)
    with pytest.raises(EdgeqError, match="esptool failed with exit code 2\nwhat it says"):
        esptool.program(job("esp32-c3", port="/dev/ttyACM0"), quiet)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgeqError, match=r"esptool is not installed\. Fix: pip install .edgeq\[esp\]"):
        esptool.program(job("esp32-c3", port="/dev/ttyACM0"), quiet)


def test_pyocd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, task = fake(tmp_path, "pyocd", monkeypatch), job("nucleo-h743")
    (tmp_path / "memory").write_bytes(task.firmware.data)
    assert pyocd.program(task, quiet) == "3001 bytes at 0x8000000, verified, started"
    assert [line.split('"')[1] for line in log.read_text().splitlines()] == ["flash", "commander", "reset"]
    (tmp_path / "memory").write_bytes(bytes(3001))
    with pytest.raises(EdgeqError, match="memory differs"):
        pyocd.program(task, quiet)


def test_the_users_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake(tmp_path, "mine", monkeypatch)
    command.program(job("hifive1", command="mine -p '{port} x' {elf}@{origin}", port="usb"), quiet)
    assert log.read_text() == '["-p", "usb x", "fw.elf@0x20010000"]\n'
    for line, words in (("", "give --command"), ("' ", "not a command"), ("missing-program", "cannot run missing-program")):
        with pytest.raises(EdgeqError, match=words):
            command.program(job("hifive1", command=line), quiet)


def test_damaged_firmware_files(tmp_path: Path) -> None:
    file = tmp_path / "fw.elf"
    for content in (b"", b"\x7fELF", b"\x7fELF" + bytes(200), random.Random(0).randbytes(5000)):
        file.write_bytes(content)
        with pytest.raises(EdgeqError):
            image.read(file)
    with pytest.raises(EdgeqError, match="cannot read the firmware"):
        image.read(tmp_path / "missing")


def test_mutated_firmware_files(tmp_path: Path) -> None:
    """What an ELF file says is believed nowhere: it is read, or refused with one error."""
    need_programs("arm-none-eabi-gcc")
    target, file, dice, refused = load("mps2-an386"), tmp_path / "fw.elf", random.Random(3), 0
    whole = build_bootloader(target, toolchain(target, "gcc"), tmp_path / "boot.elf").read_bytes()
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):  # the headers lie at both ends
            at = dice.choice((dice.randrange(52 + 96), dice.randrange(len(content) - 1200, len(content))))
            content[at] = dice.choice((0, 0xFF, dice.randrange(256)))
        file.write_bytes(content[: dice.choice((len(content), len(content), dice.randrange(len(content))))])
        try:
            cores.check(image.read(file), target)
            _ = image.read(file).data
        except EdgeqError:
            refused += 1
    assert refused > 50
