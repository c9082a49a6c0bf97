"""Quantized ONNX models become int8 graphs with the file's scales; the simulator agrees with onnxruntime to a step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto
from onnx_models import NETWORKS, Net, feeds, kinds, load, onnxruntime_outputs
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.passes import normalise
from edgeq.quantize.floating import evaluate_float
from edgeq.simulate import simulate


class Quantized(Net):
    """Adds nodes between QuantizeLinear and DequantizeLinear."""

    def __init__(self, dtype: Any = np.uint8, opset: int = 17) -> None:
        super().__init__(opset)
        self.dtype = dtype

    def q(self, x: str, scale: float, zero: int, dtype: Any = None) -> str:
        """`x` quantized and dequantized; zero points are given for int8."""
        dtype = dtype or self.dtype
        point = self.const(zero + (128 if dtype == np.uint8 else 0), dtype)
        s = self.const(scale, np.float32)
        return str(self.op("DequantizeLinear", self.op("QuantizeLinear", x, s, point), s, point))

    def weights(self, *shape: int, axis: int | None = 0) -> str:
        """int8 weights, dequantized with a scale per slice along `axis`, or one."""
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        if axis is None:
            return str(self.op("DequantizeLinear", self.const(data), self.const(0.01, np.float32), self.const(0, np.int8)))
        scales = self.const(self.rng.uniform(0.002, 0.02, shape[axis]), np.float32)
        return str(self.op("DequantizeLinear", self.const(data), scales, self.const(np.zeros(shape[axis]), np.int8), axis=axis))


def steps_off(graph: Graph, model: ModelProto, arrays: dict[str, Array]) -> Array:
    """The distance of every output element to onnxruntime's, in steps of the output's scale."""
    wanted = onnxruntime_outputs(model, arrays, exact=True)
    actual = simulate(graph, arrays).outputs
    assert list(actual) == list(wanted)
    result = []
    for name, array in wanted.items():
        t = graph.type(name)
        assert t.dtype is DType.INT8 and t.shape == array.shape[1:]
        result.append(np.abs(actual[name].astype(np.float64) - t.zero_point - array / np.float64(np.float32(t.scale))).ravel())
    return np.concatenate(result)


LAYERS: dict[str, tuple[Callable[[Quantized, str], str], tuple[int, ...]]] = {
    "conv": (lambda b, x: b.op("Conv", x, b.weights(5, 3, 3, 3), b.random(5), pads=[1, 1, 0, 1], strides=[2, 1]), (1, 3, 8, 9)),
    "conv per tensor": (lambda b, x: b.op("Conv", x, b.weights(5, 3, 3, 3, axis=None)), (1, 3, 8, 9)),
    "conv relu": (lambda b, x: b.op("Relu", b.op("Conv", x, b.weights(5, 3, 3, 3), b.random(5))), (1, 3, 8, 9)),
    "conv clip": (
        lambda b, x: b.op("Clip", b.op("Conv", x, b.weights(5, 3, 3, 3)), b.const(0.0, np.float32), b.const(1.5, np.float32)), (1, 3, 8, 9),
    ),
    "depthwise": (lambda b, x: b.op("Conv", x, b.weights(6, 1, 3, 3), b.random(6), group=3), (1, 3, 8, 9)),
    "conv 1d": (lambda b, x: b.op("Conv", x, b.weights(5, 3, 3), b.random(5)), (1, 3, 20)),
    "deconv": (lambda b, x: b.op("ConvTranspose", x, b.weights(3, 4, 3, 3, axis=1), b.random(4), strides=[2, 2]), (1, 3, 5, 6)),
    "deconv groups": (lambda b, x: b.op("ConvTranspose", x, b.weights(4, 3, 3, 3, axis=1), group=2, strides=[2, 2]), (1, 4, 5, 6)),
    "gemm": (lambda b, x: b.op("Gemm", x, b.weights(7, 4, axis=1), b.random(4)), (3, 7)),
    "gemm transposed": (lambda b, x: b.op("Gemm", x, b.weights(4, 7), b.random(4), transB=1), (3, 7)),
    "matmul": (lambda b, x: b.op("MatMul", x, b.weights(7, 4, axis=1)), (2, 3, 7)),
    "matmul add": (lambda b, x: b.op("Add", b.op("MatMul", x, b.weights(7, 4, axis=1)), b.random(4)), (3, 7)),
    "weights transposed": (lambda b, x: b.op("MatMul", x, b.op("Transpose", b.weights(4, 7), perm=[1, 0])), (3, 7)),
    "weights reshaped": (lambda b, x: b.op("Conv", x, b.op("Reshape", b.weights(5, 12), b.ints(5, 3, 2, 2))), (1, 3, 6, 6)),
    "add": (lambda b, x: b.op("Add", x, b.q(b.op("Neg", x), 0.02, 3)), (2, 3, 4)),
    "add constant": (lambda b, x: b.op("Add", x, b.weights(4, axis=None)), (2, 3, 4)),
    "mul": (lambda b, x: b.op("Mul", x, b.q(b.op("Sigmoid", x), 1 / 256, -128)), (2, 3, 4)),
    "mul scalar": (lambda b, x: b.op("Mul", x, b.const(0.3, np.float32)), (2, 3, 4)),
    "concat": (lambda b, x: b.op("Concat", x, b.q(b.op("Neg", x), 0.013, 5), axis=1), (2, 3, 4)),
    "sigmoid": (lambda b, x: b.op("Sigmoid", x), (2, 30)),
    "silu": (lambda b, x: b.op("Mul", x, b.op("Sigmoid", x)), (2, 30)),
    "leaky": (lambda b, x: b.op("LeakyRelu", x, alpha=0.1), (2, 30)),
    "prelu": (lambda b, x: b.op("PRelu", x, b.weights(3, 1, 1, axis=None)), (1, 3, 4, 5)),
    "softmax": (lambda b, x: b.op("Softmax", x, axis=1), (2, 10)),
    "average pool": (lambda b, x: b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), (1, 3, 6, 8)),
    "global pool": (lambda b, x: b.op("GlobalAveragePool", x), (1, 3, 6, 8)),
    "max pool": (lambda b, x: b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), (1, 3, 6, 8)),
    "resize": (lambda b, x: b.op("Resize", x, "", b.const([1, 1, 2, 2], np.float32), mode="linear"), (1, 3, 4, 4)),
    "transpose flatten": (lambda b, x: b.op("Flatten", b.op("Transpose", x, perm=[0, 2, 1])), (2, 3, 4)),
    "slice pad": (lambda b, x: b.op("Pad", b.op("Slice", x, b.ints(1), b.ints(3), b.ints(2)), b.ints(0, 0, 1, 0, 0, 1)), (2, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int8, np.uint8], ids=["int8", "uint8"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer_between_quantized_tensors(name: str, dtype: Any) -> None:
    build, shape = LAYERS[name]
    b = Quantized(dtype)
    y = build(b, b.q(b.input(*shape), 0.025, 9))
    scale, zero = (1 / 256, -128) if name in ("softmax", "sigmoid") else (0.03, -4)
    model = b.model(b.q(y, scale, zero))
    graph = normalise(load(model))
    assert graph.law == "single" and all(t.type.dtype is not DType.FLOAT32 for t in graph.tensors.values())
    assert graph.inputs == ("input",) and graph.type("input").scale == pytest.approx(0.025) and graph.type("input").zero_point == 9
    off = steps_off(graph, model, feeds(model, 40))
    assert off.max() <= 1.001 and (off < 0.01).mean() > (0.8 if name == "resize" else 0.9)  # quarters: many ties


def test_scales_and_integers_are_the_files() -> None:
    b = Quantized(np.uint8)
    w = b.rng.integers(-127, 128, (4, 7)).astype(np.int8)
    scales = b.rng.uniform(0.002, 0.02, 4).astype(np.float32)
    bias = b.rng.integers(-1000, 1000, 4).astype(np.int32)
    x_scale = np.float32(0.025)
    weights = b.op("DequantizeLinear", b.const(w), b.const(scales), axis=0)
    biases = b.op("DequantizeLinear", b.const(bias), b.const(scales * x_scale), axis=0)
    y = b.op("Gemm", b.q(b.input(1, 7), float(x_scale), 9), weights, biases, transB=1)
    graph = load(b.model(b.q(y, 0.04, -3)))
    (node,) = graph.nodes
    weights_tensor, bias_tensor = graph.node_inputs(node)[1:]
    assert np.array_equal(weights_tensor.data, w) and np.array_equal(bias_tensor.data, bias)  # type: ignore[arg-type]
    q = weights_tensor.type.q
    assert q is not None and np.array_equal(np.float32(q.scale), scales) and q.axis == 0
    output = graph.type(graph.outputs[0])
    assert (np.float32(output.scale), output.zero_point) == (np.float32(0.04), -3)


def qlinear(dtype: Any) -> ModelProto:
    """QLinearConv, MaxPool on integers, Microsoft's additions, Reshape on integers, QLinearMatMul."""
    b = Quantized(dtype)
    shift = 128 if dtype == np.uint8 else 0

    def q(scale: float, zero: int) -> tuple[str, str]:
        return b.const(scale, np.float32), b.const(zero + shift, dtype)

    x, ms = q(0.02, 5), "com.microsoft"
    data = b.op("QuantizeLinear", b.input(1, 3, 8, 8), *x)
    w = b.const(b.rng.integers(-60, 61, (4, 3, 3, 3)), np.int8)
    s = b.rng.uniform(0.002, 0.02, 4).astype(np.float32)
    y = q(0.05, -10)
    bias = b.const(b.rng.integers(-500, 500, 4), np.int32)
    data = b.op("QLinearConv", data, *x, w, b.const(s), b.const(np.zeros(4), np.int8), *y, bias, pads=[1] * 4)
    data = b.op("MaxPool", data, kernel_shape=[2, 2], strides=[2, 2])
    z = q(0.03, 7)
    slope = b.op("QLinearLeakyRelu", data, *y, *z, domain=ms, alpha=0.2)
    total = q(0.07, 0)
    data = b.op("QLinearAdd", data, *y, slope, *z, *total, domain=ms)
    data = b.op("QLinearConcat", *total, data, *total, slope, *z, domain=ms, axis=1)
    pooled = q(0.04, -2)
    data = b.op("QLinearGlobalAveragePool", data, *total, *pooled, domain=ms)
    data = b.op("Reshape", data, b.ints(1, -1))
    m, out = b.const(b.rng.integers(-60, 61, (8, 5)), np.int8), q(0.03, 1)
    data = b.op("QLinearMatMul", data, *pooled, m, b.const(0.01, np.float32), b.const(0, np.int8), *out)
    return b.model(b.op("DequantizeLinear", data, *out))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8], ids=["int8", "uint8"])
