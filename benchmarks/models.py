"""The benchmarked models: the shipped ones always, the MLPerf Tiny reference models where the data folder holds them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeq import api
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EDGEQ_DATA") or ROOT.parent / "shared" / "data")
MLPERF = {
    "kws": "kws_ref_model.tflite", "resnet8": "pretrainedResnet_quant.tflite", "vww": "vww_96_int8.tflite",
    "ad": "ad01_int8.tflite", "wake_word": "str_ww_ref_model.tflite",
}  # fmt: skip
FLOAT = {
    "kws": "kws_ref_model_float32.tflite", "resnet8": "pretrainedResnet.tflite", "vww": "vww_96_float.tflite", "ad": "ad01_fp32.tflite",
}  # fmt: skip


def digits() -> Graph:
    """The digits example, quantized with the example's own calibration images."""
    sys.path.append(str(ROOT / "examples" / "digits"))
    from data import load  # type: ignore[import-not-found]

    graph = api.load(ROOT / "examples" / "digits" / "digits.onnx")
    return api.quantize(graph, {graph.inputs[0]: load()[0][:128]}).graph


def dense256() -> Graph:
    """One fully connected layer, 256 inputs and outputs, weights drawn from a normal distribution."""
    rng = np.random.default_rng(256)
    real = rng.normal(0, 0.06, (256, 256))
    scales = np.abs(real).max(1) / 127
    weights = np.rint(real / scales[:, None]).astype(np.int8)
    bias = rng.integers(-2000, 2000, 256).astype(np.int32)
    x_scale = 1 / 64
    tensors = [
        Tensor("x", TensorType((1, 256), DType.INT8, QParams((x_scale,), -3))),
        Tensor("w", TensorType((256, 256), DType.INT8, QParams(tuple(map(float, scales)), 0, 0)), weights),
        Tensor("b", TensorType((256,), DType.INT32, QParams(tuple(float(x_scale * s) for s in scales), 0, 0)), bias),
        Tensor("y", TensorType((1, 256), DType.INT8, QParams((1 / 24,), 5))),
    ]
    node = Node("dense", FullyConnected(), ("x", "w", "b"), ("y",))
    return Graph("dense256", (node,), {t.name: t for t in tensors}, ("x",), ("y",), "tflm")


def cell256(op: Lstm | Gru) -> Graph:
    """One step of a recurrent layer of 256 inputs and units, weights drawn from a normal distribution, a scale per row."""
    rng, state = np.random.default_rng(256), QParams((1 / 128,), 0)
    rows = op.gates * 256
    inputs = ["x", "w", "r", *("b", "c")[: op.biases], "h"]
    tensors = [Tensor("x", TensorType((1, 256), DType.INT8, QParams((1 / 32,), -3))), Tensor("h", TensorType((1, 256), DType.INT8, state))]
    for weights, bias, scale in (("w", "b", 1 / 32), ("r", "c", 1 / 128)):
        real = rng.normal(0, 0.06, (rows, 256))
        scales = np.abs(real).max(1) / 127
        whole = np.rint(real / scales[:, None]).astype(np.int8)
        tensors += [Tensor(weights, TensorType((rows, 256), DType.INT8, QParams(tuple(map(float, scales)), 0, 0)), whole)]
        if bias in inputs:
            sums = QParams(tuple(float(scale * s) for s in scales), 0, 0)
            tensors += [Tensor(bias, TensorType((rows,), DType.INT32, sums), rng.integers(-500, 500, rows).astype(np.int32))]
    tensors += [Tensor("y", TensorType((1, 256), DType.INT8, state))]
    outputs = ["y"]
    if isinstance(op, Lstm):
        kept = TensorType((1, 256), DType.INT16, QParams((2.0**-11,), 0))
        tensors += [Tensor(n, kept) for n in ("old", "new")]
        inputs, outputs = [*inputs, "old"], [*outputs, "new"]
    names = tuple(n for n in ("x", "h", "old") if n in inputs)
    node = Node("cell", op, tuple(inputs), tuple(outputs))
    return Graph(f"{op.kind()}256", (node,), {t.name: t for t in tensors}, names, tuple(outputs), "single")


SHIPPED: dict[str, Callable[[], Graph]] = {"digits": digits, "dense256": dense256}
CELLS: dict[str, Callable[[], Graph]] = {"lstm256": lambda: cell256(Lstm()), "gru256": lambda: cell256(Gru())}


def mlperf(name: str) -> Graph | None:
    """An int8 reference model (law tflm), or None where the data folder is absent."""
    path = DATA / "mlperf_tiny" / MLPERF[name]
    return api.load(path) if path.is_file() else None


def quantized(name: str) -> Graph | None:
    """A float reference model quantized by edgeq with its defaults (law single), or None where there is no data or no such model."""
    from benchmarks.quantization import calibration

    path = DATA / "mlperf_tiny" / FLOAT.get(name, "")
    if not path.is_file():
        return None
    graph = api.load(path)
    return api.quantize(graph, {graph.inputs[0]: calibration(name)}).graph


def graphs(name: str) -> list[Graph]:
    """A model under each of its laws; empty where its data are absent."""
    made = SHIPPED | CELLS
    found = [made[name]()] if name in made else [mlperf(name), quantized(name)]
    return [g for g in found if g is not None]
