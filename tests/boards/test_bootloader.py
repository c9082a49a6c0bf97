"""edgeq's bootloader: the same C on this computer under sanitizers, and on emulated boards behind a pseudo-terminal."""

from __future__ import annotations

import io
import random
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from elftools.elf.elffile import ELFFile
from installed import need, need_programs
from test_firmware import make

from edgeq import api, board, slots
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


def host(tmp_path_factory: pytest.TempPathFactory, slots: int) -> Path:
    """The bootloader as a program for this computer, with a region that ends where addresses do."""
    need_programs("gcc")
    firmware, program = resource("firmware"), tmp_path_factory.mktemp("boot") / "boot_host"
    region = [f"-DEQ_APP_SLOTS={slots}u", "-DEQ_APP_ORIGIN=0xFFFFC000u", "-DEQ_APP_BYTES=0x4000u", "-DEQ_APP_SECTOR=0x400u",
              "-DEQ_APP_CORE=0x4D04u"]  # fmt: skip
    command = [
        "gcc", *COMMON_FLAGS, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *region, "-DEQ_TICKS_PER_MS=1000u",
        "-idirafter", firmware / "lib", "-I", firmware / "bootloader", firmware / "bootloader/boot.c",
        firmware / "bootloader/slots.c", firmware / "lib/crc.c",
        Path(__file__).parent / "boot_host.c", "-o", program,
    ]  # fmt: skip
    subprocess.run([str(c) for c in command], check=True)
    return program


@pytest.fixture(scope="session")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return host(tmp_path_factory, 1)


@pytest.fixture(scope="session")
def two_slots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return host(tmp_path_factory, 2)


