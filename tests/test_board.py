"""Emulated boards behind pseudo-terminals: the link on the chip's own UART, and boards that lose their supply."""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import need
from mlperf_tiny import INT8, keywords, path
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "digits"))

from edgeq import api
from edgeq import target as targets
from edgeq.build import Installation, build_firmware, toolchain
from edgeq.cli.main import app
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap
from edgeq.flash import client
from edgeq.record import manifest
from edgeq.run import serial
from edgeq.run.device import Fault
from edgeq.run.emulated import EmulatedBoard
from edgeq.run.layout import Layout
from edgeq.run.ports import Port

BOARDS = ("virt", "mps2-an386")
LOADED = 60.0  # seconds of silence that a busy computer may cause
DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"


def firmware(folder: Path, board: str, elf: Path, **options: Any) -> Path:
    target = targets.load(board)
    return build_firmware(folder, target, toolchain(target, "gcc"), elf, app="serve", optimize="-Os", **options)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, Path]]:
    """Per board the digits network: its folder, its firmware, and labelled images."""
    pytest.importorskip("sklearn")
    from data import write

    work = tmp_path_factory.mktemp("digits")
    calibration, test = write(work)
    graph = api.quantize(api.load(DIGITS), calibration).graph
    made = {}
    for board in BOARDS:
        need(board, "gcc", "qemu")
        folder = api.build(graph, output=work / board, target=board, name="digits", vectors=0, check=False).folder
        made[board] = (folder, firmware(folder, board, work / f"{board}.elf"), test)
    return made


@pytest.mark.parametrize("board", BOARDS)
def test_digits_over_the_link(board: str, digits: dict[str, tuple[Path, Path, Path]]) -> None:
    folder, elf, test = digits[board]
    with EmulatedBoard(elf, targets.load(board)) as emulated:
        emulated.start()
        port = Port(emulated.port, timeout=LOADED)
        result = api.compare_board(folder, port, data=test, limit=60)
        assert result.bit_exact and result.outputs.vectors == 60 and result.steps is not None
        assert result.steps.tensors == len(manifest(folder).steps)
        assert result.labelled == 60 and result.right_board == result.right_simulator and (result.right_board or 0) > 50
        bench = api.bench_board(port, folder, vectors=3)
        with serial.connect(port) as device, pytest.raises(EdgeqError, match="lie in flash and cannot be changed"):
            device.damage([Fault(0, 0, 1)])
        with serial.connect(port) as device, pytest.raises(EdgeqError, match=r"--weights ram"), device.damaged(b"map"):
            pass
    total = sum(ticks for _, ticks in bench.steps)
    assert bench.measured.ticks[0] == pytest.approx(total, rel=0.02) and bench.measured.run.instructions is not None
    emulator = api.run(folder, vectors=3, toolchain="gcc", optimize="s").run
    assert bench.measured.run.instructions == pytest.approx(emulator.instructions, rel=0.01)
    assert bench.measured.run.stack_bytes == pytest.approx(emulator.stack_bytes, abs=64)
    assert 0 < bench.statistics.touched_arena <= bench.statistics.arena == manifest(folder).arena_bytes


