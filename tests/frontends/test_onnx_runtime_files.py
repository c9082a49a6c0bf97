"""What onnxruntime's own tools write: asymmetric weights, dynamic quantization, and models saved after optimization."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto
from onnx_models import Net, close, feeds, keywords, kinds, load, mobilenet, onnxruntime_outputs, real_outputs, resnet
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from test_onnx_quantized import Calibration, steps_off

from edgeq import target
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import DType
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import fit_inputs, simulate

MICROSOFT = "com.microsoft"


def prepared(model: ModelProto, folder: Path) -> tuple[str, str]:
    """The model as onnxruntime's quantizers want it, and where its quantized form goes."""
    paths = [str(folder / n) for n in ("float.onnx", "prepared.onnx", "quantized.onnx")]
    onnx.save(model, paths[0])
    quant_pre_process(paths[0], paths[1])
    return paths[1], paths[2]


def quietly(quantizer: Any, *arguments: Any, **options: Any) -> None:
    logging.disable(logging.WARNING)
    try:
        quantizer(*arguments, **options)
    finally:
        logging.disable(logging.NOTSET)


def optimized(model: ModelProto, folder: Path, level: str = "EXTENDED") -> ModelProto:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, str(folder / "optimized.onnx")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return onnx.load(folder / "optimized.onnx")


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
@pytest.mark.parametrize("build", [keywords, mobilenet], ids=["keywords", "mobilenet"])
def test_unsigned_weights_keep_their_zero_points(build: Any, form: QuantFormat, tmp_path: Path) -> None:
    """Both activations and weights uint8, the tool's "U8U8": weights asymmetric."""
    model = build()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    source, goal = prepared(model, tmp_path)
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8}
    quietly(quantize_static, source, goal, Calibration(model), quant_format=form, **types)
    found = onnx.load(goal)
    graph = normalise(load(found))
    assert all(t.type.dtype is not DType.FLOAT32 for t in graph.tensors.values())
    assert any(graph.node_inputs(n)[1].type.zero_point for n in graph.nodes if n.op.kind() in ("conv2d", "fully_connected"))
    arrays = feeds(found, 16)
    off = steps_off(graph, found, arrays)
    assert off.max() <= 2.001 and (off <= 1.001).mean() > 0.98
    if build is keywords and form is QuantFormat.QDQ:
        host = target.load("host")
        program = lower(graph, host)
        write(emit(program, plan(program), "m"), tmp_path / "m")
        want, got = simulate(graph, arrays), run(tmp_path / "m", host, fit_inputs(graph, arrays), chain="gcc")
        for name in graph.outputs:
            np.testing.assert_array_equal(got.outputs[name], want.outputs[name])


def layer(data: Any, zeros: Any, transposed: bool = False) -> ModelProto:
    """A convolution between quantized tensors, with weights as given, scales along output channels."""
    b = Net(21)
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input(1, 3, 6, 6), *(q := scale(b, 0.03, 9))), *q)
    axis = 1 if transposed else 0
    zeros = np.asarray(zeros, data.dtype)
    scales = b.const(b.rng.uniform(0.004, 0.02, data.shape[axis]) if zeros.ndim else 0.01, np.float32)
    w = b.op("DequantizeLinear", b.const(data), scales, b.const(zeros), **({"axis": axis} if zeros.ndim else {}))
    y = b.op("ConvTranspose" if transposed else "Conv", x, w)
    return b.model(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *(q := scale(b, 0.06, 3))), *q))


def scale(b: Net, step: float, zero: int) -> tuple[str, str]:
    return b.const(step, np.float32), b.const(zero, np.int8)


def test_weights_that_less_their_zero_points_are_int8_are_kept_so() -> None:
    data = np.random.default_rng(0).integers(60, 180, (4, 3, 3, 3)).astype(np.uint8)
    zeros = np.array([100, 110, 120, 130], np.uint8)
    model = layer(data, zeros)
    graph = normalise(load(model))
    (node,) = (n for n in graph.nodes if n.op.kind() == "conv2d")
    w = graph.node_inputs(node)[1]
    assert w.data is not None and w.type.zero_point == 0
    np.testing.assert_array_equal(w.data, (data.astype(int) - zeros.reshape(-1, 1, 1, 1)).transpose(0, 2, 3, 1))
    assert steps_off(graph, model, feeds(model, 16)).max() <= 1.001


