"""The five int8 MLPerf Tiny models, byte for byte: TensorFlow Lite Micro, the simulator, C on the host, C on emulated chips."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlperf_tiny
import numpy as np
import pytest
from installed import uncounted
from mlperf_tiny import FLOAT, INT8
from tflite_models import dequantized, litert, real, tflm

from edgeq import target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.frontends import load
from edgeq.frontends.tflite import file as tflite_file
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import dequantize_array, simulate

BEST_KWS = 0.89
EMULATED = 4
QEMU = {"riscv": "qemu-system-riscv32", "cortex-m4": "qemu-system-arm"}


def classes(y: Array) -> Array:
    return y.reshape(len(y), -1).argmax(1)


@pytest.mark.parametrize("model", INT8)
def test_simulator_equals_tflite_micro(model: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mlperf_tiny.path(data, INT8[model])
    graph, x = load(path), mlperf_tiny.inputs(data, model)
    assert len(x) >= 256 and graph.law == "tflm"
    theirs = tflm(path.read_bytes(), [x])[0]
    for stage in (graph, normalise(graph)):
        mine = simulate(stage, {stage.inputs[0]: x}).outputs[stage.outputs[0]]
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert (mine == theirs).all(), f"{(mine != theirs).sum()} of {mine.size} bytes differ"
    assert len(np.unique(theirs)) > 20 or model == "wake_word"
    if model == "kws":
        labels = mlperf_tiny.keywords(data)[1]
        accuracy, reference = ((classes(y)[: len(labels)] == labels).mean() for y in (mine, theirs))
        with capsys.disabled():
            print(f"\nKWS on {len(labels)} inputs: edgeq {100 * accuracy:.1f} %, tflite-micro {100 * reference:.1f} %")
        assert accuracy >= BEST_KWS


@pytest.mark.parametrize("model", INT8)
def test_every_step_equals_tflite_micro(model: str, data: Path) -> None:
    path = mlperf_tiny.path(data, INT8[model])
    graph, x = load(path), mlperf_tiny.inputs(data, model)[::16]
    stored = tflite_file.read(path)
    numbers = [o.outputs[0] for o in stored.operators]
    steps = simulate(graph, {graph.inputs[0]: x}, steps=True).steps
    assert len(numbers) == len(graph.nodes)
    for node, number, theirs in zip(graph.nodes, numbers, tflm(path.read_bytes(), [x], steps=numbers, arena=2**23)[1:], strict=True):
        assert node.name == stored.tensors[number].name
        mine = steps[node.outputs[0]]
        assert (mine == theirs.reshape(mine.shape)).all(), node.name


def artifact(model: str, name: str, data: Path, folder: Path) -> tuple[Graph, Path]:
    graph = normalise(load(mlperf_tiny.path(data, INT8[model])))
    program = lower(graph, target.load(name))
    write(emit(program, plan(program), model), folder / name)
    return graph, folder / name


@pytest.mark.parametrize("model", INT8)
def test_host_equals_simulator_at_every_step(model: str, data: Path, tmp_path: Path) -> None:
    graph, folder = artifact(model, "host", data, tmp_path)
    x = {graph.inputs[0]: mlperf_tiny.inputs(data, model)}
    result = compare(simulate(graph, x, steps=True), run(folder, target.load("host"), x, steps=True, chain="gcc"))
    assert result.bit_exact, result.difference
    assert result.vectors >= 256 and result.tensors > len(INT8)


@pytest.mark.parametrize("runner", ["unicorn", "qemu"])
@pytest.mark.parametrize("name", ["riscv", "cortex-m4"])
@pytest.mark.parametrize("model", INT8)
def test_emulated_chip_equals_simulator_at_every_step(model: str, name: str, runner: str, data: Path, tmp_path: Path) -> None:
    if runner == "qemu" and not shutil.which(QEMU[name]):
        pytest.skip(f"{QEMU[name]} is not installed")
    graph, folder = artifact(model, name, data, tmp_path)
    every = mlperf_tiny.inputs(data, model)
    x = {graph.inputs[0]: every[[0, len(every) // 3, len(every) // 2, -6]]}
    result = compare(simulate(graph, x, steps=True), run(folder, uncounted(name), x, runner=runner, steps=True, optimize="-O2"))
    assert result.bit_exact, result.difference
    assert result.actual == runner and result.vectors == EMULATED and result.tensors > len(INT8)


@pytest.mark.parametrize("model", FLOAT)
def test_float_model_equals_litert(model: str, data: Path) -> None:
    path, int8 = mlperf_tiny.path(data, FLOAT[model]), load(mlperf_tiny.path(data, INT8[model]))
    type = int8.type(int8.inputs[0])
    x = dequantize_array(mlperf_tiny.inputs(data, model)[::8], type.scale, type.zero_point)
    graph = load(path)
    assert graph.law == "single"
    theirs = litert(dequantized(path.read_bytes()), [x])[0]
    for stage in (graph, normalise(graph)):
        mine = real(stage, {graph.inputs[0]: x})[0]
        assert np.abs(mine - theirs).max() <= 1e-4 * max(1.0, float(np.abs(theirs).max()))
