"""Scale and bias of a layer normalization stay float32 in an int8 graph, however it is written and whatever the recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / "frontends")]
from onnx import ModelProto
from onnx_models import Net, feeds, load, onnxruntime_outputs
from test_onnx_quantized import Quantized, steps_off

from edgeq import api
from edgeq.compare import compare
from edgeq.ir import DType, Graph
from edgeq.ops.layer_norm import LayerNorm
from edgeq.passes import normalise
from edgeq.quantize import evaluate_float
from edgeq.run import host
from edgeq.simulate import fit_inputs, simulate

WIDTH = 16
KEPT = 26.0  # dB

Form = Callable[[Net, str], str]


def _difference(b: Net, x: str) -> str:
    return str(b.op("Sub", x, b.op("ReduceMean", x, axes=[-1], keepdims=1)))


def _variance(b: Net, square: str) -> str:
    return str(b.op("Add", b.op("ReduceMean", square, axes=[-1], keepdims=1), b.const(1e-5, np.float32)))


def _affine(b: Net, n: str) -> str:
    return str(b.op("Add", b.op("Mul", n, b.random(WIDTH, low=0.5)), b.random(WIDTH)))


def _operator(b: Net, x: str) -> str:
    return str(b.op("LayerNormalization", x, b.random(WIDTH, low=0.5), b.random(WIDTH), axis=-1))


def _no_bias(b: Net, x: str) -> str:
    return str(b.op("LayerNormalization", x, b.random(WIDTH, low=0.5), axis=-1))


def _pow_div(b: Net, x: str) -> str:
    d = _difference(b, x)
    return _affine(b, b.op("Div", d, b.op("Sqrt", _variance(b, b.op("Pow", d, b.const(2.0, np.float32))))))


def _mul_div(b: Net, x: str) -> str:
    d = _difference(b, x)
    return _affine(b, b.op("Div", d, b.op("Sqrt", _variance(b, b.op("Mul", d, d)))))


def _reciprocal(b: Net, x: str) -> str:
    d = _difference(b, x)
    return _affine(b, b.op("Mul", d, b.op("Reciprocal", b.op("Sqrt", _variance(b, b.op("Mul", d, d))))))


def _one_over(b: Net, x: str) -> str:
    d = _difference(b, x)
    root = b.op("Sqrt", _variance(b, b.op("Mul", d, d)))
    return _affine(b, b.op("Mul", d, b.op("Div", b.const(1.0, np.float32), root)))


def _power(b: Net, x: str) -> str:
    d = _difference(b, x)
    return _affine(b, b.op("Div", d, b.op("Pow", _variance(b, b.op("Mul", d, d)), b.const(0.5, np.float32))))


def _scale_alone(b: Net, x: str) -> str:
    d = _difference(b, x)
    return str(b.op("Mul", b.op("Div", d, b.op("Sqrt", _variance(b, b.op("Mul", d, d)))), b.random(WIDTH, low=0.5)))


def _bias_alone(b: Net, x: str) -> str:
    d = _difference(b, x)
    return str(b.op("Add", b.op("Div", d, b.op("Sqrt", _variance(b, b.op("Mul", d, d)))), b.random(WIDTH)))


def _plain(b: Net, x: str) -> str:
    d = _difference(b, x)
    return str(b.op("Div", d, b.op("Sqrt", _variance(b, b.op("Mul", d, d)))))


def _twice(b: Net, x: str) -> str:
    return _operator(b, str(b.op("Relu", _pow_div(b, x))))


def _first(b: Net, x: str) -> str:
    """Over all axes of an image."""
    y = b.op("Reshape", x, b.ints(1, 1, 4, 4 * 5))
    n = b.op("LayerNormalization", y, b.random(4, 20, low=0.5), b.random(4, 20), axis=-2)
    return str(b.op("Reshape", n, b.ints(1, 5, WIDTH)))


FORMS: dict[str, Form] = {
    f.__name__.removeprefix("_"): f
    for f in (_operator, _no_bias, _pow_div, _mul_div, _reciprocal, _one_over, _power, _scale_alone, _bias_alone, _plain, _twice, _first)
}


def model(form: Form) -> ModelProto:
    """Two dense layers with a normalization between them, as in a transformer's block."""
    b = Net(17, seed=4)
    x = b.op("MatMul", b.input(1, 5, WIDTH), b.random(WIDTH, WIDTH))
    y = form(b, str(x))
    return b.model(str(b.op("MatMul", y, b.random(WIDTH, WIDTH))))


def decibels(real: Graph, graph: Graph, x: dict[str, np.ndarray]) -> float:
    want = next(iter(evaluate_float(real, x).values())).astype(np.float64)
    name, got = next(iter(simulate(graph, x).outputs.items()))
    t = graph.type(name)
    found = got.astype(np.float64) if t.q is None else (got.astype(np.float64) - t.zero_point) * t.scale
    return float(10 * np.log10((want**2).sum() / ((found - want) ** 2).sum()))


def norms(graph: Graph) -> list[tuple[DType, DType]]:
    return [(graph.type(n.inputs[1]).dtype, graph.type(n.inputs[2]).dtype) for n in graph.nodes if isinstance(n.op, LayerNorm)]


@pytest.mark.parametrize("name", FORMS)
def test_int8(name: str) -> None:
    m = model(FORMS[name])
    real, x = normalise(load(m)), feeds(m, 32)
    want = onnxruntime_outputs(m, x)
    np.testing.assert_allclose(next(iter(evaluate_float(real, x).values())), next(iter(want.values())), rtol=1e-3, atol=1e-3)
    graph = api.quantize(real, x).graph
    assert norms(graph) and set(norms(graph)) == {(DType.FLOAT32, DType.FLOAT32)}
    assert decibels(real, graph, feeds(m, 64, seed=9)) > KEPT


@pytest.mark.parametrize("recipe", ["auto", "robust", "mixed", "fp16"])
def test_other_recipes_compute_the_same_in_c(recipe: str, tmp_path: Path) -> None:
    m = model(_twice)
    real, x = normalise(load(m)), feeds(m, 32)
    graph = api.quantize(real, x, recipe=recipe, **({"budget": {"drop": 24.0}} if recipe == "auto" else {})).graph
    assert len(norms(graph)) == 2
    if recipe != "robust":
        assert decibels(real, graph, x) > 20
    few = fit_inputs(graph, {n: a[:3] for n, a in x.items()})
    built = api.build(graph, output=tmp_path / "out", check=False, vectors=0)
    assert compare(simulate(graph, few, steps=True), host.run(built.folder, few, steps=True)).bit_exact


@pytest.mark.parametrize("quantized_constants", [False, True], ids=["float", "quantized"])
def test_a_quantized_file(quantized_constants: bool) -> None:
    b = Quantized(np.int8)
    scale, bias = (b.const(b.rng.uniform(0.5, 1.5, WIDTH), np.float32) for _ in range(2))
    if quantized_constants:
        data = b.const(b.rng.integers(30, 127, WIDTH).astype(np.int8))
        scale = str(b.op("DequantizeLinear", data, b.const(0.01, np.float32), b.const(0, np.int8)))
    y = b.op("LayerNormalization", b.q(b.input(1, 5, WIDTH), 0.02, 3), scale, bias, axis=-1)
    m = b.model(b.q(y, 0.03, -5))
    graph = normalise(load(m))
    assert norms(graph) == [(DType.FLOAT32, DType.FLOAT32)]
    assert steps_off(graph, m, feeds(m, 8)).max() <= 1.001
