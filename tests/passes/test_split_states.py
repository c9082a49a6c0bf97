"""A state that holds h and c of one layer or of several becomes one state per part; int8 then computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import edgeq
from edgeq import api
from edgeq.frontends.onnx import from_model, parse
from edgeq.ir import Array, DType, Graph
from edgeq.passes import declare_states, normalise
from edgeq.quantize import floating

UNITS, WIDTH = 6, 5


def recurrent(form: str) -> Graph:
    """LSTMs whose states come in one tensor and leave in one: ``[2, 1, H]``, DTLN's ``[1, layers, H, 2]``, or two joined the other way."""
    rng = np.random.default_rng(2)
    layers = 2 if form == "layers" else 1
    shape = {"pair": [2, 1, UNITS], "layers": [1, 2, UNITS, 2], "swapped": [2, 1, UNITS]}[form]
    nodes, constants = [], []

    def const(data: Array) -> str:
        constants.append(helper.make_tensor(f"k{len(constants)}", helper.np_dtype_to_tensor_dtype(data.dtype), data.shape, data.ravel()))
        return constants[-1].name

    def op(kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> list[str]:
        names = [f"{kind}{len(nodes)}_{i}" for i in range(outputs)]
        nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def piece(layer: int, which: int) -> str:
        index = (const(np.array([layer, which])), const(np.array([layer + 1, which + 1])), const(np.array([1, 3])))
        if form != "layers":
            index = (const(np.array([which])), const(np.array([which + 1])), const(np.array([0])))
        return op("Reshape", op("Slice", "state", *index)[0], const(np.array([1, 1, UNITS])))[0]

    x, new = "x", []
    for layer in range(layers):
        width = WIDTH if layer == 0 else UNITS
        shapes = ((1, 4 * UNITS, width), (1, 4 * UNITS, UNITS), (1, 8 * UNITS))
        parameters = [const(rng.normal(0, 0.4, s).astype(np.float32)) for s in shapes]
        y, h, c = op("LSTM", x, *parameters, "", piece(layer, 0), piece(layer, 1), outputs=3, hidden_size=UNITS)
        x = op("Reshape", y, const(np.array([1, 1, UNITS])))[0]
        new.append((h, c))
    if form == "layers":
        flat = [[op("Reshape", t, const(np.array([1, 1, UNITS, 1])))[0] for t in pair] for pair in new]
        rows = [op("Concat", *[p[k] for p in flat], axis=1)[0] for k in (0, 1)]
        state = op("Concat", *rows, axis=3)[0]
    else:
        state = op("Concat", *(new[0] if form == "pair" else new[0][::-1]), axis=0)[0]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 1, WIDTH]), ("state", shape))]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in (x, state)]
    model = helper.make_model(helper.make_graph(nodes, "g", infos, results, constants), opset_imports=[helper.make_opsetid("", 17)])
    return declare_states(from_model(parse(model.SerializeToString(), "g"), "g"), {"state": state})


@pytest.mark.parametrize("form", ["pair", "layers"])
def test_h_and_c_in_one_tensor(form: str) -> None:
    graph = recurrent(form)
    split = normalise(graph)
    assert len(split.states) == (4 if form == "layers" else 2) and not {"concat", "slice"} & {n.op.kind() for n in split.nodes}
    x = {"x": np.random.default_rng(0).normal(0, 1, (40, 1, 1, WIDTH)).astype(np.float32)}
    assert split.given == ("x",) and graph.results == split.results
    a, b = (floating.evaluate_float(g, x)[graph.results[0]] for g in (graph, split))
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_state_that_is_read_in_another_order_stays_whole() -> None:
    """h becomes c and c becomes h: still two states, each of one part."""
    graph = normalise(recurrent("swapped"))
    assert len(graph.states) in (1, 2)


@pytest.mark.parametrize("form", ["pair", "layers"])
def test_int8(form: str, tmp_path: Path) -> None:
    graph = normalise(recurrent(form))
    x = {"x": np.random.default_rng(0).normal(0, 1, (60, 1, 1, WIDTH)).astype(np.float32)}
    done = api.quantize(graph, x)
    types = {done.graph.type(a).dtype for a, _ in done.graph.states}
    assert types == {DType.INT8, DType.INT16}
    assert edgeq.build(done.graph, output=tmp_path / "m", toolchain="gcc", vectors=8)
