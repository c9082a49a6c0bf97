"""The self-test firmware: a verdict for each step, on the board, without a host."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from installed import quickest
from random_graphs import Builder

from edgeq.build import build_firmware, toolchain
from edgeq.emit import emit, write
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.run import unicorn
from edgeq.simulate import simulate
from edgeq.target import load


def emitted(folder: Path) -> Path:
    b = Builder(5, "single")
    x = b.input(1, 6, 6, 3)
    graph = b.graph(b.dense(b.pool(b.conv(b.depthwise(x), 8, 3)), 4))
    inputs = {x: np.random.default_rng(1).integers(-128, 128, (3, 1, 6, 6, 3)).astype(np.int8)}
    expected, program = simulate(graph, inputs, steps=True), lower(graph, load("host"))
    write(emit(program, plan(program), "m", {**expected.steps, **inputs, **expected.outputs}), folder)
    return folder


@pytest.mark.parametrize("target", ["cortex-m3", "riscv"])
def test_a_verdict_for_each_step(target: str, tmp_path: Path) -> None:
    chain = quickest(target)
    right = emitted(tmp_path / "right")
    wrong = shutil.copytree(right, tmp_path / "wrong")
    weights = wrong / "m_weights.c"
    text = weights.read_text(encoding="utf-8")
    changed = re.sub(r"(int32_t m_s1_\w+\[\d+\] = \{\s*)(-?\d+)", lambda m: f"{m[1]}{int(m[2]) + 9000}", text, count=1)
    assert changed != text
    weights.write_text(changed, encoding="utf-8")
    said = {}
    for folder in (right, wrong):
        elf = build_firmware(folder, load(target), toolchain(load(target), chain), tmp_path / "t.elf", app="selftest", hook=True)
        done = unicorn.execute(elf, load(target))
        said[folder.name] = done.sent.decode().splitlines()
        assert done.exit_code == (folder is wrong)
    steps = [f"step {i:5d} " for i in range(len(said["right"]) - 1)]
    assert len(steps) == 4 and said["right"] == [*(f"{s}PASS" for s in steps), "PASS"]
    assert said["wrong"][0] == f"{steps[0]}PASS" and said["wrong"][1] == f"{steps[1]}FAIL" and said["wrong"][-1] == "FAIL"
