"""The same model gives the same bytes: under other hash seeds, in other processes, under other thread counts."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = """
import sys
from pathlib import Path
import numpy as np
from edgeq import target
from edgeq.emit import emit, write
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.simulate import simulate

model, folder = sys.argv[1], Path(sys.argv[2])
if model.endswith(".tflite"):
    from edgeq.frontends import load
    graph = load(model)
else:
    sys.path.insert(0, sys.argv[3])
    from random_graphs import random_graph
    graph = random_graph(int(model), layers=16, dead=0.3)
graph = normalise(graph)
rng = np.random.default_rng(0)
x = {n: rng.integers(-128, 128, (4, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}
program = lower(graph, target.load("host"))
write(emit(program, plan(program), graph.name, {**x, **simulate(graph, x).outputs}), folder)
"""


def build(model: str, folder: Path, seed: str, **environment: str) -> dict[str, str]:
    """Build in a process of its own; the SHA-256 of every file."""
    command = [sys.executable, "-c", BUILD, model, str(folder), str(Path(__file__).parent)]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "PYTHONHASHSEED": seed, **environment})
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def same(model: str, tmp_path: Path) -> None:
    first = build(model, tmp_path / "a", "1")
    second = build(model, tmp_path / "elsewhere" / "b", "4242", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", LANG="C", TZ="Asia/Tokyo")
    assert len(first) > 10 and first == second
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert len(manifest["steps"]) > 3


@pytest.mark.parametrize("seed", ["3", "8"])
def test_random_graph(seed: str, tmp_path: Path) -> None:
    same(seed, tmp_path)


@pytest.mark.parametrize("model", ["kws_ref_model", "vww_96_int8"])
def test_real_model(model: str, data: Path, tmp_path: Path) -> None:
    same(str(data / "mlperf_tiny" / f"{model}.tflite"), tmp_path)


def test_different_models_differ(tmp_path: Path) -> None:
    """The comparison above can fail."""
    a, b = build("3", tmp_path / "a", "0"), build("8", tmp_path / "b", "0")
    assert a["random_weights.c"] != b["random_weights.c"]
