"""docs/add-a-target.md: its example is a target, and what is built for it computes what the simulator says."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from installed import need_emulator
from random_graphs import Builder

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import simulate

PAGE = (Path(__file__).parent.parent / "docs" / "add-a-target.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- example (\S+) -->\n```toml\n(.*?)```", PAGE, re.S))


def test_the_example_is_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_emulator("cortex-m4")
    assert sorted(FILES) == ["firmware/bsp/sensor/bsp.toml", "targets/sensor.toml"]
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("EDGEQ_PATH", str(tmp_path))
    chip = target.load("sensor")
    assert (chip.flash, chip.ram, chip.isa) == (256 * 1024, 64 * 1024, ("armv7em", "c"))
    b = Builder(1, "tflm")
    graph = b.graph(b.dense(b.input(1, 64), 10))
    program = lower(graph, chip)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    rng = np.random.default_rng(zlib.crc32(b"sensor"))
    data = {n: rng.integers(-128, 128, (4, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}
    assert compare(simulate(graph, data), run(tmp_path / "m", chip, data)).bit_exact


def test_the_keys_of_a_chip_are_those_of_cortex_m4() -> None:
    """The page's annotated file says what targets/cortex-m4.toml says."""
    shown = re.search(r"one file in `targets/`\n\n```toml\n(.*?)```", PAGE, re.S)
    assert shown is not None
    real = (Path(__file__).parent.parent / "targets" / "cortex-m4.toml").read_text(encoding="utf-8")
    own = dict(re.findall(r'^(\w+) = (\[.*?\]|"[^"]*")', real.split("[unicorn]")[0], re.M))
    told = dict(re.findall(r'^(\w+) = (\[.*?\]|"[^"]*")', shown[1].split("[unicorn]")[0], re.M))
    assert {k: told.get(k) for k in own} == own
