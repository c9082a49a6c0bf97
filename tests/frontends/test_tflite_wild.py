"""Models that people ship: integers byte for byte as TensorFlow Lite Micro (uint8 networks as LiteRT), in the simulator and in C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_models import litert, real, tflm

from edgeq import target
from edgeq.api import quantize
from edgeq.emit import emit, write
from edgeq.frontends.tflite import file as tflite_file
from edgeq.frontends.tflite import load
from edgeq.ir import Array, DType, Graph
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import fit_inputs, simulate

# name -> vectors, consecutive ones where the model has states
INTEGERS = {
    "mww_pip_okay_nabu": 200, "mww_v2_vad": 200, "coral_keras_lstm_mnist_ptq": 100, "tflm_trained_lstm_int8": 100,
    "tflm_keyword_scrambled_8bit": 200, "tflm_micro_speech_quantized": 64, "tflm_person_detect": 64,
}  # fmt: skip
UNSIGNED = {"coral_mobilenet_v1_0.25_128_quant": 16, "coral_split_concat": 64}
FLOAT = ("mp_face_detection_short_range", "mp_face_detection_full_range_sparse", "tflm_trained_lstm")
ON_A_CHIP = ("mww_v2_vad", "coral_keras_lstm_mnist_ptq", "tflm_keyword_scrambled_8bit")


@pytest.fixture
def wild(data: Path) -> Path:
    folder = data / "wild"
    if not folder.is_dir():
        pytest.skip("no models from public packages")
    return folder


def read(folder: Path, name: str) -> tuple[Path, Graph]:
    path = folder / f"{name}.tflite"
    return path, normalise(load(path))


def inputs(graph: Graph, count: int) -> dict[str, Array]:
    """Noise of a slowly varying strength about a slowly varying level, so that streams see loud, quiet and steady times."""
    rng, found = np.random.default_rng(0), {}
    for name in graph.given:
        t = graph.type(name)
        info = np.iinfo(t.dtype.numpy)
        time = np.arange(count).reshape(-1, *[1] * len(t.shape))
        strength, level = np.abs(np.sin(time / 7)) * info.max, np.sin(time / 23) * info.max / 2 * rng.uniform(-1, 1, t.shape)
        noise = rng.normal(size=(count, *t.shape)) * strength / 2 + level
        found[name] = np.clip(noise, info.min, info.max).astype(t.dtype.numpy)
    return found


def as_stored(path: Path, x: dict[str, Array]) -> list[Array]:
    """The arrays as the file has its inputs: bytes 128 higher where they are uint8."""
    file = tflite_file.read(path)
    shift = [file.tensors[i].relabelled for i in file.inputs]
    return [(a.astype(np.int16) + 128).astype(np.uint8) if s else a for a, s in zip(x.values(), shift, strict=True)]


def same(mine: Array, theirs: Array) -> None:
    theirs = (theirs.astype(np.int16) - 128).astype(np.int8) if theirs.dtype == np.uint8 else theirs
    np.testing.assert_array_equal(mine, theirs.reshape(mine.shape))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_tflms(name: str, wild: Path, tmp_path: Path) -> None:
    path, graph = read(wild, name)
    x = inputs(graph, INTEGERS[name])
    want = simulate(graph, x)
    same(want.outputs[graph.results[0]], tflm(path.read_bytes(), as_stored(path, x))[0])
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got = run(tmp_path / "m", target.load("host"), x, chain="gcc")
    same(got.outputs[graph.results[0]], want.outputs[graph.results[0]])


@pytest.mark.parametrize("name", ON_A_CHIP)
def test_an_emulated_chip_computes_them(name: str, wild: Path, tmp_path: Path) -> None:
    _, graph = read(wild, name)
    x = inputs(graph, 6)
    chip = target.load("cortex-m4")
    program = lower(graph, chip)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    same(run(tmp_path / "m", chip, x).outputs[graph.results[0]], simulate(graph, x).outputs[graph.results[0]])


@pytest.mark.parametrize("name", UNSIGNED)
def test_uint8_networks_are_litert(name: str, wild: Path, tmp_path: Path) -> None:
    path, graph = read(wild, name)
    x = inputs(graph, UNSIGNED[name])
    want = simulate(graph, x).outputs
    for result, theirs in zip(graph.results, litert(path.read_bytes(), as_stored(path, x), reference=True), strict=True):
        same(want[result], theirs)
    few = {n: a[:4] for n, a in x.items()}
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got = run(tmp_path / "m", target.load("host"), few, chain="gcc").outputs
    for result in graph.results:
        same(got[result], want[result][:4])


@pytest.mark.parametrize("name", FLOAT)
def test_float_is_litert(name: str, wild: Path) -> None:
    path, graph = read(wild, name)
    (given,) = graph.given
    x = np.random.default_rng(0).uniform(-1, 1, (2, *graph.type(given).shape)).astype(np.float32)
    for mine, theirs in zip(real(graph, {given: x}), litert(path.read_bytes(), [x]), strict=True):
        np.testing.assert_allclose(mine, theirs.reshape(mine.shape), atol=5e-6 * max(1.0, float(np.abs(theirs).max())))


def test_a_float_lstm_with_states_is_quantized(wild: Path, tmp_path: Path) -> None:
    _, graph = read(wild, "tflm_trained_lstm")
    x = np.random.default_rng(0).uniform(0, 1, (12, *graph.type(graph.given[0]).shape)).astype(np.float32)
    quantized = quantize(graph, {graph.given[0]: x}).graph
    assert quantized.type(quantized.given[0]).dtype is DType.INT8 and len(quantized.states) == 2
    given = {quantized.given[0]: x}
    program = lower(quantized, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    stored = simulate(quantized, given)
    got = run(tmp_path / "m", target.load("host"), fit_inputs(quantized, given), chain="gcc").outputs
    same(got[quantized.results[0]], stored.outputs[quantized.results[0]])
