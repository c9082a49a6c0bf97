"""The whole way of a model to a board: build, flash through the bootloader, verify, start, infer over the link."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlperf_tiny import INT8, keywords, path
from test_firmware import need

from edgeq import api
from edgeq.run.emulated import EmulatedBoard
from edgeq.run.ports import Port
from edgeq.target import load


@pytest.mark.parametrize("target", ["mps2-an386", "virt"])
def test_a_hundred_keywords(target: str, data: Path, tmp_path: Path) -> None:
    need(target, "gcc", "qemu")
    x, y = keywords(data)
    folder = api.build(api.load(path(data, INT8["kws"])), output=tmp_path / "kws", target=target, name="kws", vectors=0, check=False).folder
    made = api.firmware(
        folder, board=target, output=tmp_path / "kws.elf", app="serve", bootloader=tmp_path / "boot.elf", toolchain="gcc"
    )
    assert made.bootloader is not None
    with EmulatedBoard(made.bootloader, load(target), memory=tmp_path / "flash") as emulated:
        emulated.start()
        stages: dict[str, tuple[int, int]] = {}
        done = api.flash(made.elf, board=target, port=emulated.port, progress=lambda s, n, all: stages.update({s: (n, all)}))
        assert done.endswith("verified, started") and list(stages) == ["erase", "write", "verify"]
        assert all(n == total for n, total in stages.values())
        result = api.compare_board(folder, Port(emulated.port, timeout=20.0), data={"x": x, "y": y}, limit=100)
    assert result.bit_exact and result.outputs.vectors == result.labelled == 100
    assert result.right_board == result.right_simulator and (result.right_board or 0) > 85
