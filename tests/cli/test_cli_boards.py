"""firmware, flash, export, new: what they print, and how they fail."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from installed import need
from test_firmware import make

from edgeq import target as targets
from edgeq.build import build_firmware, toolchain
from edgeq.flash import ports
from edgeq.flash.ports import Connected
from edgeq.record.pairs import read
from edgeq.run.emulated import EmulatedBoard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("boards") / "m").folder


def test_firmware_and_what_flash_refuses(edgeq, folder: Path, tmp_path: Path) -> None:
    chain = "gcc" if shutil.which("arm-none-eabi-gcc") else "zig"
    elf = tmp_path / "fw.elf"
    made = edgeq("firmware", folder, "--board", "stm32f405", "-o", elf, "--toolchain", chain, "--json").json
    assert made["origin"] == 0x08000000 and made["bytes"] > 1000 and made["bootloader"] is None
    assert "does not serve board stm32f405" in edgeq(
        "firmware", folder, "-b", "stm32f405", "-o", elf, "--toolchain", chain, "--bootloader", tmp_path / "boot.elf"
    ).error  # fmt: skip
    assert "cannot open the port" in edgeq("flash", elf, "--board", "stm32f405", "--port", tmp_path / "none").error
    assert "give --port" in edgeq("flash", elf, "--board", "stm32f405").error
    assert "built for another core than gd32vf103's" in edgeq("flash", elf, "--board", "gd32vf103", "--port", "x").error
    assert "does not fit the flash of board nrf52840" in edgeq("flash", elf, "-b", "nrf52840", "--programmer", "copy").error
    assert "unknown programmer 'x'" in edgeq("flash", elf, "--board", "virt", "--programmer", "x").error
    assert "not an ELF file" in edgeq("flash", folder / "m.c", "--board", "virt", "--port", "x").error
    assert edgeq("flash", elf, "-b", "stm32f405", "--command", "true {elf}", "--json").json["done"] == "true has succeeded"
    assert "false failed with exit code 1" in edgeq("flash", elf, "-b", "stm32f405", "--command", "false").err
    assert "edgeq export DIR --format esp-idf" in edgeq("firmware", folder, "-b", "esp32-c3", "-o", elf).error
    assert "unknown application 'x'" in edgeq("firmware", folder, "-b", "virt", "-o", elf, "--app", "x").error


def test_list(edgeq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "connected", lambda: [])
    assert "Neither" in edgeq("flash", "--list").out
    monkeypatch.setattr(ports, "connected", lambda: [Connected("/dev/x", "an adapter", "an3155", ("stm32f405",))])
    assert edgeq("flash", "--list", "--json").json == [
        {"port": "/dev/x", "what": "an adapter", "programmer": "an3155", "boards": ["stm32f405"]}
    ]
    assert "an adapter" in edgeq("flash", "--list").out


def test_export(edgeq, folder: Path, tmp_path: Path) -> None:
    assert edgeq("export", folder, "-f", "arduino", "-o", tmp_path).out.strip() == str(tmp_path / "m.zip")
    assert edgeq("export", folder, "-f", "arduino", "-o", tmp_path / "new").out.strip() == str(tmp_path / "new" / "m.zip"), (
        "a folder to make"
    )
    assert edgeq("export", folder, "-f", "arduino", "-o", tmp_path / "own.zip").out.strip() == str(tmp_path / "own.zip")
    (tmp_path / "file").write_text("mine")
    assert "cannot write the folder" in edgeq("export", folder, "-f", "arduino", "-o", tmp_path / "file").error
    assert edgeq("export", folder, "-f", "c", "-o", tmp_path / "c", "--json").json["format"] == "c"
    assert "unknown format" in edgeq("export", folder, "-f", "x", "-o", tmp_path / "x").error
    assert "no emitted model here" in edgeq("export", tmp_path / "c", "-f", "c", "-o", tmp_path / "x").error


def test_changed_code_is_exported_with_trust_alone(edgeq, folder: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(folder, tmp_path / "changed")
    with (changed / "m_kernels.c").open("a") as file:
        file.write("/* another line */\n")
    assert "changed after edgeq wrote it: m_kernels.c" in edgeq("export", changed, "-f", "c", "-o", tmp_path / "c").error
    assert not (tmp_path / "c").exists()
    assert edgeq("export", changed, "-f", "c", "-o", tmp_path / "c", "--trust").out


def test_new(edgeq, tmp_path: Path) -> None:
    written = edgeq("new", "my-board", "--root", tmp_path, "--json").json["written"]
    assert [Path(p).name for p in written] == ["my-board.toml", "bsp.toml", "uart.c"] and all(Path(p).is_file() for p in written)
    assert "exists" in edgeq("new", "my-board", "--root", tmp_path).error


@pytest.mark.parametrize(
    ("name", "meant"),
    [("stm32f4", "stm32f405"), ("cortex-m4f", "cortex-m4"), ("nrf52", "nrf52840"), ("Cortex_M4", "cortex-m4"), ("riscvf", "riscv-f")],
)
def test_unknown_targets_are_guessed(edgeq, model: Path, tmp_path: Path, name: str, meant: str) -> None:
    assert f"did you mean {meant}" in edgeq("build", model, "-t", name, "-o", tmp_path / "o").error


def test_targets_fit_a_terminal(edgeq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = edgeq("targets").out.splitlines()
    assert max(map(len, lines)) <= 80 and any("cortex-m4" in line for line in lines)
    titles = [line.strip() for line in lines if line and not line.startswith(" ")]
    assert titles == ["this computer", "Arm cores", "RISC-V cores", "Arm boards", "RISC-V boards"]


def test_targets_are_found_by_words(edgeq) -> None:
    assert [t["name"] for t in edgeq("targets", "STM32", "l4", "--json").json] == ["nucleo-l4r5"]
    assert "no target has 'm4' and 'riscv'" in edgeq("targets", "m4", "riscv").error


def test_boards_of_ones_own(edgeq, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written to the current folder; found there, by path and through EDGEQ_PATH; edgeq's own names stay edgeq's."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    written = edgeq("new", "my-board", "--core", "riscv", "--json").json["written"]
    assert next(str(Path(w)) for w in written) == "targets/my-board.toml" and Path("firmware/bsp/my-board/bsp.toml").is_file()
    own = Path("targets/my-board.toml").resolve()
    assert "of its own" in edgeq("new", "cortex-m4").error
    Path("targets/cortex-m4.toml").write_text("inherits = 'riscv'\ndescription = 'not this one'\n")
    names = {t["name"]: t["description"] for t in edgeq("targets", "--json").json}
    assert "my-board" in names and "not this one" not in names.values()
    assert "your own" in edgeq("targets").out
    board = edgeq("firmware", model, "-b", "my-board", "-o", "x.elf").error
    assert "no emitted model" in board
    monkeypatch.chdir(tmp_path)
    assert "unknown target" in edgeq("build", model, "-t", "my-board", "-o", "o").error
    assert edgeq("build", model, "-t", own, "-o", "o", "--no-check").code == 0
    assert "unknown target 'my-board'" in edgeq("run", "o", "-n", 1).error
    monkeypatch.setenv("EDGEQ_PATH", str(tmp_path / "project"))
    assert edgeq("build", model, "-t", "my-board", "-o", "p", "--no-check", "--json").json["target"] == "my-board"


def test_bench_adds_pairs(edgeq, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chain: str) -> None:
    """An emulated board of one's own, whose clock is that of its instructions, 128 ns each; then one at another clock."""
    need("mps2-an386", chain, "qemu")
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "firmware" / "bsp" / "measured" / "bsp.toml"
    own.parent.mkdir(parents=True)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "measured.toml").write_text("inherits = 'mps2-an386'\nbsp = 'measured'\n")
    board = "inherits = 'mps2-an386'\n{}\n[estimate]\nclock = 7_812_500\n"
    own.write_text(board.format(""))
    built = edgeq("build", model, "-t", "measured", "-o", "o", "--toolchain", chain, "--json").json
    machine = targets.load("measured")
    build_firmware(Path("o"), machine, toolchain(machine, chain), Path("s.elf"), app="serve", optimize="-Os")  # which no bootloader starts
    asked = ("bench", "o", "-n", 2, "--timeout", 60, "--pairs", "pairs.json", "--port")
    with EmulatedBoard(tmp_path / "s.elf", machine) as emulated:
        emulated.start()
        assert "1 pair" in edgeq(*asked, emulated.port).out
        pair = edgeq(*asked, emulated.port, "--json").json["pair"]
    run = built["runs"]["unicorn"]
    assert pair["estimate"] == run["cycles"]["total"] and pair["measured"] == pytest.approx(run["instructions"], rel=0.05)
    assert [asdict(p) for p in read(tmp_path / "pairs.json")] == [pair], "the same program once"
    shutil.copy("pairs.json", own.parent)
    wider = edgeq("build", model, "-t", "measured", "-o", "p", "--toolchain", chain, "--json").json["runs"]["unicorn"]["cycles"]
    assert wider["low"] == pytest.approx(pair["measured"] / pair["estimate"]) and wider["low"] < run["cycles"]["low"]
    own.write_text(board.format("sources = ['cortex_m.S', 'cortex_m_wait.c', 'cmsdk.c', 'dwt_clock.c']"))
    other = edgeq(*asked, "nowhere").error
    assert "leaves it at 25 MHz, [estimate] is for 7.8125" in other and "EQ_TICKS_PER_MS = 7812" in other, "before it is measured"
    Path("pairs.json").write_text("{}x")
    own.write_text(board.format(""))
    assert "no file of pairs" in edgeq(*asked, "nowhere").error and Path("pairs.json").read_text() == "{}x"
