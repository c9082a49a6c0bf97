"""Tokens and places as integer inputs: a step of a language model with caches, against onnx's own evaluator, in int8 on a chip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from installed import need_emulator
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import edgeq
from edgeq import api
from edgeq.frontends.onnx import from_model
from edgeq.ir import DType
from edgeq.passes import declare_states, normalise
from edgeq.quantize import decide, evaluate_float, quantize, quantize_decided
from edgeq.quantize.storage import complete, mixed

S, H, D, N = 6, 2, 4, 11
RNG = np.random.default_rng(2)


def step(mode: str, ahead: int, four: bool = False) -> onnx.ModelProto:
    """One token: its row, turned by its place, into the caches, and attention to what is there."""
    angles = np.arange(40)[:, None] / 7 ** np.arange(D // 2)
    tables = {
        "rows": RNG.normal(0, 1, (N, H * D)), "cosines": np.cos(angles), "sines": np.sin(angles), "w": RNG.normal(0, 0.4, (H * D, H * D)),
    }  # fmt: skip
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tables.items()]
    constants += [numpy_helper.from_array(np.array([ahead], np.int64), "ahead"), numpy_helper.from_array(np.array([1, 1, H, D]), "split")]
    make, heads = helper.make_node, {} if four else {"q_num_heads": H, "kv_num_heads": H}
    nodes = [
        make("Gather", ["rows", "token"], ["x"]), make("MatMul", ["x", "w"], ["v0"]), make("Add", ["place", "ahead"], ["seen"]),
        make("RotaryEmbedding", ["x", "cosines", "sines", "place2"], ["k0"], num_heads=H),
    ]  # fmt: skip
    if four:
        nodes += [make("Reshape", [n, "split"], [f"{n}s"]) for n in ("k0", "v0")]
        nodes += [make("Transpose", [f"{n}0s"], [n], perm=[0, 2, 1, 3]) for n in "kv"]
    else:
        nodes += [make("Identity", [f"{n}0"], [n]) for n in "kv"]
    nodes += [make("TensorScatter", [f"{n}_state_in", n, "place1"], [f"{n}_state_out"], mode=mode) for n in "kv"]
    nodes += [make("Attention", ["k", "k_state_out", "v_state_out", "", "", "", "seen"], ["y"], **heads)]
    shape = [1, H, S, D] if four else [1, S, H * D]
    inputs = [("token", [1, 1]), ("place", [1]), ("place1", [1]), ("place2", [1, 1])]
    given = [helper.make_tensor_value_info(n, TensorProto.INT64, s) for n, s in inputs]
    given += [helper.make_tensor_value_info(f"{n}_state_in", TensorProto.FLOAT, shape) for n in "kv"]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    results += [helper.make_tensor_value_info(f"{n}_state_out", TensorProto.FLOAT, shape) for n in "kv"]
    graph = helper.make_graph(nodes, "step", given, results, constants)
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)]))


def feeds(count: int, wrap: bool) -> dict[str, np.ndarray]:
    place = np.arange(count) if wrap else np.arange(count) % S
    return {"token": RNG.integers(0, N, (count, 1, 1)), "place": np.minimum(place, S - 1)[:, None], "place1": place[:, None],
            "place2": place[:, None, None]}  # fmt: skip


@pytest.mark.parametrize(("mode", "four"), [("circular", False), ("linear", False), ("linear", True)])
def test_float_equals_onnx(mode: str, four: bool) -> None:
    model, given = step(mode, 1, four), feeds(9, mode == "circular")
    graph = normalise(declare_states(from_model(model, "step")))
    assert {n.op.kind() for n in graph.nodes} >= {"lookup", "rotary", "cache_write", "cached_attention"}
    found = evaluate_float(graph, given)[graph.results[0]]
    reference = ReferenceEvaluator(model)
    shape = [1, H, S, D] if four else [1, S, H * D]
    kept = {f"{n}_state_in": np.zeros(shape, np.float32) for n in "kv"}
    for i in range(9):
        y, k, v = reference.run(None, {**{n: a[i] for n, a in given.items()}, **kept})
        kept = {"k_state_in": k, "v_state_in": v}
        np.testing.assert_allclose(found[i], y, rtol=1e-4, atol=2e-5)


def test_int8_on_a_chip(tmp_path: Path) -> None:
    """Indices stay integers; the caches are int8 states; the chip computes what the simulator does."""
    graph = normalise(declare_states(from_model(step("circular", 1), "step")))
    quantized = quantize(graph, feeds(24, True))
    assert {quantized.type(n).dtype for n in quantized.given} == {DType.INT32}
    assert {quantized.type(a).dtype for a, _ in quantized.states} == {DType.INT8}
    given = feeds(9, True)
    real = evaluate_float(graph, given)[graph.results[0]]
    outcome = api.simulate(quantized, given)
    error = outcome.outputs(real=True)[quantized.results[0]].reshape(real.shape) - real
    assert 10 * np.log10((real**2).mean() / (error**2).mean()) > 30
    edgeq.build(quantized, target="cortex-m4", output=tmp_path / "step")
    compared = api.compare(tmp_path / "step", given)
    assert compared.comparison is not None and compared.comparison.bit_exact


@pytest.mark.parametrize(("recipe", "chip"), [("fp16", "cortex-m4"), ("fp16", "riscv"), ("mixed", "cortex-m55")])
def test_halves_on_a_chip(recipe: str, chip: str, tmp_path: Path) -> None:
    """Indices are int32 beside halves; the caches are states in half precision; the chip computes what the simulator does."""
    need_emulator(chip)
    graph = normalise(declare_states(from_model(step("circular", 1), "step")))
    quantized = edgeq.quantize(graph, feeds(24, True), recipe=recipe).graph
    assert {quantized.type(n).dtype for n in quantized.given} == {DType.INT32}
    assert {quantized.type(a).dtype for a, _ in quantized.states} == {DType.FLOAT16}
    given = feeds(9, True)
    real = evaluate_float(graph, given)[graph.results[0]]
    error = api.simulate(quantized, given).outputs(real=True)[quantized.results[0]].reshape(real.shape) - real
    assert 10 * np.log10((real**2).mean() / (error**2).mean()) > 50
    edgeq.build(quantized, target=chip, output=tmp_path / "step")
    compared = api.compare(tmp_path / "step", given)
    assert compared.comparison is not None and compared.comparison.bit_exact


def test_caches_in_int8_beside_halves() -> None:
    """What stores keys and values may stay in int8 where the rest is in half precision: its index is cast nowhere."""
    graph = normalise(declare_states(from_model(step("circular", 1), "step")))
    nodes = {n.name: "int8" for n in graph.nodes if n.op.kind() in ("fully_connected", "rotary", "lookup")}
    quantized = quantize_decided(decide(graph, feeds(24, True), nodes=complete(graph, nodes, mixed(graph))))
    assert {quantized.type(a).dtype for a, _ in quantized.states} == {DType.INT8}
    given = feeds(9, True)
    real = evaluate_float(graph, given)[graph.results[0]]
    error = api.simulate(quantized, given).outputs(real=True)[quantized.results[0]].reshape(real.shape) - real
    assert 10 * np.log10((real**2).mean() / (error**2).mean()) > 30