@pytest.mark.parametrize("board", BOARDS)
def test_flash_then_a_hundred_keywords_over_the_link(board: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REPLY", LOADED)
    need(board, "gcc", "qemu")
    model = path(data, INT8["kws"])
    x, y = keywords(data)
    folder = api.build(api.load(model), output=tmp_path / "kws", target=board, name="kws", vectors=0, check=False).folder
    made = api.firmware(folder, board=board, app="serve", output=tmp_path / "kws.elf", bootloader=tmp_path / "boot.elf", toolchain="gcc")
    assert made.bootloader is not None
    with EmulatedBoard(made.bootloader, targets.load(board), memory=tmp_path / "flash") as emulated:
        emulated.start()
        assert "verified, started" in api.flash(made.elf, board=board, port=emulated.port)
        result = api.compare_board(folder, Port(emulated.port, timeout=LOADED), data={"x": x, "y": y}, limit=100)
        with serial.connect(Port(emulated.port, timeout=LOADED), manifest(folder)) as device:
            device.invoke(stop=True)
        assert "verified, started" in api.flash(made.elf, board=board, port=emulated.port), "it restarts into the bootloader"
    assert result.bit_exact and result.outputs.vectors == result.labelled == 100 and result.outputs.values == 1200
    assert result.right_board == result.right_simulator and (result.right_board or 0) > 85


@pytest.mark.parametrize("board", BOARDS)
def test_weights_in_ram_can_be_damaged_and_restored(board: str, digits: dict[str, tuple[Path, Path, Path]], tmp_path: Path) -> None:
    fast, _, test = digits[board]
    folder = api.build(fast, output=tmp_path / "digits", target=board, vectors=0, check=False, hardened=True).folder
    elf = firmware(folder, board, tmp_path / "ram.elf", installation=Installation(weights="ram"))
    chosen = ("--faults", "stuck:0.3", "--p", "0.5%", "--seed", "7", "-n", "2", "--timeout", str(LOADED))
    with EmulatedBoard(elf, targets.load(board)) as emulated:
        emulated.start()
        port = Port(emulated.port, timeout=LOADED)
        bias = next(t for t in manifest(folder).tables if t.endswith("bias"))  # of the first layer: half of it gets millions more
        step = next(s for s in manifest(folder).steps if bias in s.tables)
        assert api.compare_board(folder, port, data=test, limit=4).bit_exact
        with serial.connect(port) as device:
            device.damage([Fault.of(manifest(folder), bias.removeprefix("digits_"), i, 0x40) for i in range(2, 64, 8)])
        bad = api.compare_board(folder, port, data=test, limit=4, steps=0)
        assert bad.tables == (bias,) and not bad.outputs.bit_exact
        assert bad.steps is not None and bad.steps.difference is not None and bad.steps.difference.tensor == step.tensor
        with serial.connect(port) as device:
            device.restore()
        assert api.compare_board(folder, port, data=test, limit=4).bit_exact
        for verb in ("run", "compare"):
            result = CliRunner().invoke(app, [verb, str(folder), "--port", emulated.port, *chosen], prog_name="edgeq")
            assert result.exit_code == 0 and "stuck, seed 7, p 0.5 %" in result.stdout and "bit-exact" in result.stdout, result.output
        with pytest.raises(EdgeqError, match=r"bit errors would make.*edgeq build --hardened"):
            api.compare_board(fast, port, faults=FaultMap(p=0.01))


def test_ten_power_cuts_while_streaming(digits: dict[str, tuple[Path, Path, Path]]) -> None:
    folder, elf, _ = digits["virt"]
    layout, inputs, rng = Layout(manifest(folder)), api.random_inputs(api.load(folder), 2000), random.Random(7)
    for _ in range(10):
        with EmulatedBoard(elf, targets.load("virt")) as emulated:
            emulated.start()
            with serial.connect(Port(emulated.port, timeout=LOADED)) as device:
                cut = threading.Timer(rng.uniform(0, 0.2), emulated.kill)
                cut.start()
                with pytest.raises(EdgeqError, match=r"the port is gone|fell silent") as caught:
                    serial.measure(device, layout, inputs, steps=True)
                assert "\n" not in str(caught.value)
                cut.join()
    with EmulatedBoard(elf, targets.load("virt")) as emulated:
        emulated.start()
        assert api.compare_board(folder, Port(emulated.port, timeout=LOADED)).bit_exact


def test_a_reset_while_streaming(digits: dict[str, tuple[Path, Path, Path]]) -> None:
    folder, elf, _ = digits["mps2-an386"]
    with EmulatedBoard(elf, targets.load("mps2-an386")) as emulated:
        emulated.start()
        port = Port(emulated.port, timeout=LOADED)
        with serial.connect(port) as device:
            device.invoke(stop=True)
            emulated.reset()
            with pytest.raises(EdgeqError, match="the board was restarted in the middle"):
                device.resume()
        assert api.compare_board(folder, port).bit_exact


def test_the_commands_take_a_port(digits: dict[str, tuple[Path, Path, Path]], tmp_path: Path) -> None:
    folder, elf, test = digits["virt"]

    def edgeq(*words: object) -> Any:
        return CliRunner().invoke(app, [*(str(w) for w in words), "--timeout", str(LOADED)], prog_name="edgeq")

    with EmulatedBoard(elf, targets.load("virt")) as emulated:
        emulated.start()
        port = ("--port", emulated.port)
        ran = edgeq("run", folder, *port, "-n", 2, "-o", tmp_path / "y.npz", "--json")
        assert ran.exit_code == 0 and json.loads(ran.stdout)["bit_exact"] and json.loads(ran.stdout)["instructions"] > 1e5
        with np.load(tmp_path / "y.npz") as file:
            assert file["probability"].shape == (2, 1, 10)
        compared = edgeq("compare", folder, *port, "--data", test, "--limit", 8, "--json")
        record = json.loads(compared.stdout)
        assert compared.exit_code == 0 and record["bit_exact"] and record["right"]["board"] == record["right"]["simulator"] > 6
        assert "all 29 tables intact" in edgeq("compare", folder, *port, "-n", 2).stdout
        measured = edgeq("bench", folder, *port, "-n", 2)
        assert measured.exit_code == 0 and "node_softmax" in measured.stdout
        assert json.loads(edgeq("bench", *port, "-n", 2, "--json").stdout)["model"] == "digits"
        assert edgeq("compare", folder, *port, "--runner", "qemu").exit_code == edgeq("compare", folder, "--data", test).exit_code == 2
    gone = edgeq("run", folder, *port)
    assert gone.exit_code == 1 and len(gone.stderr.splitlines()) == 1
