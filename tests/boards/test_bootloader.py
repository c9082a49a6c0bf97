"""edgeq's bootloader: the same C on this computer under sanitizers, and on emulated boards behind a pseudo-terminal."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from installed import need, need_programs
from test_firmware import make

from edgeq import api, board
from edgeq.build import COMMON_FLAGS, build_bootloader, toolchain
from edgeq.errors import EdgeqError
from edgeq.flash import an3155, image
from edgeq.flash.line import Line, LineLost
from edgeq.resources import resource
from edgeq.run.emulated import EmulatedBoard
from edgeq.target import load, names

BOARDS = [n for n in names() if load(n).bsp and board.load(load(n)).boot and not n.startswith(("cortex", "riscv"))]
FRAMES = 200_000


class Files(NamedTuple):
    """A board's bootloader, an application, and another one."""

    bootloader: Path
    application: Path


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bootloader as a program for this computer, with a region that ends where addresses do."""
    need_programs("gcc")
    firmware, program = resource("firmware"), tmp_path_factory.mktemp("boot") / "boot_host"
    region = ["-DEQ_APP_ORIGIN=0xFFFFC000u", "-DEQ_APP_BYTES=0x4000u", "-DEQ_APP_SECTOR=0x400u", "-DEQ_APP_CORE=0x4D04u"]
    command = [
        "gcc", *COMMON_FLAGS, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *region, "-DEQ_TICKS_PER_MS=1000u",
        "-idirafter", firmware / "lib", "-I", firmware / "bootloader", firmware / "bootloader/boot.c", firmware / "lib/crc.c",
        Path(__file__).parent / "boot_host.c", "-o", program,
    ]  # fmt: skip
    subprocess.run([str(c) for c in command], check=True)
    return program


def call(host: Path, *words: str) -> list[int]:
    done = subprocess.run([str(host), *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [int(n) for n in re.findall(r"\d+", done.stdout)]


def test_mutated_frames_do_no_harm(host: Path) -> None:
    frames, answers, started = call(host, "fuzz", "1", str(FRAMES))
    assert frames >= FRAMES and answers > frames and started > 20, "the bootloader took part"


def test_power_fails_at_every_write(host: Path) -> None:
    failures, old, none, new = call(host, "cut")
    assert failures == old + none + new and failures > 900 and min(old, none, new) > 0


@pytest.mark.parametrize("chain", ["gcc", "zig"])
@pytest.mark.parametrize("target", ["mps2-an386", "virt"])
def test_it_is_smaller_than_4_kb(target: str, chain: str, tmp_path: Path) -> None:
    need(target, "gcc", "qemu")
    elf = build_bootloader(load(target), toolchain(load(target), chain), tmp_path / "boot.elf")
    assert 1024 < len(image.read(elf).data) < 4096


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    """Programs by target, built when they are asked for."""
    return {}


def files(target: str, built: dict[str, Files], tmp_path_factory: pytest.TempPathFactory) -> Files:
    need(target, "gcc", "qemu")
    if target not in built:
        folder = tmp_path_factory.mktemp(target)
        make(folder / "m")
        made = api.firmware(folder / "m", board=target, output=folder / "app.elf", bootloader=folder / "boot.elf", toolchain="gcc")
        assert made.bootloader is not None
        built[target] = Files(made.bootloader, made.elf)
    return built[target]


class Cut(Line):
    """A line to a board that is switched on when the line is there, and unplugged before the n-th word to it."""

    emulated: EmulatedBoard
    words = -1

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.emulated.start()

    def write(self, data: bytes) -> None:
        Cut.words -= 1
        if Cut.words == 0:
            self.emulated.kill()
        super().write(data)


def flash(files: Files, target: str, emulated: EmulatedBoard, monkeypatch: pytest.MonkeyPatch, words: int = -1) -> str:
    """Switch on, flash, start, and return what the application says."""
    said = bytearray()
    monkeypatch.setattr(an3155, "Line", Cut)
    Cut.emulated, Cut.words = emulated, words
    stages: dict[str, bool] = {}

    def progress(stage: str, done: int, total: int) -> None:
        stages[stage] = done == total

    def heard(data: bytes) -> None:
        said.extend(data)
        if said.endswith(b"\n"):
            raise LineLost("that was all")

    done = api.flash(files.application, board=target, port=emulated.port, listen=20, heard=heard, progress=progress)
    assert "verified, started" in done and stages == {"erase": True, "write": True, "verify": True}
    return said.decode()


@pytest.mark.parametrize("target", BOARDS)
def test_flash_start_and_start_again(
    target: str, built: dict[str, Files], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = files(target, built, tmp_path_factory)
    with EmulatedBoard(programs.bootloader, load(target), memory=tmp_path / "flash") as emulated:
        assert flash(programs, target, emulated, monkeypatch).endswith("PASS\n")
        emulated.reset()  # a call within the first moments is heard although there is an application
        assert flash(programs, target, emulated, monkeypatch).endswith("PASS\n")
    with EmulatedBoard(programs.bootloader, load(target), memory=tmp_path / "flash") as emulated, Line(emulated.port, 115200) as line:
        emulated.start()
        assert line.read(5, 20.0), "the application is started after power-on"


@pytest.mark.parametrize(("target", "moments"), [("mps2-an386", 10), ("virt", 10)])
def test_unplugged_while_flashing(
    target: str,
    moments: int,
    built: dict[str, Files],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The emulator is killed; what its flash held then is in a file. The next one refuses to start half an image."""
    programs, dice = files(target, built, tmp_path_factory), random.Random(target)
    for _ in range(moments):
        with (
            EmulatedBoard(programs.bootloader, load(target), memory=tmp_path / "flash") as emulated,
            pytest.raises(LineLost, match=r"connection to the board was lost.*flash it once more"),
        ):
            flash(programs, target, emulated, monkeypatch, words=dice.randint(2, 15))
        with EmulatedBoard(programs.bootloader, load(target), memory=tmp_path / "flash") as emulated:
            assert flash(programs, target, emulated, monkeypatch).endswith("PASS\n")


def test_another_boards_firmware_is_refused(
    built: dict[str, Files], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    arm, riscv = (files(t, built, tmp_path_factory) for t in ("mps2-an386", "virt"))
    with pytest.raises(EdgeqError, match="built for another core than virt's"):
        api.flash(arm.application, board="virt", port="/dev/null")
    with pytest.raises(EdgeqError, match="built for another core than mps2-an385's"):
        api.flash(arm.application, board="mps2-an385", port="/dev/null")
    with EmulatedBoard(riscv.bootloader, load("virt"), memory=tmp_path / "flash") as emulated:
        emulated.start()
        with pytest.raises(EdgeqError, match="the bootloader is another board's than mps2-an386's"):
            api.flash(arm.application, board="mps2-an386", port=emulated.port)
        with pytest.raises(EdgeqError, match=r"does not fit the application's region of board virt"):
            api.flash(riscv.bootloader, board="virt", port=emulated.port)