def test_qlinear_operators(dtype: Any) -> None:
    model = qlinear(dtype)
    graph = normalise(load(model))
    assert kinds(graph) == ["transpose", "conv2d", "max_pool2d", "leaky_relu", "add", "concat", "mean", "reshape", "fully_connected"]
    off = steps_off(graph, model, feeds(model, 40))
    assert off.max() <= 2.001 and (off < 0.01).mean() > 0.8


@pytest.mark.parametrize("dtype", [np.int8, np.uint8], ids=["int8", "uint8"])
def test_integer_interface(dtype: Any) -> None:
    """A model whose inputs and outputs are integers: uint8 becomes int8 moved down by 128."""
    b = Quantized(dtype)
    zero = b.const(3 if dtype == np.int8 else 131, dtype)
    s = b.const(0.02, np.float32)
    x = b.input(1, 6, dtype=TensorProto.INT8 if dtype == np.int8 else TensorProto.UINT8)
    flat = b.op("Reshape", x, b.ints(2, 3))
    y = b.op("QuantizeLinear", b.op("Relu", b.op("DequantizeLinear", flat, s, zero)), b.const(0.01, np.float32), zero)
    model = b.model(y)
    model.graph.output[0].type.tensor_type.elem_type = model.graph.input[0].type.tensor_type.elem_type
    graph = normalise(load(model))
    assert graph.type("input").zero_point == 3 and graph.type("input").scale == pytest.approx(0.02)
    stored = b.rng.integers(-128, 128, (50, 1, 6)).astype(np.int8)
    given = stored if dtype == np.int8 else (stored.astype(np.int16) + 128).astype(np.uint8)
    wanted = onnxruntime_outputs(model, {"input": given})[graph.outputs[0]].astype(np.int16) - (128 if dtype == np.uint8 else 0)
    assert np.abs(simulate(graph, {"input": stored}).outputs[graph.outputs[0]] - wanted).max() <= 1


