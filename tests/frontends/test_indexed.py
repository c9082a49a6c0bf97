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
from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import from_model
from edgeq.ir import DType
from edgeq.passes import declare_states, normalise
from edgeq.quantize import Options, decide, evaluate_float, quantize, quantize_decided, read_precision, write_precision
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


def sampled(top: int, temperature: float) -> onnx.ModelProto:
    """The step with a token of edgeq's own operator beside its result."""
    model = step("circular", 1)
    model.opset_import.append(helper.make_opsetid("edgeq", 1))
    model.graph.node.append(helper.make_node("Sample", ["y", "number"], ["next"], domain="edgeq", top=top, temperature=temperature))
    model.graph.input.append(helper.make_tensor_value_info("number", TensorProto.INT64, [1]))
    model.graph.output.append(helper.make_tensor_value_info("next", TensorProto.INT64, [1, 1]))
    return model


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


@pytest.mark.parametrize(("recipe", "chip", "weights"), [
    ("int8", "cortex-m4", "int8"), ("int8", "riscv", "int4"), ("fp16", "cortex-m4", "int8"), ("mixed", "riscv", "int8"),
])  # fmt: skip
def test_the_next_token_on_a_chip(recipe: str, chip: str, weights: str, tmp_path: Path) -> None:
    """Scores and a token of them: whole numbers stay int32 in every recipe; rows of an embedding may have four bits."""
    need_emulator(chip)
    graph = normalise(declare_states(from_model(sampled(3, 0.8), "step")))
    given = {**feeds(24, True), "number": np.arange(24)[:, None] + 70_000}
    options = Options(weights=weights) if recipe == "int8" else None
    made = edgeq.quantize(graph, given, recipe=recipe, options=options)
    scores, token = made.graph.results
    assert made.graph.type(token).dtype is DType.INT32
    table = next(made.graph.tensors[n.inputs[1]] for n in made.graph.nodes if n.op.kind() == "lookup")
    assert table.format.name == ("int4" if weights == "int4" else "plain")
    edgeq.build(made.graph, target=chip, output=tmp_path / "step")
    compared = api.compare(tmp_path / "step", given)
    assert compared.comparison is not None and compared.comparison.bit_exact
    found = api.simulate(made.graph, given).outputs()
    rows = found[scores].reshape(24, -1)
    chosen = np.take_along_axis(rows, found[token].reshape(24, 1), 1)
    assert ((rows > chosen).sum(1) < 3).all() and len(set(found[token].ravel().tolist())) > 2


def test_rows_of_four_bits_are_written_down() -> None:
    """The precision file says how an embedding's rows are stored, and is obeyed."""
    graph = normalise(declare_states(from_model(step("circular", 1), "step")))
    text = write_precision(graph, feeds(24, True), Options(weights="int4"))
    (name,) = (n.name for n in graph.nodes if n.op.kind() == "lookup")
    head = text.index(f'[layers."{name}"]') if f'[layers."{name}"]' in text else text.index(f"[layers.{name}]")
    written = text[:head] + text[head:].replace('"int4"', '"int8"', 1)
    kinds = {}
    for t in (text, written):
        q = quantize(graph, feeds(24, True), Options(weights="int4"), read_precision(t, graph))
        kinds[t] = next(q.tensors[n.inputs[1]].format.name for n in q.nodes if n.op.kind() == "lookup")
    assert kinds == {text: "int4", written: "plain"}
    with pytest.raises(EdgeqError, match="not supported"):
        quantize(graph, feeds(24, True), None, read_precision(text[:head] + text[head:].replace('"int4"', '"int3"', 1), graph))


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
