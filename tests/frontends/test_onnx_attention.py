"""ONNX's own Attention: heads in three or four axes, shared keys, masks of all kinds as constants and as inputs; in int8 with a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto
from onnx.reference import ReferenceEvaluator
from onnx_models import Net, kinds, load, real_outputs

from edgeq import api
from edgeq.ir import Array
from edgeq.passes import normalise
from edgeq.simulate import dequantize_array, simulate

T, D, F = 5, 4, np.float32
BOOL, FLOAT = TensorProto.BOOL, TensorProto.FLOAT
FORMS: dict[str, Mapping[str, Any]] = {
    "three": {}, "four": {"four": True}, "causal": {"is_causal": 1}, "scale": {"scale": 0.3, "four": True},
    "shared": {"heads": 4}, "one": {"heads": 4, "groups": 1, "is_causal": 1, "four": True}, "cross": {"keys": 7},
    "constant": {"own": np.tril(np.ones((T, T), bool))}, "bias": {"own": np.linspace(-1, 1, T * T).reshape(T, T).astype(F)},
    "given": {"mask": ((T, T), FLOAT)}, "given heads": {"mask": ((1, 2, T, T), FLOAT), "four": True},
    "given truth": {"mask": ((1, 1, 1, T), BOOL)}, "given shared": {"heads": 4, "mask": ((T, T), BOOL), "is_causal": 1},
    "given cross": {"keys": 7, "mask": ((T, 7), BOOL), "four": True},
}  # fmt: skip


def model(
    heads: int = 2, groups: int = 2, keys: int = T, four: bool = False, own: Array | None = None,
    mask: tuple[tuple[int, ...], int] | None = None, **attributes: Any,
) -> ModelProto:  # fmt: skip
    net = Net(23)
    x = net.input(1, T, heads * D)
    z = net.input(1, keys, heads * D, name="z") if keys != T else x
    inputs = []
    for source, count, rows in ((x, heads, T), (z, groups, keys), (z, groups, keys)):
        made = net.op("MatMul", source, net.const(net.rng.normal(0, 0.4, (heads * D, count * D)), F))
        if four:
            made = net.op("Transpose", net.op("Reshape", made, net.ints(1, rows, count, D)), perm=[0, 2, 1, 3])
        inputs.append(str(made))
    inputs += [net.const(own)] if own is not None else []
    inputs += [net.input(*mask[0], name="mask", dtype=mask[1])] if mask else []
    counts = {} if four else {"q_num_heads": heads, "kv_num_heads": groups}
    y = net.op("Attention", *inputs, **counts, **attributes)
    if four:
        y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(1, T, heads * D))
    made = net.model(y)
    made.ir_version = 10
    return made


def samples(made: ModelProto, count: int) -> dict[str, Array]:
    rng, found = np.random.default_rng(2), {}
    for info in made.graph.input:
        shape = (count, *(d.dim_value for d in info.type.tensor_type.shape.dim))
        truth = info.type.tensor_type.elem_type == BOOL
        found[info.name] = np.broadcast_to(np.arange(shape[-1]) < 3, shape) if truth else rng.normal(0, 1, shape).astype(F)
    return found


def as_floats(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {n: a.astype(F) for n, a in arrays.items()}


@pytest.mark.parametrize("form", FORMS)
def test_one_step(form: str) -> None:
    made = model(**FORMS[form])
    arrays = samples(made, 1)
    want = ReferenceEvaluator(made).run(None, {n: a[0] for n, a in arrays.items()})[0]
    graph = normalise(load(made))
    assert kinds(graph).count("masked_attention" if "mask" in FORMS[form] else "attention") == 1
    assert not {"softmax", "mat_mul", "transpose", "gather", "reduce_max"} & set(kinds(graph))
    (got,) = real_outputs(graph, as_floats(arrays)).values()
    np.testing.assert_allclose(got[0], want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("recipe", ["int8", "fp16"])
@pytest.mark.parametrize("form", ["given truth", "given"])
def test_in_few_bits(form: str, recipe: str) -> None:
    """What stands for minus infinity takes no range."""
    made = model(**FORMS[form])
    arrays = as_floats(samples(made, 24))
    graph = normalise(load(made))
    quantized = api.quantize(graph, arrays, recipe=recipe).graph
    (name,) = graph.outputs
    want, t = real_outputs(graph, arrays)[name].astype(np.float64), quantized.type(name)
    got = simulate(quantized, arrays).outputs[name]
    real = dequantize_array(got, t.scale, t.zero_point) if t.q is not None else got.astype(np.float64)
    assert 10 * np.log10((want**2).sum() / ((real - want) ** 2).sum()) >= (25 if recipe == "int8" else 45)


def test_a_question_whether_a_row_is_masked() -> None:
    """Newer definitions of attention give zeros for a query without keys, beside the softmax: no constant is beyond halves, in any type."""
    net = Net(19)
    hidden = np.triu(np.ones((T, T), bool), 1)
    scores = net.op("Add", net.input(2, T, T), net.const(np.where(hidden, -np.inf, 0), F))
    none = net.op("Equal", net.op("ReduceMax", scores, net.ints(-1)), net.const(-np.inf, F))
    made = net.model(net.op("Where", none, net.const(0.0, F), net.op("Softmax", scores, axis=-1)))
    x = np.random.default_rng(2).normal(0, 1, (24, 2, T, T)).astype(F)
    x[:, 1, 2:4] = -1e4
    real = np.exp(np.where(hidden, -np.inf, x.astype(np.float64)))
    wanted = np.where(x[..., :1] < -1e3, 0, real / np.maximum(real.sum(-1, keepdims=True), 1e-30))
    graph = normalise(load(made))
    assert max(np.abs(t.data).max() for t in graph.tensors.values() if t.data is not None) <= 65504
    np.testing.assert_allclose(next(iter(real_outputs(graph, {"input": x}).values())), wanted, atol=1e-6)
    half = api.quantize(graph, recipe="fp16").graph
    got = api.simulate(half, {"input": x}).outputs(real=True)[half.outputs[0]]
    assert np.abs(got - wanted).max() < 0.002 and not got[:, 1, 2:4].any()
    x = np.random.default_rng(2).normal(0, 1, (24, 2, T, T)).astype(F)
    whole = api.quantize(graph, {"input": x}).graph
    wanted = next(iter(real_outputs(graph, {"input": x}).values()))
    assert np.abs(api.simulate(whole, {"input": x}).outputs(real=True)[whole.outputs[0]] - wanted).max() < 0.02
