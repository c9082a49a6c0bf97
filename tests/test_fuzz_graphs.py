"""Random small graphs through the whole path: normalise, (quantize,) lower, plan, emit, build, run; every step as the simulator says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from random_graphs import random_graph

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.ir import Array, DType, Graph
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.quantize import Options, dequantized, quantize
from edgeq.run import host
from edgeq.simulate import simulate

CHAIN = "gcc" if shutil.which("gcc") else "zig"
VECTORS = 40


def vectors(graph: Graph, seed: int) -> dict[str, Array]:
    """int8 vectors: noise over all values, and the two extremes."""
    rng = np.random.default_rng(seed)
    arrays = {n: rng.integers(-128, 128, (VECTORS, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}
    for a in arrays.values():
        a[0], a[1] = -128, 127
    return arrays


def prove(graph: Graph, inputs: dict[str, Array], folder: Path) -> dict[str, Array]:
    """Lower, plan, emit and run on the host, all steps compared; returns the outputs."""
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "fuzz"), folder)
    expected = simulate(program.graph, inputs, steps=True)
    found = compare(expected, host.run(folder, inputs, steps=True, chain=CHAIN, optimize="-O1"))
    assert found.difference is None, found.difference
    assert found.vectors == VECTORS and found.tensors >= len(program.calls)
    return dict(expected.outputs)


@pytest.mark.parametrize("law", ["single", "tflm"])
@pytest.mark.parametrize("seed", range(6))
def test_quantized(seed: int, law: str, tmp_path: Path) -> None:
    graph = random_graph(1000 + seed, law, layers=5 + seed, dead=0.2 * (seed % 3))
    inputs = vectors(graph, seed)
    plain = simulate(graph, inputs).outputs
    proven = prove(normalise(graph), inputs, tmp_path / "out")
    assert plain.keys() == proven.keys()
    assert all(np.array_equal(plain[n], proven[n]) for n in plain)


@pytest.mark.parametrize("law", ["single", "tflm"])
@pytest.mark.parametrize("seed", range(3))
def test_float(seed: int, law: str, tmp_path: Path) -> None:
    origin = random_graph(2000 + seed, "single", layers=5)
    real = normalise(dequantized(origin))
    assert all(real.type(n).dtype is DType.FLOAT32 for n in real.inputs)
    rng = np.random.default_rng(seed)
    samples = {n: rng.normal(0, 4, (16, *real.type(n).shape)).astype(np.float32) for n in real.inputs}
    graph = quantize(real, samples, Options(law=law))
    assert graph.law == law
    prove(graph, vectors(graph, seed), tmp_path / "out")
