"""Models of which some tensors have scales, as quantizers write them: the file's scales stay, the others are calibrated."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto
from onnx_models import Net, feeds, load, onnxruntime_outputs
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.passes import normalise
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.precision_toml import read_precision

GIVEN = "given"


class Exporter(Net):
    """Nodes as quantizers write them. Weights are given as floats; they return names of float tensors."""

    def rounded(self, x: str, scale: float, zero: int = 0, dtype: Any = np.int8, clip: tuple[int, int] | None = None) -> str:
        """An activation quantized and dequantized, with limits for fewer bits in between."""
        s, z = self.const(scale, np.float32), self.const(zero, dtype)
        q = self.op("QuantizeLinear", x, s, z)
        if clip:
            q = self.op("Clip", q, self.const(clip[0], dtype), self.const(clip[1], dtype))
        return str(self.op("DequantizeLinear", q, s, z))

    def float_weights(self, *shape: int, axis: int | None = 0, limit: int = 127) -> str:
        """ModelOpt and TensorRT: float initializers through both nodes."""
        w = self.rng.normal(0, 0.3, shape).astype(np.float32)
        axes = tuple(i for i in range(w.ndim) if i != axis) if axis is not None else None
        scale = (np.abs(w).max(axes) / limit).astype(np.float32)
        s, z = self.const(scale), self.const(np.zeros(scale.shape, np.int8))
        more = {"axis": axis} if axis is not None else {}
        q = self.op("QuantizeLinear", self.const(w), s, z, **more)
        return str(self.op("DequantizeLinear", q, s, z, **more))

    def clipped_weights(self, *shape: int) -> str:
        """Brevitas: int8 initializers, limits, a scale of the whole tensor."""
        w = self.const(self.rng.integers(-7, 8, shape), np.int8)
        q = self.op("Clip", w, self.const(-7, np.int8), self.const(7, np.int8))
        return str(self.op("DequantizeLinear", q, self.const(0.05, np.float32), self.const(0, np.int8)))


def tensorrt() -> ModelProto:
    """Inputs of convolutions alone, symmetric; the sum of a residual, the classifier and the output are float."""
    b = Exporter(17)
    x = b.input(1, 3, 8, 8)
    y = b.op("Relu", b.op("Conv", b.rounded(x, 0.03), b.float_weights(4, 3, 3, 3), b.random(4), pads=[1] * 4))
    z = b.op("Conv", b.rounded(y, 0.04), b.float_weights(4, 4, 3, 3), b.random(4), pads=[1] * 4)
    z = b.op("Relu", b.op("Add", z, y))
    z = b.op("Flatten", b.op("GlobalAveragePool", z))
    return b.model(b.op("Gemm", z, b.random(5, 4), b.random(5), transB=1))


def nncf() -> ModelProto:
    """uint8 with zero points behind every layer, integers as weights, the norm and the softmax at the end float."""
    b = Exporter(17)
    x = b.rounded(b.input(1, 6, 8), 0.025, 120, np.uint8)
    w = b.op("DequantizeLinear", b.const(b.rng.integers(-127, 128, (8, 8)), np.int8), b.const(0.01, np.float32), b.const(0, np.int8))
    y = b.rounded(b.op("MatMul", x, w), 0.03, 131, np.uint8)
    y = b.rounded(b.op("Add", y, x), 0.05, 128, np.uint8)
    y = b.op("LayerNormalization", y, b.random(8), b.random(8), axis=-1)
    return b.model(b.op("Softmax", y, axis=-1))


def brevitas() -> ModelProto:
    """4 bits in int8 with Clip between the nodes, a scale per tensor; the first layer is float."""
    b = Exporter(13)
    x = b.op("Relu", b.op("Conv", b.input(1, 2, 9, 9), b.random(4, 2, 3, 3), b.random(4)))
    y = b.rounded(x, 0.3, 0, np.uint8, (0, 15))
    y = b.op("Conv", y, b.clipped_weights(4, 4, 3, 3), b.random(4))
    y = b.rounded(y, 0.4, 0, np.int8, (-7, 7))
    return b.model(b.op("GlobalMaxPool", y))


def stated() -> ModelProto:
    """A graph input in int8, moved as integers before anything reads it as numbers, and an output in int8."""
    b = Exporter(17)
    q = b.op("Transpose", b.input(1, 5, 4, dtype=TensorProto.INT8), perm=[0, 2, 1])
    x = b.op("DequantizeLinear", q, b.const(0.02, np.float32), b.const(3, np.int8))
    y = b.op("Softmax", b.op("MatMul", x, b.random(5, 6)), axis=-1)
    y = b.op("Tanh", b.op("Sub", y, b.random(1, 4, 6)))
    model = b.model(b.op("QuantizeLinear", y, b.const(1 / 100, np.float32), b.const(-5, np.int8)))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    return model


def chained() -> ModelProto:
    """Two scales after each other on one tensor, and one tensor read in two scales."""
    b = Exporter(17)
    x = b.op("Sigmoid", b.input(2, 12))
    y = b.rounded(b.rounded(x, 0.004, -128), 0.008, -100)
    z = b.rounded(x, 0.01, -128)
    return b.model(b.op("MatMul", b.op("Add", y, z), b.random(12, 3)))


def recurrent(kind: str) -> ModelProto:
    """A recurrent layer with scales at its input, its weights and its output, as NNCF writes them: its inside has none."""
    b = Exporter(14)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    x = b.rounded(b.input(6, 1, 8), 0.03)
    weights = [b.float_weights(1, gates * 6, n, axis=None) for n in (8, 6)]
    y = b.op(kind, x, *weights, b.random(1, 12 * gates), hidden_size=6, outputs=2)[0]
    y = b.rounded(b.op("Squeeze", y, b.ints(1, 2)), 1 / 128)
    return b.model(b.rounded(b.op("Gemm", y, b.float_weights(3, 6), b.random(3), transB=1), 0.008))


def lstm() -> ModelProto:
    return recurrent("LSTM")


def gru() -> ModelProto:
    return recurrent("GRU")


def rnn() -> ModelProto:
    return recurrent("RNN")


HABITS = {f.__name__: f for f in (tensorrt, nncf, brevitas, chained, lstm, gru, rnn)}


def methods(made: Any, graph: Graph) -> dict[str, str]:
    return {n: t.method for n, t in read_precision(made.files["precision.toml"].decode(), graph, "").tensors.items()}


def decibels(wanted: Array, found: Array) -> float:
    w, f = wanted.astype(np.float64), found.astype(np.float64)
    return float(10 * np.log10((w**2).mean() / max(((w - f) ** 2).mean(), 1e-30)))


@pytest.mark.parametrize("name", HABITS)
def test_what_has_scales_keeps_them(name: str) -> None:
    model = HABITS[name]()
    graph = normalise(load(model))
    x = feeds(model, 24)
    wanted = next(iter(onnxruntime_outputs(model, x, exact=True).values()))
    real = next(iter(evaluate_float(graph, x).values()))
    off = np.abs(real - wanted) > 1e-4 * np.abs(wanted).max()
    assert off.mean() < 0.05 and decibels(wanted, real) > 45  # the file's own meaning, but for ties
    made = api.quantize(graph, x)
    how = methods(made, graph)
    assert GIVEN in how.values() and (name == "gru" or set(how.values()) - {GIVEN, "fixed"}), how  # a GRU has no tensor but its output
    found = next(iter(api.simulate(made.graph, x).outputs(real=True).values()))
    assert decibels(wanted, found) > (22 if name == "brevitas" else 28)  # a step of 4 bits at a tie
    mixed = api.quantize(graph, x, recipe="mixed")
    better = next(iter(api.simulate(mixed.graph, x).outputs(real=True).values()))
    assert decibels(wanted, better) > 40


def test_scales_of_layers_inside_are_the_files() -> None:
    """A layer between two scales computes in int8 what onnxruntime computes, to a step."""
    b = Exporter(17)
    w = b.float_weights(4, 3, 3, 3)
    y = b.rounded(b.op("Relu", b.op("Conv", b.rounded(b.input(1, 3, 8, 8), 0.03, 4), w, b.random(4))), 0.02, -128)
    inner = b.model(y)
    model = b.model(b.op("MatMul", b.op("Flatten", y), b.random(144, 3)))
    x = feeds(inner, 16)
    wanted = next(iter(onnxruntime_outputs(inner, x, exact=True).values()))
    made = api.quantize(normalise(load(model)), x)
    outcome = api.simulate(made.graph, x, steps=True)
    scale = np.float32(0.02)
    layer = next(n for n in made.graph.nodes if n.op.traits.linear)
    t = made.graph.type(layer.outputs[0])
    assert (np.float32(t.scale), t.zero_point) == (scale, -128)
    steps = outcome.run.steps[layer.outputs[0]].astype(np.int64) + 128
    off = np.abs(steps.transpose(0, 1, 4, 2, 3) - np.rint(wanted / scale).reshape(16, 1, 4, 6, 6))
    assert off.max() <= 1 and (off == 0).mean() > 0.98


def test_integers_at_the_ends() -> None:
    model = stated()
    graph = normalise(load(model))
    q = np.random.default_rng(0).integers(-128, 128, (16, 5, 4))
    x = {graph.inputs[0]: ((q - 3) * np.float32(0.02)).astype(np.float32)}
    made = api.quantize(graph, x)
    source, output = made.graph.type(made.graph.inputs[0]), made.graph.type(made.graph.outputs[0])
    assert (np.float32(source.scale), source.zero_point) == (np.float32(0.02), 3)
    assert (np.float32(output.scale), output.zero_point) == (np.float32(0.01), -5)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    wanted = np.concatenate([session.run(None, {session.get_inputs()[0].name: v[None].astype(np.int8)})[0] for v in q])
    stored = api.simulate(made.graph, x).outputs()[made.graph.outputs[0]]
    off = np.abs(stored.reshape(wanted.shape).astype(int) - wanted)
    assert off.mean() < 0.6 and off.max() <= 4


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, vectors: Array) -> None:
        self.left = iter({name: v} for v in vectors)

    def get_next(self) -> Any:
        return next(self.left, None)


@pytest.mark.parametrize("style", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_onnxruntime_with_a_list_of_operators(tmp_path: Path, style: Any) -> None:
    b = Net(17)
    y = b.op("Relu", b.op("Conv", b.input(1, 3, 8, 8), b.random(6, 3, 3, 3), b.random(6), pads=[1] * 4))
    y = b.op("Conv", b.op("HardSwish", y), b.random(4, 6, 3, 3), b.random(4))
    y = b.op("Softmax", b.op("Gemm", b.op("Flatten", y), b.random(144, 3)), axis=-1)
    model = b.model(y)
    x = feeds(model, 24)
    logging.disable(logging.WARNING)
    try:
        source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
        source.write_bytes(model.SerializeToString())
        reader = Reader("input", x["input"])
        quantize_static(
            source, target, reader, quant_format=style, op_types_to_quantize=["Conv"], per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    graph = api.load(target)
    made = api.quantize(graph, x)
    assert GIVEN in methods(made, graph).values()
    wanted = next(iter(onnxruntime_outputs(model, x, exact=True).values()))
    assert decibels(wanted, next(iter(api.simulate(made.graph, x).outputs(real=True).values()))) > 25


def test_without_samples_it_says_what_is_missing(tmp_path: Path) -> None:
    graph = normalise(load(nncf()))
    with pytest.raises(EdgeqError, match="parts of the model have no scales and there are no calibration samples"):
        api.build(graph, output=tmp_path / "out")


def test_one_line_says_which(caplog: pytest.LogCaptureFixture) -> None:
    model = tensorrt()
    with caplog.at_level(logging.WARNING, "edgeq"):
        api.quantize(normalise(load(model)), feeds(model, 4))
    (line,) = [r.getMessage() for r in caplog.records if "scales of the model's file" in r.getMessage()]
    assert "calibrated" in line