def test_images_as_integers_that_are_cast_are_floats() -> None:
    b = Net()
    x = b.op("Cast", b.input(1, 2, 4, 4, dtype=TensorProto.UINT8), to=1)
    graph = load(b.model(b.conv(b.op("Mul", x, b.const(1 / 255, np.float32)), 2, 3)))
    assert graph.type("input").dtype is DType.FLOAT32


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, model: ModelProto) -> None:
        arrays = feeds(model, 16, seed=3)
        self.left = [{n: a[i] for n, a in arrays.items()} for i in range(16)]

    def get_next(self) -> dict[str, Array] | None:
        return self.left.pop() if self.left else None


def quantized_by_onnxruntime(model: ModelProto, folder: Path, activations: QuantType, per_channel: bool) -> ModelProto:
    """The model, batch normalization folded, quantized in QDQ format."""
    paths = [str(folder / n) for n in ("float.onnx", "folded.onnx", "quantized.onnx")]
    for info in model.graph.input:
        info.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, paths[0])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = paths[1]
    options.log_severity_level = 4
    onnxruntime.InferenceSession(paths[0], options)
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            paths[1], paths[2], Calibration(model), quant_format=QuantFormat.QDQ, activation_type=activations,
            weight_type=QuantType.QInt8, per_channel=per_channel,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(paths[2])