def call(program: Path, *words: str) -> list[int]:
    done = subprocess.run([str(program), *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [int(n) for n in re.findall(r"\d+", done.stdout)]


@pytest.mark.parametrize("slots", ["one_slot", "two_slots"])
def test_mutated_frames_do_no_harm(slots: str, request: pytest.FixtureRequest) -> None:
    """With two slots the program that is kept stays what it is, whatever comes."""
    frames, answers, started = call(request.getfixturevalue(slots), "fuzz", "1", str(FRAMES))
    assert frames >= FRAMES and answers > frames and started > 20, "the bootloader took part"


def test_power_fails_at_every_write(one_slot: Path) -> None:
    failures, old, none, new = call(one_slot, "cut")
    assert failures == old + none + new and failures > 900 and min(old, none, new) > 0


def test_power_fails_at_every_write_with_two_slots(two_slots: Path) -> None:
    """A program runs after every failure, and the old one where the new one did not confirm itself or is older."""
    counts = call(two_slots, "cut")
    assert len(counts) == 9
    for what, (failures, old, new) in zip(("good", "silent", "older"), (counts[i : i + 3] for i in (0, 3, 6)), strict=True):
        assert (failures, new) == (old, 0) and failures > 600, what  # the note of a program that works is lost with the power


@pytest.mark.parametrize("chain", ["gcc", "zig"])
@pytest.mark.parametrize("target", ["mps2-an386", "virt"])
def test_it_is_small(target: str, chain: str, tmp_path: Path) -> None:
    need(target, "gcc", "qemu")
    for count, most in ((1, 4096), (2, 5632)):
        elf = build_bootloader(load(target), toolchain(load(target), chain), tmp_path / "boot.elf", slots=count)
        assert 1024 < len(image.read(elf).data) < most


def test_a_program_that_would_not_start_is_refused_when_it_is_built(tmp_path: Path) -> None:
    """A board of the user's own, whose start-up file has no stack pointer in its vector table."""
    need("mps2-an386", "gcc")
    place = tmp_path / "firmware/bsp/mine"
    place.mkdir(parents=True)
    (place / "bsp.toml").write_text('inherits = "mps2-an386"\ndescription = "mine"\nsources = ["mine.S", "cortex_m_wait.c", "cmsdk.c"]\n')
    start = (resource("firmware") / "bsp/common/cortex_m.S").read_text()
    (place / "mine.S").write_text(start.replace(".word _stack_top", ".word 0", 1))
    (tmp_path / "mine.toml").write_text('inherits = "mps2-an386"\ndescription = "mine"\nbsp = "mine"\n')
    make(tmp_path / "m")
    with pytest.raises(EdgeqError, match=r"would not start \(its stack pointer, 0x0, is not in RAM, 0x20000000"):
        api.firmware(tmp_path / "m", board=str(tmp_path / "mine.toml"), output=tmp_path / "app.elf", toolchain="gcc")
    assert not (tmp_path / "app.elf").exists()


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


def stuck(application: Path, output: Path) -> Path:
    """The same program, which does nothing from its first instruction on."""
    parts = slots.split(application.read_bytes())
    hung = []
    for elf in (parts.first, parts.second):
        file = ELFFile(io.BytesIO(elf))
        (reset,) = file.get_section_by_name(".symtab").get_symbol_by_name("eq_reset")
        section = file.get_section(reset["st_shndx"])
        at = section["sh_offset"] + (reset["st_value"] & ~1) - section["sh_addr"]
        hung.append(elf[:at] + bytes.fromhex("fee7") + elf[at + 2 :])  # b .
    output.write_bytes(slots.join(slots.Parts(*hung, version=parts.version)))
    return output


def test_a_program_that_hangs_gives_way_to_the_one_of_before(
    built: dict[str, Files], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The watchdog ends its trial; nobody touches the board."""
    target = "mps2-an386"
    programs = files(target, built, tmp_path_factory)
    with EmulatedBoard(programs.bootloader, load(target), memory=tmp_path / "flash") as emulated:
        emulated.start()
        assert "in slot 1, verified, started, confirmed" in api.flash(programs.application, board=target, port=emulated.port)
        emulated.reset()
        with pytest.raises(EdgeqError, match=r"did not confirm that it works \(it restarted.*\).*version 0\.0\.0 of before runs"):
            api.flash(stuck(programs.application, tmp_path / "stuck.elf"), board=target, port=emulated.port)
        emulated.reset()
        with Line(emulated.port, 115200) as line:
            said = b""
            while chunk := line.read(1, 10.0):
                said += chunk
                if said.endswith(b"PASS\n"):
                    break
        assert said.endswith(b"PASS\n"), "the old program runs"
        older, newer = tmp_path / "older.elf", tmp_path / "newer.elf"
        for file, version in ((older, "1.0.9"), (newer, "1.1.0")):
            parts = slots.split(programs.application.read_bytes())
            file.write_bytes(slots.join(replace(parts, version=slots.version(version))))
        emulated.reset()
        assert "version 1.1.0" in api.flash(newer, board=target, port=emulated.port)
        emulated.reset()
        with pytest.raises(EdgeqError, match=r"runs a newer version \(it runs 1\.1\.0, and this is 1\.0\.9\)"):
            api.flash(older, board=target, port=emulated.port)
        assert "confirmed" in api.flash(older, board=target, port=emulated.port, allow_downgrade=True)


def test_versions_and_files_for_two_slots() -> None:
    assert slots.version("1.4.2") == 0x01040002 and slots.version("3.7") == 0x03070000 and slots.version_text(0x01040002) == "1.4.2"
    for text in ("", "1", "1.2.3.4", "256.0.0", "1.2.65536", "a.b.c", "-1.0.0"):
        with pytest.raises(EdgeqError, match="no version"):
            slots.version(text)
    for parts in (slots.Parts(b"\x7fELFfirst", b"\x7fELFsecond", 7), slots.Parts(b"plain"), slots.Parts(b""), slots.Parts(b"x", b"", 1)):
        assert slots.split(slots.join(parts)) == parts
    whole = slots.join(slots.Parts(b"\x7fELFfirst", b"\x7fELFsecond", 7))
    for cut in range(len(whole)):
        assert slots.split(whole[:cut]).first == whole[:cut], "a file that was cut off is no such file"


def test_another_boards_firmware_is_refused(built: dict[str, Files], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    arm, riscv = (files(t, built, tmp_path_factory) for t in ("mps2-an386", "virt"))
    with pytest.raises(EdgeqError, match="built for another core than virt's"):
        api.flash(arm.application, board="virt", port="/dev/null")
    with pytest.raises(EdgeqError, match="built for another core than mps2-an385's"):
        api.flash(arm.application, board="mps2-an385", port="/dev/null")
    with EmulatedBoard(riscv.bootloader, load("virt"), memory=tmp_path / "flash") as emulated:
        emulated.start()
        with pytest.raises(EdgeqError, match="the bootloader is another board's than mps2-an386's"):
            api.flash(arm.application, board="mps2-an386", port=emulated.port)
        with pytest.raises(EdgeqError, match=r"does not fit slot 1 of board virt"):
            api.flash(riscv.bootloader, board="virt", port=emulated.port)