@pytest.mark.parametrize(
    ("zeros", "transposed", "what"),
    [([20, 128, 128, 240], False, "zero points that differ by channel"), (20, True, "zero point -108")],
    ids=["by channel", "transposed"],
)
def test_weights_that_no_kernel_reads_are_rounded_anew_and_named(zeros: Any, transposed: bool, what: str, caplog: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, (3, 4, 3, 3) if transposed else (4, 3, 3, 3)).astype(np.uint8)
    model = layer(data, zeros, transposed)
    with caplog.at_level(logging.WARNING, "edgeq"):
        graph = normalise(load(model))
    assert f"have {what}: they are rounded again, to symmetric int8" in caplog.text
    assert np.median(steps_off(graph, model, feeds(model, 16))) < 2


def dense() -> ModelProto:
    b = Net()
    x = b.op("Flatten", b.op("Relu", b.conv(b.input(1, 3, 6, 6), 3, 4)))
    x = b.op("LeakyRelu", b.op("Gemm", x, b.random(9, 144), b.random(9), transB=1), alpha=0.3)
    return b.model(b.op("MatMul", x, b.random(9, 5)))


def lstm() -> ModelProto:
    b = Net()
    weights = b.random(1, 32, 6), b.random(1, 32, 8), b.random(1, 64)
    y, _, _ = b.op("LSTM", b.input(5, 1, 6), *weights, outputs=3, hidden_size=8)
    return b.model(b.op("MatMul", b.op("Reshape", y, b.ints(5, 8)), b.random(8, 3)))


@pytest.mark.parametrize("per_channel", [False, True], ids=["tensors", "channels"])
@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8], ids=["int8", "uint8"])
@pytest.mark.parametrize("build", [dense, lstm], ids=["dense", "lstm"])
def test_dynamic_quantization_is_the_float_model_it_stands_for(
    build: Any, weights: QuantType, per_channel: bool, tmp_path: Path, caplog: Any
) -> None:
    source, goal = prepared(build(), tmp_path)
    quietly(quantize_dynamic, source, goal, weight_type=weights, per_channel=per_channel)
    written = onnx.load(goal)
    forms = [written, optimized(written, tmp_path)]  # the second has its own fused operators
    for model in forms:
        with caplog.at_level(logging.WARNING, "edgeq"):
            graph = normalise(load(model))
        assert "quantized at run time, read as floats: 'input'" in caplog.text
        arrays = feeds(model, 8)
        ((name, want),) = onnxruntime_outputs(written, arrays).items()
        got = real_outputs(graph, {n: a.astype(np.float32) for n, a in arrays.items()})[name]
        assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < 0.02, {n.op_type for n in model.graph.node}


@pytest.mark.parametrize("which", range(3))
def test_dynamic_integers_that_are_results_are_refused(which: int) -> None:
    for reader in (None, "Neg"):
        b = Net()
        value = b.op("DynamicQuantizeLinear", b.input(1, 6), outputs=3)[which]
        with pytest.raises(EdgeqError, match=f"{reader or 'an output'} of dynamically quantized integers is not supported"):
            load(b.model(b.op(reader, value) if reader else value))


@pytest.mark.parametrize("order", ["weights first", "both at once", "weights alone", "none"])
def test_dynamic_products_need_their_scale(order: str) -> None:
    """In whatever order; without it they are integers."""
    b = Net()
    q, scale, zero = b.op("DynamicQuantizeLinear", b.input(2, 6), outputs=3)
    weights = b.const(np.random.default_rng(0).integers(-127, 128, (6, 4)).astype(np.int8))
    sums, step = b.op("Cast", b.op("MatMulInteger", q, weights, zero), to=TensorProto.FLOAT), b.const(np.float32(0.01))
    if order == "both at once":
        y = b.op("Mul", b.op("Mul", scale, step), sums)
    else:
        y = sums if order == "none" else b.op("Mul", sums, step)
        y = b.op("Mul", y, scale) if order == "weights first" else b.op("Neg", y)
    if order not in ("weights first", "both at once"):
        with pytest.raises(EdgeqError, match="Neg of dynamically quantized integers is not supported"):
            load(b.model(y))
        return
    model = b.model(y)
    arrays = feeds(model, 8)
    ((name, want),) = onnxruntime_outputs(model, arrays).items()
    got = real_outputs(load(model), arrays)[name]
    assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < 0.02


