"""Where storages meet: which casts stand between nodes in int8 and in half precision, with which types, and what they compute."""

from __future__ import annotations

import numpy as np
from float_graphs import PLAIN, Floats, affine_of, integers, scales_of

from edgeq.ir import Array, DType, Graph
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.quantize import Precision, evaluate_float, quantize
from edgeq.simulate import simulate

X = np.random.default_rng(2).normal(0, 1, (64, 1, 5)).astype(np.float32)


def chain(count: int = 3) -> Graph:
    """x -> a -> b -> c, dense layers."""
    b = Floats()
    x = b.input(1, 5)
    for i, name in enumerate("abcd"[:count]):
        x = b.layer(FullyConnected(), x, np.random.default_rng(i).normal(0, 1, (5, 5)), np.arange(5) / 7, name=name)
    return b.graph(x)


def stored(*kinds: str) -> Graph:
    """The chain with nodes in these storages."""
    nodes = dict(zip("abcd", kinds, strict=False))
    return quantize(chain(len(kinds)), {"x": X}, PLAIN, Precision(method="minmax", nodes=nodes))


def casts(graph: Graph) -> list[tuple[str, str]]:
    return [(n.inputs[0], n.outputs[0]) for n in graph.nodes if isinstance(n.op, (Quantize, Dequantize))]


def types(graph: Graph) -> dict[str, DType]:
    return {n: t.type.dtype for n, t in graph.tensors.items() if not t.is_constant}


def test_inputs_and_outputs_are_halves() -> None:
    graph = stored("int8", "int8", "int8")
    assert casts(graph) == [("x", "x.s8"), ("c.s8", "c")]
    assert types(graph) == {n: DType.FLOAT16 if n in "xc" else DType.INT8 for n in ("x", "x.s8", "a", "b", "c.s8", "c")}


def test_a_cast_stands_where_storages_meet_and_nowhere_else() -> None:
    assert casts(stored("float16", "float16", "float16")) == []
    assert casts(stored("float16", "int8", "float16")) == [("a", "a.s8"), ("b", "b.f16")]
    assert casts(stored("float16", "w8a16", "float16")) == []
    assert casts(stored("int8", "float16", "int8")) == [("x", "x.s8"), ("a", "a.f16"), ("b", "b.s8"), ("c.s8", "c")]


def test_between_two_integer_types_halves_stand() -> None:
    assert casts(stored("int8", "int16", "float16")) == [("x", "x.s8"), ("a", "a.f16"), ("a.f16", "a.s16"), ("b", "b.f16")]


def test_a_tensor_is_cast_once_for_all_its_readers() -> None:
    b = Floats()
    h = b.layer(FullyConnected(), b.input(1, 5), np.eye(5), name="h")
    outputs = [b.layer(FullyConnected(), h, np.eye(5), name=n) for n in "pqr"]
    nodes = {"h": "float16", "p": "int8", "q": "int8", "r": "float16"}
    graph = quantize(b.graph(*outputs), {"x": X}, PLAIN, Precision(method="minmax", nodes=nodes))
    assert casts(graph) == [("h", "h.s8"), ("p.s8", "p"), ("q.s8", "q")]


def test_weights_follow_their_node() -> None:
    graph = stored("float16", "w8a16", "int8", "int16")
    found = {n.name: [graph.type(i).dtype.value for i in n.inputs[1:]] for n in graph.nodes if n.op.parameters}
    assert found == {"a": ["f16", "f32"], "b": ["s8", "f32"], "c": ["s8", "s32"], "d": ["s8", "s32"]}
    real = chain(4)
    half = graph.tensors[graph.nodes[0].inputs[1]].data
    assert half is not None and np.array_equal(half, np.asarray(real.tensors[real.nodes[0].inputs[1]].data).astype(np.float16))
    q, scales = integers(graph, "b", 1)
    w = np.asarray(real.tensors[real.nodes[1].inputs[1]].data).astype(np.float64)
    assert np.array_equal(scales, (np.abs(w).max(1) / 127).astype(np.float32)) and np.array_equal(q, np.rint(w / scales[:, None]))
    bias = graph.tensors[next(n for n in graph.nodes if n.name == "b").inputs[2]].data
    assert bias is not None and np.array_equal(bias, (np.arange(5) / 7).astype(np.float32))


def test_scales_are_those_of_the_values() -> None:
    graph = stored("float16", "int8", "int16")
    seen = evaluate_float(chain(3), {"x": X}, steps=True)
    ends = {n: (float(seen[n].min()), float(seen[n].max())) for n in "abc"}
    assert scales_of(graph, "a.s8") == affine_of(*ends["a"]) and scales_of(graph, "b") == affine_of(*ends["b"])
    peak = max(-ends["b"][0], ends["b"][1])
    assert scales_of(graph, "b.s16") == (float(np.float32(peak / 32767)), 0)


def test_a_cast_rounds_to_nearest() -> None:
    """A half becomes the nearest integer, an integer the nearest half of what it means."""
    graph = stored("float16", "int8", "float16")
    x = X[:20].astype(np.float16)
    steps = simulate(graph, {"x": x}, steps=True).steps
    scale, zero = scales_of(graph, "a.s8")

    def back(q: Array, scale: float, zero: int) -> Array:
        return ((q.astype(np.float64) - zero) * np.float64(np.float32(scale))).astype(np.float16)

    want = np.clip(np.rint(steps["a"].astype(np.float64) / scale) + zero, -128, 127)
    assert np.abs(steps["a.s8"] - want).max() <= 1 and (steps["a.s8"] == want).mean() > 0.99
    assert np.array_equal(steps["b.f16"], back(steps["b"], *scales_of(graph, "b")))