@pytest.mark.parametrize("per_channel", [True, False], ids=["channels", "tensors"])
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8], ids=["int8", "uint8"])
@pytest.mark.parametrize("name", ["resnet", "mobilenet", "keywords", "flat_keywords", "unet", "shufflenet", "decoder", "mlp"])
def test_network_quantized_by_onnxruntime(tmp_path: Path, name: str, activations: QuantType, per_channel: bool) -> None:
    model = quantized_by_onnxruntime(NETWORKS[name](), tmp_path, activations, per_channel)
    graph = normalise(load(model))
    assert all(t.type.dtype is not DType.FLOAT32 for t in graph.tensors.values())
    off = steps_off(graph, model, feeds(model, 16))
    assert (off <= 1.001).mean() > 0.9 and off.mean() < 0.6 and off.max() < 6


# Refusals


def refusal(model: ModelProto) -> str:
    with pytest.raises(EdgeqError) as caught:
        load(model)
    return str(caught.value)


def test_weights_with_scales_along_their_inputs() -> None:
    b = Quantized()
    message = refusal(b.model(b.q(b.op("MatMul", b.q(b.input(1, 7), 0.02, 0), b.weights(7, 4, axis=0)), 0.05, 0)))
    assert "another axis than output channels" in message


def test_with_float_islands_the_graph_is_float() -> None:
    """See test_onnx_partly_quantized."""
    b = Quantized()
    y = b.op("Exp", b.op("MatMul", b.q(b.input(1, 7), 0.02, 0), b.weights(7, 4, axis=1)))
    graph = load(b.model(b.q(y, 0.05, 0)))
    assert all(t.type.dtype is DType.FLOAT32 for t in graph.tensors.values())
    found = [(n.op.scale, n.op.zero_point) for n in graph.nodes if isinstance(n.op, FakeQuantize)]
    assert found == [(pytest.approx(0.02), 0), (pytest.approx(0.05), 0)]


@pytest.mark.parametrize("change", ["scale", "zero point"])
def test_dequantized_otherwise_than_quantized(change: str) -> None:
    b = Quantized()
    q = b.op("QuantizeLinear", b.input(1, 7), b.const(0.02, np.float32), b.const(5, np.uint8))
    scale, zero = b.const(0.03 if change == "scale" else 0.02, np.float32), b.const(5 if change == "scale" else 6, np.uint8)
    assert "dequantized otherwise" in refusal(b.model(b.op("DequantizeLinear", q, scale, zero)))


@pytest.mark.parametrize(("code", "dtype", "zero"), [("INT32", None, 0), ("INT32", np.int32, 0), ("INT16", np.int16, 3)])
def test_integers_that_no_quantizer_made_are_scaled(code: str, dtype: Any, zero: int) -> None:
    b = Net(21)
    places = b.op("Cast", b.input(1, 7), to=getattr(TensorProto, code))
    model = b.model(b.op("DequantizeLinear", places, b.const(0.5, np.float32), *([b.const(zero, dtype)] if dtype else [])))
    graph, arrays = load(model), feeds(model, 3)
    arrays = {n: 9 * a for n, a in arrays.items()}
    (wanted,) = onnxruntime_outputs(model, arrays).values()
    (found,) = evaluate_float(graph, arrays).values()
    assert np.abs(wanted).max() > 2 and np.array_equal(found, wanted)


def test_types_and_scales_that_no_kernel_has() -> None:
    b = Quantized()
    x = b.input(1, 7)
    q = b.op("QuantizeLinear", x, b.const(0.02, np.float32), b.const(5, np.int32))
    assert f"'{x}' is quantized to int32" in refusal(b.model(q))
    b = Quantized()
    q = b.op("QuantizeLinear", b.input(1, 7), b.const(np.full(7, 0.02), np.float32), b.const(np.zeros(7), np.int8))
    assert "scale per channel" in refusal(b.model(q))
    for value in (0.0, -1.0, np.nan, np.inf):
        b = Quantized()
        b.opset = 19
        q = b.op("QuantizeLinear", b.input(1, 7), b.op("Constant", value_float=float(value)), b.const(0, np.int8))
        assert "not a positive finite number" in refusal(b.model(q))
    b = Quantized()
    x = b.input(1, 4, dtype=TensorProto.INT8)
    assert "does not give the scale of an integer input" in refusal(b.model(b.op("MatMulInteger", x, b.const(np.ones((4, 2)), np.int8))))


def test_blockwise_weights_become_floats() -> None:
    """Weight-only quantization: a float model, whatever its weights were stored in."""
    b = Net(21)
    w = b.rng.integers(-7, 8, (8, 4)).astype(np.int8)
    scales = b.rng.uniform(0.1, 0.2, (2, 4)).astype(np.float32)
    y = b.op("MatMul", b.input(1, 8), b.op("DequantizeLinear", b.const(w), b.const(scales), axis=0, block_size=4))
    graph = load(b.model(y))
    weights = graph.node_inputs(graph.nodes[0])[1]
    assert weights.data is not None and np.allclose(weights.data.T, w * np.repeat(scales, 4, 0))