STRANGE = {
    "product by another scale": "Mul of what is no product of its integers and the scale or zero point that 'other' is quantized with",
    "plain times scale": "Mul of what is no product of its integers and the scale or zero point that 'input' is quantized with",
    "scale twice": "Mul of what is no product of its integers and the scale or zero point that 'input' is quantized with",
    "another zero point": "MatMulInteger of the integers of 'input' and the scale or zero point that 'other' is quantized with",
    "no zero point": "MatMulInteger of dynamically quantized integers without their scale or zero point",
    "another's scale": "DequantizeLinear of the integers of 'input' and the scale or zero point that 'other' is quantized with",
    "weights by a scale of run time": "DequantizeLinear of integers of the file and the scale or zero point that 'input' is quantized with",
    "weights less a zero point of run time": "MatMulInteger of integers of the file and the scale or zero point that 'input'",
    "a zero point as an integer": "DequantizeLinear of a scale or zero point that 'input' is quantized with",
}


@pytest.mark.parametrize("case", STRANGE)
def test_scales_of_run_time_belong_to_their_tensors(case: str) -> None:
    b = Net()
    x, other = b.input(1, 6), b.input(1, 6, name="other")
    (q, scale, zero), (_, scale2, zero2) = (b.op("DynamicQuantizeLinear", v, outputs=3) for v in (x, other))
    weights = b.const(np.random.default_rng(0).integers(-127, 128, (6, 6)).astype(np.int8))

    def product(*inputs: str) -> str:
        return b.op("Cast", b.op("MatMulInteger", *inputs), to=TensorProto.FLOAT)

    y = {
        "product by another scale": lambda: b.op("Mul", product(q, weights, zero), scale2),
        "plain times scale": lambda: b.op("Mul", other, scale),
        "scale twice": lambda: b.op("Mul", b.op("Mul", product(q, weights, zero), scale), scale),
        "another zero point": lambda: b.op("Mul", product(q, weights, zero2), scale),
        "no zero point": lambda: b.op("Mul", product(q, weights), scale),
        "another's scale": lambda: b.op("DequantizeLinear", q, scale2, zero2),
        "weights by a scale of run time": lambda: b.op("DequantizeLinear", weights, scale),
        "weights less a zero point of run time": lambda: b.op("Mul", product(q, weights, zero, zero), scale),
        "a zero point as an integer": lambda: b.op("Add", x, b.op("DequantizeLinear", zero, b.const(np.float32(0.5)))),
    }[case]()
    with pytest.raises(EdgeqError, match=STRANGE[case]):
        load(b.model(y))


def test_a_product_of_two_tensors_needs_both_scales() -> None:
    b = Net()
    (q, scale, zero), (r, scale2, zero2) = (b.op("DynamicQuantizeLinear", b.input(6, 6, name=n), outputs=3) for n in ("left", "right"))
    sums = b.op("Cast", b.op("MatMulInteger", q, r, zero, zero2), to=TensorProto.FLOAT)
    with pytest.raises(EdgeqError, match="an output of dynamically quantized integers"):
        load(b.model(b.op("Mul", sums, scale)))
    model = b.model(b.op("Mul", b.op("Mul", sums, scale2), scale))
    arrays = feeds(model, 8)
    ((name, want),) = onnxruntime_outputs(model, arrays).items()
    got = real_outputs(load(model), arrays)[name]
    assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < 0.02


FUSED: dict[str, Any] = {
    "relu": ("FusedConv", {"activation": "Relu"}),
    "leaky": ("FusedConv", {"activation": "LeakyRelu", "activation_params": [0.2]}),
    "clip": ("FusedConv", {"activation": "Clip", "activation_params": [0.1, 0.6]}),
    "hard sigmoid": ("FusedConv", {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]}),
    "sum": ("FusedConv", {"activation": "Tanh"}),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_convolution(name: str) -> None:
    b = Net()
    kind, attributes = FUSED[name]
    x = b.input(1, 3, 6, 6)
    y = b.op(kind, x, b.random(3, 3, 3, 3), b.random(3), *([x] if name == "sum" else []), domain=MICROSOFT, pads=[1] * 4, **attributes)
    compare(b.model(y))


