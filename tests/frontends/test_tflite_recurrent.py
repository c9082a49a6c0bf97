"""The fused LSTM of TFLite: int8 byte for byte as TensorFlow Lite Micro, float as LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_models import TfliteModel, litert, real, tflm

from edgeq import target
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.frontends.tflite import load
from edgeq.ir import Array
from edgeq.lower import lower
from edgeq.passes import declare_states, normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import simulate

OPTIONS = {"fusedActivationFunction": 4, "cellClip": 0.0, "projClip": 0.0, "timeMajor": False, "asymmetricQuantizeInputs": False}


def model(
    seed: int, units: int, inputs: int, steps: int, *, batch: int = 1, quantized: bool = True, bits: int = 11, zero: int = 0,
    weight: float = 0.03, hidden: float = 0.0, **options: object,
) -> bytes:  # fmt: skip
    """A model of one LSTM with random weights, and the empty intermediate tensors that the converter leaves beside it.

    `hidden`: in the converter's 16x8 mode, with this scale of the state.
    """
    rng = np.random.default_rng(seed)
    m = TfliteModel()
    major = bool(options.get("timeMajor"))
    shape, out = ((steps, batch, inputs), (steps, batch, units)) if major else ((batch, steps, inputs), (batch, steps, units))
    kind = "INT16" if hidden else "INT8" if quantized else "FLOAT32"
    q_x, q_h = ((0.02, zero, 0), (1 / 128, zero // 2, 0)) if quantized else (None, None)
    q_x, q_h = ((0.02 / 256, 0, 0), (hidden, 0, 0)) if hidden else (q_x, q_h)
    x = m.input("x", shape, kind, q_x)
    tensors = [x]
    for columns in (inputs, units):
        for gate in range(4):
            w, scale, name = rng.integers(-127, 128, (units, columns)), rng.uniform(weight / 3, weight), f"w{columns}_{gate}"
            stored, q = (w.astype(np.int8), (scale, 0, 0)) if quantized else ((w * scale / 4).astype(np.float32), None)
            tensors.append(m.constant(name, stored, q))
    tensors += [-1] * 3
    for gate in range(4):
        bias = rng.integers(-3000, 3000, units)
        stored, q = (bias.astype(np.int32), (0.0004, 0, 0)) if quantized else ((bias / 3000).astype(np.float32), None)
        stored = stored.astype(np.int64) * 256 if hidden else stored
        tensors.append(m.constant(f"b{gate}", stored, q))
    tensors += [-1, -1]
    for name, kind_, q in (("h", kind, q_h), ("c", "INT16" if quantized else kind, (2.0**-bits, 0, 0) if quantized else None)):
        tensors.append(m.tensor(name, (batch, units), kind_, q))
        m.graph.tensors[-1].isVariable = True
    tensors += [-1] * 4
    y = m.tensor("y", out, kind, q_h)
    for gate in ("input", "forget", "cell", "output"):
        m.tensor(f"input_to_{gate}_intermediate", (0,), kind)
    m.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", tensors, [y], ("UnidirectionalSequenceLSTMOptions", {**OPTIONS, **options}))
    return m.finish(y)


def vectors(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).integers(-128, 128, (24, *shape)).astype(np.int8)


@pytest.mark.parametrize(
    ("units", "inputs", "steps", "bits", "zero", "major"),
    [(4, 3, 1, 11, 0, False), (7, 5, 6, 12, 20, False), (16, 8, 9, 10, -30, True), (5, 40, 4, 15, 0, False), (6, 6, 5, 13, 7, False)],
)
def test_int8_is_tflms(tmp_path: Path, units: int, inputs: int, steps: int, bits: int, zero: int, major: bool) -> None:
    content = model(units, units, inputs, steps, bits=bits, zero=zero, timeMajor=major)
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    graph = normalise(declare_states(load(path), {}))
    x = vectors(graph.type("x").shape)
    want = np.concatenate([tflm(content, [x[i : i + 1]])[0] for i in range(len(x))])  # each from a state of zero
    got = simulate(graph, {"x": x}).outputs["y"]
    np.testing.assert_array_equal(got, want)
    assert len(np.unique(got)) > 20


@pytest.mark.parametrize("major", [False, True])
def test_float_is_litert(tmp_path: Path, major: bool) -> None:
    content = model(3, 6, 5, 4, quantized=False, timeMajor=major)
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    graph = normalise(declare_states(load(path), {}))
    x = np.random.default_rng(1).normal(0, 1, (3, *graph.type("x").shape)).astype(np.float32)
    want = np.concatenate([litert(content, [x[i : i + 1]])[0] for i in range(len(x))])
    np.testing.assert_allclose(real(graph, {"x": x})[0], want, atol=1e-5)


@pytest.mark.parametrize(
    ("bits", "clip", "weight"), [(11, 10.0, 0.1), (11, 0.7, 0.03), (15, 10.0, 0.3), (12, 1.3, 0.03), (13, 0.01, 0.03), (10, 5.0, 0.1)]
)
def test_the_cell_is_clipped_as_in_tflm(tmp_path: Path, bits: int, clip: float, weight: float) -> None:
    content = model(units=9, inputs=6, steps=40, seed=bits, bits=bits, weight=weight, cellClip=clip)
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    graph = normalise(declare_states(load(path), {}))
    x = np.repeat(vectors((1, 2, 6)), 20, axis=2)  # inputs that stay drive cells to their limits
    want = np.concatenate([tflm(content, [x[i : i + 1]])[0] for i in range(len(x))])
    np.testing.assert_array_equal(simulate(graph, {"x": x}).outputs["y"], want)
    unlimited = model(units=9, inputs=6, steps=40, seed=bits, bits=bits, weight=weight)
    assert (np.concatenate([tflm(unlimited, [x[i : i + 1]])[0] for i in range(len(x))]) != want).any() == (clip * 2**bits < 32767)


def test_a_float_cell_is_clipped_as_in_litert(tmp_path: Path) -> None:
    content = model(3, 6, 5, 12, quantized=False, weight=0.1, cellClip=0.2)
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    x = np.random.default_rng(1).normal(0, 1, (3, 1, 12, 5)).astype(np.float32)
    want = np.concatenate([litert(content, [x[i : i + 1]])[0] for i in range(len(x))])
    np.testing.assert_allclose(real(normalise(declare_states(load(path), {})), {"x": x})[0], want, atol=1e-5)


@pytest.mark.parametrize(
    ("units", "steps", "bits", "hidden", "clip", "batch"),
    [(4, 1, 11, 2.0**-15, 0.0, 1), (7, 6, 12, 0.9 / 32767, 0.0, 1), (9, 5, 15, 0.3 / 32767, 0.7, 2), (6, 9, 10, 2.0**-14, 10.0, 1)],
)
def test_int16_is_tflms(tmp_path: Path, units: int, steps: int, bits: int, hidden: float, clip: float, batch: int) -> None:
    """16x8, over 100 inferences with states that stay; scales of the state that saturate and that do not."""
    content = model(units, units, 5, steps, batch=batch, bits=bits, hidden=hidden, cellClip=clip)
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    graph = normalise(load(path))
    x = np.random.default_rng(0).integers(-32768, 32768, (100, batch, steps, 5)).astype(np.int16)
    got = simulate(graph, {"x": x}).outputs["y"]
    np.testing.assert_array_equal(got, tflm(content, [x])[0])
    assert len(np.unique(got)) > 300


@pytest.mark.parametrize("chip", ["host", "cortex-m4"])
def test_int16_in_c(tmp_path: Path, chip: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(model(3, 6, 5, 4, hidden=0.9 / 32767))
    graph, machine = normalise(load(path)), target.load(chip)
    x = {"x": np.random.default_rng(0).integers(-32768, 32768, (12, 1, 4, 5)).astype(np.int16)}
    program = lower(graph, machine)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got = run(tmp_path / "m", machine, x, chain="gcc" if chip == "host" else None).outputs["y"]
    np.testing.assert_array_equal(got, simulate(graph, x).outputs["y"])


@pytest.mark.parametrize(("option", "value"), [("cellClip", -1.0), ("fusedActivationFunction", 1)])
def test_what_is_not_read_is_refused(tmp_path: Path, option: str, value: object) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(model(3, 6, 5, 4, **{option: value}))
    with pytest.raises(EdgeqError, match="clip"):
        load(path)


@pytest.mark.parametrize(("batch", "steps", "major"), [(1, 5, False), (1, 1, True), (3, 4, False), (2, 5, True)])
def test_states_stay_from_one_inference_to_the_next(tmp_path: Path, batch: int, steps: int, major: bool) -> None:
    content = model(3, 6, 5, steps, batch=batch, zero=11, timeMajor=major)
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    graph = normalise(load(path))
    assert [a for a, _ in graph.states] == ["h", "c"] and graph.given == ("x",) and graph.results == ("y",)
    x = np.random.default_rng(2).integers(-128, 128, (100, *graph.type("x").shape)).astype(np.int8)
    want = tflm(content, [x])[0]
    np.testing.assert_array_equal(simulate(graph, {"x": x}).outputs["y"], want)
    fresh = simulate(normalise(declare_states(load(path), {})), {"x": x}).outputs["y"]
    assert (fresh[0] == want[0]).all() and (fresh != want).any()


@pytest.mark.parametrize("batch", [1, 2])
def test_float_states_stay_as_in_litert(tmp_path: Path, batch: int) -> None:
    content = model(3, 6, 5, 3, batch=batch, quantized=False)
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    graph = normalise(load(path))
    x = np.random.default_rng(1).normal(0, 1, (6, batch, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(real(graph, {"x": x})[0], litert(content, [x])[0], atol=1e-5)


def test_c_keeps_the_states(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(model(3, 6, 5, 4, batch=2, zero=11))
    graph = normalise(load(path))
    x = {"x": vectors((2, 4, 5))}
    chip = target.load("host")
    program = lower(graph, chip)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got = run(tmp_path / "m", chip, x, chain="gcc").outputs["y"]
    np.testing.assert_array_equal(got, simulate(graph, x).outputs["y"])
