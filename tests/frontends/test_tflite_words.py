"""SVDF layers, and int16 beside int8: byte for byte as TensorFlow Lite Micro, in the simulator and in C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tflite_cases as tc
from tflite_models import Options, Quantization, TfliteModel, litert, real, tflm

from edgeq import target
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.frontends.tflite import load
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import simulate

KINDS = {"INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "FLOAT32": np.float32}


def read(model: bytes, folder: Path) -> Graph:
    path = folder / "m.tflite"
    path.write_bytes(model)
    return load(path)


def same_in_c(graph: Graph, x: dict[str, Array], folder: Path, chip: str = "host") -> None:
    machine = target.load(chip)
    program = lower(graph, machine)
    write(emit(program, plan(program), "m"), folder / chip)
    got, want = run(folder / chip, machine, x, chain="gcc" if chip == "host" else None), simulate(graph, x)
    for name, values in want.outputs.items():
        np.testing.assert_array_equal(got.outputs[name], values)


def svdf(units: int, rank: int, memory: int, inputs: int, *, batch: int = 1, state: str = "INT8") -> bytes:
    """One SVDF layer; state FLOAT32: in float."""
    rng = np.random.default_rng(units + memory)
    m, filters, quantized = TfliteModel(), units * rank, state != "FLOAT32"
    wide = state == "INT16"

    def weights(name: str, shape: tuple[int, ...], kind: str, scale: float) -> int:
        data = rng.integers(-127, 128, shape) * (60 if kind == "INT16" else 1)
        if not quantized:
            return m.constant(name, (data * scale).astype(np.float32))
        return m.constant(name, data.astype(KINDS[kind]), (scale, 0, 0))

    x = m.input("x", (batch, inputs), *(("INT8", (0.05, 5, 0)) if quantized else ("FLOAT32", None)))
    features = weights("f", (filters, inputs), "INT8", 0.01)
    time = weights("t", (filters, memory), "INT16" if wide else "INT8", 0.01 / (60 if wide else 1))
    steps = 0.1 / (256 if wide else 1)
    b = rng.integers(-3000, 3000, units)
    c = m.constant("b", b.astype(np.int32), (steps * 0.01, 0, 0)) if quantized else m.constant("b", (b / 3000).astype(np.float32))
    q: Quantization | None = (steps, 0 if wide else 7, 0) if quantized else None
    kept = m.tensor("state", (batch, memory * filters), state, q)
    m.graph.tensors[-1].isVariable = True
    y = m.tensor("y", (batch, units), *(("INT8", (0.3, -128, 0)) if quantized else ("FLOAT32", None)))
    m.operator("SVDF", [x, features, time, c, kept], [y], ("SVDFOptions", {"rank": rank, "fusedActivationFunction": 1}))
    return m.finish(y)


@pytest.mark.parametrize("state", ["INT8", "INT16"])
@pytest.mark.parametrize(
    ("units", "rank", "memory", "inputs", "batch"), [(8, 1, 6, 10, 1), (3, 2, 4, 7, 1), (5, 1, 3, 4, 2), (4, 3, 1, 5, 1)]
)
def test_svdf_is_tflms(tmp_path: Path, units: int, rank: int, memory: int, inputs: int, batch: int, state: str) -> None:
    model = svdf(units, rank, memory, inputs, batch=batch, state=state)
    graph = normalise(read(model, tmp_path))
    x = np.random.default_rng(0).integers(-128, 128, (120, batch, inputs)).astype(np.int8)
    got, want = simulate(graph, {"x": x}).outputs["y"], tflm(model, [x])[0]
    np.testing.assert_array_equal(got, want)
    assert len(np.unique(got)) > 20


@pytest.mark.parametrize("chip", ["host", "cortex-m4"])
@pytest.mark.parametrize("state", ["INT8", "INT16"])
def test_svdf_in_c(tmp_path: Path, state: str, chip: str) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (16, 2, 7)).astype(np.int8)
    same_in_c(normalise(read(svdf(3, 2, 4, 7, batch=2, state=state), tmp_path)), {"x": x}, tmp_path, chip)


@pytest.mark.parametrize(("units", "rank", "memory"), [(8, 1, 6), (3, 2, 4), (4, 2, 1)])
def test_svdf_in_float_is_litert(tmp_path: Path, units: int, rank: int, memory: int) -> None:
    model = svdf(units, rank, memory, 7, state="FLOAT32")
    graph = normalise(read(model, tmp_path))
    x = np.random.default_rng(0).normal(size=(20, 1, 7)).astype(np.float32)
    np.testing.assert_allclose(real(graph, {"x": x})[0], litert(model, [x])[0], atol=1e-4)


def one(kind: str, given: tuple[str, Quantization], out: tuple[str, Quantization], options: Options | None, n: int = 300) -> bytes:
    m = TfliteModel()
    x, y = m.input("x", (1, n), *given), m.tensor("y", (1, n), *out)
    m.operator(kind, [x], [y], options)
    return m.finish(y)


RESCALED = [
    (("INT16", (0.0006, 0, 0)), ("INT8", (0.059, -128, 0))), (("INT16", (0.001, 0, 0)), ("INT16", (0.0007, 0, 0))),
    (("INT16", (1 / 65536, -32768, 0)), ("INT32", (1 / 32768, 0, 0))), (("INT8", (0.05, 9, 0)), ("INT16", (0.001, 0, 0))),
    (("INT8", (0.05, 9, 0)), ("INT32", (0.0001, 0, 0))),
]  # fmt: skip


@pytest.mark.parametrize(("given", "out"), RESCALED)
def test_integers_in_another_scale(tmp_path: Path, given: tuple[str, Quantization], out: tuple[str, Quantization]) -> None:
    model = one("QUANTIZE", given, out, ("QuantizeOptions", {}))
    info = np.iinfo(KINDS[given[0]])
    x = np.random.default_rng(0).integers(info.min, info.max, (8, 1, 300), endpoint=True).astype(KINDS[given[0]])
    x[0, 0, :2] = info.min, info.max
    graph = normalise(read(model, tmp_path))
    np.testing.assert_array_equal(simulate(graph, {"x": x}).outputs["y"], tflm(model, [x])[0])
    same_in_c(graph, {"x": x}, tmp_path)


def test_softmax_to_int16(tmp_path: Path) -> None:
    model = one("SOFTMAX", ("INT8", (0.07, 2, 0)), ("INT16", (1 / 65535, -32768, 0)), ("SoftmaxOptions", {"beta": 1.0}), 10)
    x = np.random.default_rng(0).integers(-128, 128, (200, 1, 10)).astype(np.int8)
    x[:40] //= 8
    graph = normalise(read(model, tmp_path))
    np.testing.assert_array_equal(simulate(graph, {"x": x}).outputs["y"], tflm(model, [x])[0])
    same_in_c(graph, {"x": x}, tmp_path)
    same_in_c(graph, {"x": x[:8]}, tmp_path, "cortex-m4")


def dense16(activation: int = 0, bias: type = np.int64) -> bytes:
    """A layer as the converter's 16x8 mode writes it."""
    rng = np.random.default_rng(0)
    m = TfliteModel()
    x, y = m.input("x", (2, 30), "INT16", (0.0002, 0, 0)), m.tensor("y", (2, 9), "INT16", (0.0004, 0, 0))
    w = m.constant("w", rng.integers(-127, 128, (9, 30)).astype(np.int8), (0.01, 0, 0))
    b = m.constant("b", rng.integers(-90000, 90000, 9).astype(bias), (0.000002, 0, 0))
    m.operator("FULLY_CONNECTED", [x, w, b], [y], ("FullyConnectedOptions", {"fusedActivationFunction": activation}))
    return m.finish(y)