def compare(model: ModelProto) -> None:
    arrays = feeds(model, 4)
    close(real_outputs(load(model), arrays), onnxruntime_outputs(model, arrays))


def test_a_saved_optimized_network(tmp_path: Path) -> None:
    model = optimized(dense(), tmp_path)
    assert {"FusedConv", "FusedGemm"} <= {n.op_type for n in model.graph.node}
    compare(model)


@pytest.mark.parametrize("transposed", [(0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("constant", [False, True], ids=["computed", "constant"])
def test_fused_matrices(transposed: tuple[int, int], constant: bool) -> None:
    b = Net()
    x = b.input(2, 5, 5)
    y = b.random(5, 5) if constant else b.op("Relu", x)
    compare(b.model(b.op("FusedMatMul", x, y, domain=MICROSOFT, transA=transposed[0], transB=transposed[1], alpha=0.25)))


def test_normalizations_of_sums() -> None:
    b = Net()
    x = b.input(1, 5, 8)
    y, _, _, s = b.op(
        "SkipLayerNormalization", x, b.op("Relu", x), *(b.random(8) for _ in range(3)), outputs=4, domain=MICROSOFT, epsilon=1e-5
    )
    z, _, _, t = b.op("SkipSimplifiedLayerNormalization", y, s, b.random(8), b.random(8), outputs=4, domain=MICROSOFT, epsilon=1e-5)
    w = b.op("SkipLayerNormalization", z, t, b.random(8), domain=MICROSOFT, epsilon=1e-4)
    compare(b.model(b.op("SimplifiedLayerNormalization", w, b.random(8), axis=-1, epsilon=1e-5, stash_type=1)))


def quantized_file(build: Any, folder: Path, **options: Any) -> tuple[ModelProto, ModelProto]:
    """A network and what onnxruntime makes of it."""
    model = build()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    source, goal = prepared(model, folder)
    quietly(quantize_static, source, goal, Calibration(model), quant_format=QuantFormat.QDQ, weight_type=QuantType.QInt8, **options)
    return model, onnx.load(goal)


@pytest.mark.parametrize("build", [keywords, mobilenet, resnet], ids=["keywords", "mobilenet", "resnet"])
def test_channels_last(build: Any, tmp_path: Path) -> None:
    """A quantized model saved after all optimization: its convolutions and pools have their channels last."""
    _, found = quantized_file(build, tmp_path, activation_type=QuantType.QUInt8, per_channel=True)
    saved = optimized(found, tmp_path, "ALL")
    last = {n.op_type for n in saved.graph.node if any(a.name == "channels_last" for a in n.attribute) or n.op_type == "NhwcMaxPool"}
    assert last >= {"QLinearConv", "NhwcMaxPool" if build is keywords else "QLinearGlobalAveragePool"}
    plain, graph = normalise(load(optimized(found, tmp_path))), normalise(load(saved))
    arrays = feeds(found, 8)
    got, want = simulate(graph, fit_inputs(graph, arrays)), simulate(plain, fit_inputs(plain, arrays))
    for name in plain.outputs:
        np.testing.assert_array_equal(got.outputs[name], want.outputs[name])
    assert "transpose" not in kinds(graph)[1:-1]


@pytest.mark.parametrize("dtype", [QuantType.QInt16, QuantType.QUInt16], ids=["int16", "uint16"])
def test_limits_of_sixteen_bits_stand_for_a_relu(dtype: Any, tmp_path: Path) -> None:
    """onnxruntime leaves out a ReLU or a Clip before integers that begin at 0."""
    source, found = quantized_file(mobilenet, tmp_path, activation_type=dtype)
    left, right = ({n.op_type for n in m.graph.node} for m in (source, found))
    assert "Clip" in left and not {"Relu", "Clip"} & right
    arrays = feeds(found, 8)
    (want,), (got,) = onnxruntime_outputs(found, arrays).values(), real_outputs(load(found), arrays).values()
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-3 * float(np.abs(want).max()))
