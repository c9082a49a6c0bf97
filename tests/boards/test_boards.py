"""The boards: each one's program lies where its memory is, and computes what the simulator says on an emulated core."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import test_firmware
from installed import need, quickest
from test_firmware import Model, counts

from edgeq import board
from edgeq.build import Installation, build_firmware, toolchain
from edgeq.compare import compare
from edgeq.flash import cores, image
from edgeq.flash.line import Line
from edgeq.run import qemu, unicorn
from edgeq.run.emulated import EmulatedBoard
from edgeq.target import load

SILICON = [
    "esp32-c3", "gd32vf103", "hifive1", "nrf52840", "nrf52840-mcuboot", "nucleo-f446", "nucleo-h743", "nucleo-l4r5", "rp2040", "stm32f405",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return test_firmware.make(tmp_path_factory.mktemp("boards") / "m")


@pytest.mark.parametrize("target", SILICON)
def test_a_board_of_silicon(target: str, model: Model, tmp_path: Path) -> None:
    """Its program is linked for the vendor's memory map; that map and the core are emulated, its devices are not."""
    chip, place = load(target), board.load(load(target))
    chain = toolchain(chip, quickest(target))
    used = Installation(deployed=True)
    elf = build_firmware(model.folder, chip, chain, tmp_path / "fw.elf", app="selftest", optimize="-Os", installation=used)
    program, flash = image.read(elf), place.memory["flash"]
    cores.check(program, chip)
    assert program.origin == flash.origin and program.end <= flash.origin + flash.bytes
    done = unicorn.execute(elf, chip)
    assert (done.sent, done.exit_code) == (b"PASS\n", 0)
    assert place.boot is None and (place.programmer != "command" or target == "hifive1")


def test_netduinoplus2(model: Model, tmp_path: Path) -> None:
    """An STM32 with its UART and timer, as QEMU emulates it: counts and bytes are unicorn's, and it receives."""
    need("netduinoplus2", "gcc", "qemu")
    target = load("netduinoplus2")
    results = [m.run(model.folder, target, model.inputs, chain="gcc", optimize="-Os") for m in (unicorn, qemu)]
    assert all(compare(model.expected, r).bit_exact for r in results)
    assert counts(results[0]) == counts(results[1])


def test_nine_harts(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One computes, the others sleep; it halts at the end, for the line is lost when QEMU ends."""
    need("virt", "gcc", "qemu")
    target = load("virt")
    place = replace(board.load(target), boot=None)
    monkeypatch.setattr(board, "load", lambda _: place)
    chain = toolchain(target, "gcc")
    used = Installation(deployed=True)
    elf = build_firmware(model.folder, target, chain, tmp_path / "fw.elf", app="selftest", optimize="-Os", installation=used)
    with EmulatedBoard(elf, target, options=["-smp", "9"]) as emulated, Line(emulated.port, 115200) as line:
        emulated.start()
        assert line.read(5, 30.0) == b"PASS\n"