@pytest.mark.parametrize("activation", [0, 1])
def test_fully_connected_on_int16(tmp_path: Path, activation: int) -> None:
    model = dense16(activation)
    x = np.random.default_rng(1).integers(-32768, 32768, (64, 2, 30)).astype(np.int16)
    graph = normalise(read(model, tmp_path))
    np.testing.assert_array_equal(simulate(graph, {"x": x}).outputs["y"], tflm(model, [x])[0])
    same_in_c(graph, {"x": x}, tmp_path)


def network16() -> bytes:
    """A small residual network in the converter's 16x8 mode: a convolution, a gated sum, a mean, a layer, a softmax."""
    rng = np.random.default_rng(0)
    m = TfliteModel()

    def layer(kind: str, x: int, shape: tuple[int, ...], axis: int, y: int, options: Options) -> int:
        scales, zeros = rng.uniform(0.004, 0.008, shape[axis]), np.zeros(shape[axis], np.int64)
        w = m.constant("w", rng.integers(-127, 128, shape).astype(np.int8), (scales, zeros, axis))
        b = m.constant("b", rng.integers(-90000, 90000, shape[axis]).astype(np.int64), (scales * 0.0002, zeros, 0))
        m.operator(kind, [x, w, b], [y], options)
        return y

    def act(name: str, scale: float, shape: tuple[int, ...] = (1, 6, 5, 4)) -> int:
        return m.tensor(name, shape, "INT16", (scale, 0, 0))

    x = m.input("x", (1, 6, 5, 4), "INT16", (0.0002, 0, 0))
    a = layer("CONV_2D", x, (4, 3, 3, 4), 0, act("a", 0.0004), tc.conv(act=1))
    gate, product, total = act("gate", 2.0**-15), act("product", 0.0003), act("total", 0.0005)
    m.operator("LOGISTIC", [layer("DEPTHWISE_CONV_2D", a, (1, 3, 3, 4), 3, act("d", 0.0004), tc.depthwise(1))], [gate])
    m.operator("MUL", [a, gate], [product], ("MulOptions", {}))
    m.operator("ADD", [product, x], [total], ("AddOptions", {}))
    mean, logits, y = act("mean", 0.0002, (1, 4)), act("logits", 0.0004, (1, 3)), act("y", 2.0**-15, (1, 3))
    m.operator("MEAN", [total, m.constant("axes", np.array([1, 2], np.int32))], [mean], tc.reduce(False))
    m.operator("SOFTMAX", [layer("FULLY_CONNECTED", mean, (3, 4), 0, logits, (tc.FC, {}))], [y], ("SoftmaxOptions", {"beta": 1.0}))
    return m.finish(y)


