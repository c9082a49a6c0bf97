"""QONNX files, as Brevitas and QKeras export them, against its definition of Quant and BipolarQuant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx_models import Net, feeds, load

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph
from edgeq.passes import normalise
from edgeq.quantize.floating import evaluate_float

DOMAIN = "qonnx.custom_op.general"
F = np.float32


class Quant(OpRun):
    """By the text of its definition."""

    op_domain = DOMAIN

    def _run(self, x: Any, scale: Any, zero: Any, bits: Any, signed: int = 1, narrow: int = 0, rounding_mode: str = "ROUND") -> Any:
        low = -(2 ** (bits - 1)) + narrow if signed else 0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        steps = x / scale + zero
        return (((np.clip(np.floor(steps) if rounding_mode == "FLOOR" else np.round(steps), low, high) - zero) * scale).astype(F),)


class BipolarQuant(OpRun):
    op_domain = DOMAIN

    def _run(self, x: Any, scale: Any) -> Any:
        return (np.where(x >= 0, scale, -scale).astype(F),)


class Exporter(Net):
    def quant(self, x: str, scale: Any, bits: float, zero: float = 0, signed: int = 1, narrow: int = 0, mode: str = "ROUND") -> str:
        given = self.const(scale, F), self.const(zero, F), self.const(bits, F)
        return str(self.op("Quant", x, *given, domain=DOMAIN, signed=signed, narrow=narrow, rounding_mode=mode))

    def weights(self, *shape: int, bits: float, mode: str = "ROUND") -> str:
        w = self.rng.normal(0, 0.3, shape)
        scale = np.abs(w).max(tuple(range(1, len(shape))), keepdims=True) / (2 ** (bits - 1) - 1)
        return self.quant(self.const(w, F), scale, bits, narrow=1, mode=mode)

    def whole(self, *outputs: str) -> ModelProto:
        model = self.model(*outputs)
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        return model


def brevitas() -> ModelProto:
    """4 bits of weights and of rectified activations, 8 at both ends, biases of 16 bits."""
    b = Exporter(13)
    x = b.quant(b.input(1, 2, 9, 9), 0.03, 8)
    bias = b.quant(b.random(4), 0.03 * 0.01, 16)
    x = b.quant(b.op("Relu", b.op("Conv", x, b.weights(4, 2, 3, 3, bits=4), bias)), 0.11, 4, signed=0)
    x = b.op("Relu", b.op("Conv", x, b.weights(4, 1, 3, 3, bits=3), b.random(4), group=4))
    x = b.quant(x, 0.05, 8, signed=0)
    return b.whole(b.quant(b.op("Gemm", b.op("Flatten", x), b.weights(5, 100, bits=8), b.random(5), transB=1), 0.02, 8))


def shifted() -> ModelProto:
    """Zero points, narrow ranges, another rounding of weights, a layer whose sums stay floats."""
    b = Exporter(13)
    x = b.quant(b.input(2, 12), 0.0213, 7, zero=30, signed=0, narrow=1)
    y = b.quant(b.op("MatMul", x, b.quant(b.random(12, 6), 0.0117, 8, zero=3, mode="FLOOR")), 0.0309, 6, zero=-4, narrow=1)
    return b.whole(b.op("Tanh", b.op("MatMul", y, b.random(6, 3))))


def binary() -> ModelProto:
    """Signs as weights and as activations."""
    b = Exporter(13)

    def signs(x: str, scale: float) -> str:
        return str(b.op("BipolarQuant", x, b.const(scale, F), domain=DOMAIN))

    x = b.op("MatMul", b.input(1, 16), signs(b.random(16, 8), 0.1))
    return b.whole(b.op("MatMul", signs(x, 0.5), signs(b.random(8, 4), 0.2)))


def wanted(model: ModelProto, x: dict[str, Array]) -> Array:
    session: Any = ReferenceEvaluator(model, new_ops=[Quant, BipolarQuant])
    return np.stack([session.run(None, {"input": v})[0] for v in x["input"]])


def decibels(a: Array, b: Array) -> float:
    return float(10 * np.log10((a.astype(np.float64) ** 2).mean() / max(((a.astype(np.float64) - b) ** 2).mean(), 1e-30)))


@pytest.mark.parametrize("build", [brevitas, shifted, binary], ids=lambda f: f.__name__)
def test_what_is_read_means_what_is_written(build: Any) -> None:
    model = build()
    graph = normalise(load(model))
    x = {graph.inputs[0]: feeds(model, 24)["input"]}
    y = wanted(model, {"input": x[graph.inputs[0]]})
    whole = graph.type(graph.inputs[0]).dtype is DType.INT8
    assert whole == (build is brevitas)
    if whole:
        found = next(iter(api.simulate(graph, x).outputs(real=True).values()))
        assert (np.abs(found - y) < 1e-5).mean() > 0.6 and decibels(y, found) > 35  # steps of 4 bits at ties inside
        return
    assert decibels(y, next(iter(evaluate_float(graph, x).values()))) > 60
    made = api.quantize(graph, x)
    assert decibels(y, next(iter(api.simulate(made.graph, x).outputs(real=True).values()))) > (20 if build is shifted else 3)


def stored(graph: Graph) -> list[Array]:
    return [t.data for t in graph.tensors.values() if t.data is not None and t.type.dtype is DType.INT8]


def test_weights_keep_their_integers() -> None:
    few = sorted(int(np.abs(a.astype(int)).max()) for a in stored(normalise(load(brevitas()))))
    assert few == [3, 7, 127]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda b: b.quant(b.input(1, 4), np.full((1, 4), 0.1), 8), "quantize activations per tensor"),
        (lambda b: b.quant(b.input(1, 4), 0.1, 8, mode="FLOOR"), "rounded by FLOOR"),
        (lambda b: b.quant(b.input(1, 4), 0.1, 1.5), "to 1.5 bits"),
        (lambda b: b.quant(b.input(1, 4), -0.1, 8), "not positive"),
        (lambda b: b.quant(b.input(1, 4), 0.1, 8, mode="DITHER"), "rounding mode DITHER"),
        (lambda b: b.quant(b.input(1, 4), 0.1, 8, zero=300), "zero point of 300"),
        (lambda b: b.op("Trunc", b.input(1, 4), domain=DOMAIN), "qonnx.custom_op.general::Trunc is not supported"),
    ],
)
def test_grids_that_no_kernel_has_are_refused(build: Any, words: str) -> None:
    b = Exporter(13)
    with pytest.raises(EdgeqError, match=words):
        load(b.whole(build(b)))
