"""onnxruntime's operators for language models: grouped queries with caches, rotary embeddings, embeddings, weights in few bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx_models import Net, kinds, load, onnxruntime_outputs, real_outputs

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.passes import declare_states, normalise

MS, F = "com.microsoft", np.float32
N, K, D, B = 4, 2, 16, 1
Given = dict[str, Array]


def angles(net: Net, places: int = 12) -> list[str]:
    turns = np.arange(places)[:, None] / 30 ** (np.arange(D // 2) / (D // 2))
    return [net.const(np.cos(turns), F), net.const(np.sin(turns), F)]


def grouped(
    net: Net, rows: int, past: int = 0, end: int | None = None, turned: bool = False, packed: bool = False, **more: Any
) -> list[str]:
    """Grouped-query attention of projections; `end`: the place of the last row, an input where there is none; results with caches."""
    x = net.input(B, rows, N * D)
    widths = [(N + 2 * K) * D] if packed else [N * D, K * D, K * D]
    made = [net.op("MatMul", x, net.const(net.rng.normal(0, 0.1, (N * D, w)), F)) for w in widths]
    caches = [net.input(B, K, past, D, name=f"past_{t}") if past else "" for t in "kv"]
    lengths = net.input(B, name="place", dtype=TensorProto.INT32) if end is None else net.const([end], np.int32)
    total = net.const(max(past, rows) if end is None else end + 1, np.int32)
    tables = angles(net) if turned else []
    options = {"domain": MS, "num_heads": N, "kv_num_heads": K, "do_rotary": int(turned), **more}
    return list(net.op("GroupQueryAttention", *made, *[""] * (3 - len(made)), *caches, lengths, total, *tables, outputs=3, **options))


GROUPED: dict[str, Callable[[Net], list[str]]] = {
    "prompt": lambda n: grouped(n, 4, end=3),
    "packed": lambda n: grouped(n, 4, end=3, packed=True, turned=True),
    "interleaved": lambda n: grouped(n, 3, end=2, turned=True, rotary_interleaved=1),
    "window": lambda n: grouped(n, 6, end=5, local_window_size=2),
    "capped": lambda n: grouped(n, 3, end=2, softcap=4.0, scale=0.4),
    "token": lambda n: grouped(n, 1, past=5, end=5, turned=True),
    "tokens": lambda n: grouped(n, 3, past=5, end=7, turned=True),
    "room left": lambda n: grouped(n, 1, past=8, end=5, turned=True),
}


def samples(model: ModelProto, count: int = 3) -> Given:
    rng = np.random.default_rng(3)
    return {i.name: rng.normal(0, 1, (count, *(d.dim_value for d in i.type.tensor_type.shape.dim))).astype(F) for i in model.graph.input}


def close(model: ModelProto, arrays: Given, graph: Any) -> None:
    want, got = onnxruntime_outputs(model, arrays), real_outputs(graph, {n: a.astype(F) for n, a in arrays.items()})
    for a, b in zip(got.values(), want.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-5)


@pytest.mark.parametrize("name", GROUPED)
def test_grouped_queries(name: str) -> None:
    net = Net()
    found = GROUPED[name](net)
    model = net.model(*(found if "room" not in name else found[:1]))
    arrays, graph = samples(model), normalise(load(model))
    if "room" in name:
        for cache in ("past_k", "past_v"):
            arrays[cache][:, :, :, 5:] = 0
    close(model, arrays, graph)
    if name in ("prompt", "packed", "window"):
        assert "attention" in kinds(graph) and "softmax" not in kinds(graph)


def test_a_token_at_a_place_that_is_an_input() -> None:
    """Caches that are written at a place, over all their places, in int8: attention to the keys so far."""
    net = Net()
    y, k, v = grouped(net, 1, past=6, turned=True)
    model = net.model(y, k, v)
    arrays = samples(model, 12)
    arrays["place"] = np.arange(12).reshape(12, 1).astype(np.int32) % 6
    graph = normalise(load(model))
    assert {"cache_write", "rotary"} <= set(kinds(graph)) and any(kind.endswith("attention") for kind in kinds(graph))
    want = onnxruntime_outputs(model, arrays)[y]
    np.testing.assert_allclose(real_outputs(graph, {n: a.astype(F) for n, a in arrays.items()})[y], want, rtol=0, atol=3e-5)
    quantized = api.quantize(graph, arrays).graph
    real = api.simulate(quantized, arrays).outputs(real=True)[quantized.outputs[0]]
    assert float(((real - want) ** 2).mean() / (want**2).mean()) < 3e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [({"past": 6, "local_window_size": 2}, "one token at a time"), ({}, "one token at a time"), ({"end": 9, "past": 3}, "does not fit"),
     ({"end": 3, "smooth_softmax": 1}, "smooth_softmax"), ({"end": 3, "strange": 1}, "strange")],
)  # fmt: skip
def test_refused(change: dict[str, Any], message: str) -> None:
    net = Net()
    with pytest.raises(EdgeqError, match=message):
        load(net.model(grouped(net, 1 if "past" in change else 4, **change)[0]))


def embedded(net: Net, segments: bool, mask: bool) -> list[str]:
    present = {"ids": True, "segments": segments, "mask": mask}
    ids = [net.input(1, 6, name=n, dtype=TensorProto.INT32) for n, there in present.items() if there]
    tables = [net.random(n, 16, low=-0.5) for n in (20, 10, 3)]
    given = [ids[0], ids[1] if segments else "", *tables[:2], tables[2] if segments else "", net.random(16, low=0.5), net.random(16)]
    y, counted, total = net.op("EmbedLayerNormalization", *given, *([ids[-1]] if mask else []), outputs=3, domain=MS)
    if not mask:
        return [y, total]
    w = net.const(net.rng.normal(0, 0.3, (16, 48)), F)
    return [y, net.op("Attention", y, w, net.random(48), counted, domain=MS, num_heads=2), total]


@pytest.mark.parametrize(("segments", "mask"), [(True, True), (False, False), (True, False)])
def test_embeddings(segments: bool, mask: bool) -> None:
    net = Net()
    model = net.model(*embedded(net, segments, mask))
    rng = np.random.default_rng(0)
    kept = np.arange(6) < rng.integers(1, 7, (4, 1, 1))
    arrays = {"ids": rng.integers(0, 20, (4, 1, 6)), "segments": rng.integers(0, 3, (4, 1, 6)), "mask": kept}
    given = {i.name: arrays[i.name].astype(np.int32) for i in model.graph.input}
    close(model, given, normalise(load(model)))


@pytest.mark.parametrize("four", [False, True])
def test_rotary_embeddings(four: bool) -> None:
    """Places of their own, or one to start at; heads apart or beside each other."""
    net = Net()
    places = net.const([3], np.int64) if four else net.const([[4, 0, 2]], np.int64)
    x = net.input(1, 2, 3, D) if four else net.input(1, 3, 2 * D)
    options = {"interleaved": 1} if four else {"num_heads": 2}
    model = net.model(net.op("RotaryEmbedding", x, places, *angles(net), domain=MS, **options))
    close(model, samples(model), normalise(load(model)))


def few_bits(net: Net, bits: int, inputs: int, block: int, zeros: bool, bias: bool) -> str:
    outputs, blocks, each = 24, -(-inputs // block), 8 // bits
    packed = net.rng.integers(0, 256, (outputs, blocks, block // each)).astype(np.uint8)
    points = net.rng.integers(0, 256, (outputs, -(-blocks // each))).astype(np.uint8)
    given = [net.input(1, 3, inputs), net.const(packed), net.const(net.rng.uniform(0.01, 0.05, (outputs, blocks)), F)]
    given += [net.const(points) if zeros else "", "", net.random(outputs) if bias else ""]
    while not given[-1]:
        given.pop()
    return str(net.op("MatMulNBits", *given, domain=MS, K=inputs, N=outputs, bits=bits, block_size=block))


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("bits", "inputs", "block"), [(4, 32, 16), (4, 40, 32), (8, 32, 16), (2, 32, 16)])
def test_weights_in_few_bits(bits: int, inputs: int, block: int, zeros: bool) -> None:
    net = Net()
    model = net.model(few_bits(net, bits, inputs, block, zeros, bias=bits == 8))
    graph = normalise(load(model))
    assert kinds(graph) == ["fully_connected"]
    close(model, samples(model), graph)


def test_few_bits_that_do_not_fit() -> None:
    net = Net()
    model = net.model(few_bits(net, 4, 32, 16, zeros=False, bias=False))
    next(a for a in model.graph.node[0].attribute if a.name == "N").i = 23
    with pytest.raises(EdgeqError, match="do not fit its attributes"):
        load(model)


@pytest.mark.parametrize("block", [16, 32, 128])
@pytest.mark.parametrize("kind", ["UINT4", "INT4", "bytes of 4", "bytes of 8"])
@pytest.mark.parametrize("zeros", [False, True])
def test_embeddings_in_few_bits(kind: str, zeros: bool, block: int) -> None:
    net, blocks = Net(), -(-32 // block)
    ids = net.input(1, 5, name="ids", dtype=TensorProto.INT64)
    low, high = (-8, 8) if kind == "INT4" else (0, 16)
    for name, shape in (("rows", (20, 32)), ("points", (20, blocks))):
        if kind.startswith("bytes"):
            packed = net.rng.integers(0, 256, (shape[0], -(-shape[1] * int(kind[-1]) // 8))).astype(np.uint8)
            net.constants.append(onnx.numpy_helper.from_array(packed, name))
        else:
            net.constants.append(helper.make_tensor(name, getattr(TensorProto, kind), shape, net.rng.integers(low, high, np.prod(shape))))
    scales = net.const(net.rng.uniform(0.01, 0.05, (20, blocks)), F)
    options: dict[str, Any] = {"domain": MS, "block_size": block, "quantize_axis": 1, "gather_axis": 0}
    options |= {"bits": 8} if kind == "bytes of 8" else {}
    model = net.model(net.op("GatherBlockQuantized", "rows", ids, scales, *(["points"] if zeros else []), **options))
    graph = normalise(load(model))
    assert kinds(graph)[0] == "lookup"
    close(model, {"ids": np.random.default_rng(0).integers(0, 20, (4, 1, 5))}, graph)


@pytest.mark.parametrize("move", ["Transpose", "Reshape", "Unsqueeze", "Slice", "Concat"])
def test_integers_of_four_bits_stay_so_where_constants_are_moved(move: str) -> None:
    net = Net()
    ids = net.input(1, 5, name="ids", dtype=TensorProto.INT64)
    values, shape = net.rng.integers(0, 16, 640), {"Transpose": (32, 20), "Reshape": (640,), "Unsqueeze": (20, 32), "Slice": (24, 32)}
    own = shape.get(move, (10, 32))
    net.constants.append(helper.make_tensor("rows", TensorProto.UINT4, own, np.resize(values, np.prod(own))))
    others: dict[str, Any] = {
        "Transpose": lambda: net.op("Transpose", "rows", perm=[1, 0]),
        "Reshape": lambda: net.op("Reshape", "rows", net.const([20, 32], np.int64)),
        "Unsqueeze": lambda: net.op("Squeeze", net.op("Unsqueeze", "rows", net.const([0], np.int64)), net.const([0], np.int64)),
        "Slice": lambda: net.op("Slice", "rows", net.const([2], np.int64), net.const([22], np.int64), net.const([0], np.int64)),
        "Concat": lambda: net.op("Concat", "rows", "rows", axis=0),
    }
    scales = net.const(net.rng.uniform(0.01, 0.05, (20, 2)), F)
    options: dict[str, Any] = {"domain": MS, "block_size": 16, "quantize_axis": 1, "gather_axis": 0}
    graph = normalise(load(net.model(net.op("GatherBlockQuantized", others[move](), ids, scales, **options))))
    table = next(t.data for t in graph.tensors.values() if t.data is not None and t.data.shape == (20, 32))
    factors = np.repeat(onnx.numpy_helper.to_array(next(c for c in net.constants if c.name == scales)), 16, 1)
    held = {
        "Transpose": lambda: values.reshape(32, 20).T,
        "Slice": lambda: np.resize(values, (24, 32))[2:22],
        "Concat": lambda: np.tile(values[:320].reshape(10, 32), (2, 1)),
    }.get(move, lambda: values.reshape(20, 32))()
    np.testing.assert_allclose(table, held * factors, rtol=1e-6)


@pytest.mark.parametrize("side", ["A", "B", "AB"])
@pytest.mark.parametrize("turned", [0, 1])
def test_products_of_batches_in_the_middle(side: str, turned: int) -> None:
    net = Net()
    names, options = [], {}
    for one, own in (("A", (2, 4, 3)), ("B", (2, 3, 5))):
        batch, rows, columns = own
        flipped = turned and one in side
        order = (columns, rows) if flipped else (rows, columns)
        shape = (order[0], batch, order[1]) if one in side else own
        names.append(net.input(*shape, name=one))
        options |= {f"transBatch{one}": int(one in side), f"trans{one}": int(bool(flipped))}
    model = net.model(net.op("FusedMatMul", *names, domain=MS, alpha=0.5, **options))
    close(model, samples(model), normalise(load(model)))


def test_caches_are_states() -> None:
    """Where a cache's new form has the shape of the old, it is a state of the network."""
    net = Net()
    y, k, v = grouped(net, 1, past=6, turned=True)
    graph = declare_states(normalise(load(net.model(y, k, v))), {"past_k": k, "past_v": v})
    assert len(graph.states) == 2