@pytest.mark.parametrize("chip", ["host", "cortex-m4"])
def test_a_network_on_int16(tmp_path: Path, chip: str) -> None:
    model = network16()
    graph = normalise(read(model, tmp_path))
    x = np.random.default_rng(1).integers(-32768, 32768, (64, 1, 6, 5, 4)).astype(np.int16)
    got = simulate(graph, {"x": x}).outputs["y"]
    np.testing.assert_array_equal(got, tflm(model, [x])[0])
    assert len(np.unique(got)) > 60
    same_in_c(graph, {"x": x[:16]}, tmp_path, chip)


@pytest.mark.parametrize("kind", ["DIV", "SQUARED_DIFFERENCE"])
@pytest.mark.parametrize("chip", ["host", "cortex-m4"])
def test_pairs_in_c(tmp_path: Path, kind: str, chip: str) -> None:
    """Every pair of bytes, zero divisors among them."""
    m = TfliteModel()
    a, b = m.input("a", (1, 256, 1), "INT8", (0.05, 9, 0)), m.input("b", (1, 1, 256), "INT8", (0.03, -20, 0))
    y = m.tensor("y", (1, 256, 256), "INT8", (0.1, -3, 0))
    m.operator(kind, [a, b], [y], ("DivOptions", {"fusedActivationFunction": 1}) if kind == "DIV" else ("SquaredDifferenceOptions", {}))
    every = np.arange(-128, 128).astype(np.int8)
    same_in_c(normalise(read(m.finish(y), tmp_path)), {"a": every[None, None, :, None], "b": every[None, None, None, :]}, tmp_path, chip)


def test_what_int16_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="elu on s16"):
        read(one("ELU", ("INT16", (0.1, 0, 0)), ("INT16", (0.1, 0, 0)), None), tmp_path)
    with pytest.raises(EdgeqError, match="expected int64"):
        read(dense16(bias=np.int32), tmp_path)
