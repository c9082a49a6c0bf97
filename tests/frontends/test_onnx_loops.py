"""Scan and Loop with a known number of turns are read turn by turn: the values of onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgeq.errors import EdgeqError
from edgeq.evaluate import evaluate
from edgeq.frontends.onnx import builder, from_model, parse
from edgeq.passes import normalise

N = helper.make_node
RNG = np.random.default_rng(0)


def info(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: Sequence[NodeProto], inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto], **constants: Any) -> GraphProto:
    return helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()])


def equal(main: GraphProto, shape: tuple[int, ...]) -> int:
    """Compare with onnxruntime; the number of nodes that were read."""
    model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = from_model(parse(model.SerializeToString(), "m"), "m")
    x = RNG.normal(size=shape).astype(np.float32)
    want = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    for form in (found, normalise(found)):
        got = evaluate(form, {"x": x[None]}, lambda node, a: node.op.real_all(*a), False)
        for name, values in zip(form.outputs, want, strict=True):
            np.testing.assert_allclose(got[name][0], values, rtol=1e-5, atol=1e-6)
    return len(found.nodes)


def cell() -> GraphProto:
    """h' = tanh(w h + e), given twice: as the state and as what is collected; `two` comes from outside."""
    nodes = [N("MatMul", ["h", "w"], ["a"]), N("Add", ["a", "e"], ["s"]), N("Tanh", ["s"], ["h2"]), N("Mul", ["h2", "two"], ["o"])]
    return graph(nodes, [info("h", 4), info("e", 4)], [info("h2", 4), info("o", 4)], w=RNG.normal(size=(4, 4)).astype(np.float32))


@pytest.mark.parametrize(("axis", "backward", "out", "reversed_"), [(0, 0, 0, 0), (1, 0, 1, 1), (0, 1, 0, 1), (1, 1, 1, 0)])
def test_scan(axis: int, backward: int, out: int, reversed_: int) -> None:
    ways = {"scan_input_axes": [axis], "scan_input_directions": [backward], "scan_output_axes": [out]}
    ways["scan_output_directions"] = [reversed_]
    node = N("Scan", ["start", "x"], ["last", "y"], body=cell(), num_scan_inputs=1, **ways)
    shape = (5, 4) if axis == 0 else (4, 5)
    outputs = [info("last", 4), info("y", *((5, 4) if out == 0 else (4, 5)))]
    main = graph([node], [info("x", *shape)], outputs, start=np.ones(4, np.float32), two=np.float32(2))
    assert equal(main, shape) > 15


def counted(limit: int | None, going: bool = True, *, stop: int | None = None, computed: bool = False) -> GraphProto:
    """Rows of x chosen by the turn's number are summed; it ends after `limit` turns, or at turn `stop`."""
    nodes = [
        N("Gather", ["x", "i"], ["row"], axis=0), N("Add", ["a", "row"], ["b"]),
        N("Less", ["i", "stop"], ["c2"]) if stop is not None else N("Identity", ["c"], ["c2"]),
    ]  # fmt: skip
    inputs = [info("i", kind=TensorProto.INT64), info("c", kind=TensorProto.BOOL), info("a", 4)]
    body = graph(nodes, inputs, [info("c2", kind=TensorProto.BOOL), info("b", 4), info("b", 4)], stop=np.int64(stop or 0))
    del body.output[2:]
    body.node.append(N("Mul", ["b", "b"], ["square"]))
    body.output.append(info("square", 4))
    before = [N("ReduceSum", ["x"], ["t"], keepdims=0), N("Cast", ["t"], ["n"], to=TensorProto.INT64)] if computed else []
    constants: dict[str, Any] = {"going": np.array(going), "zero": np.zeros(4, np.float32)}
    if not computed:
        constants["n"] = np.int64(limit or 0)
    names = ["n" if limit is not None or computed else "", "going", "zero"]
    turns = stop + 1 if stop is not None and limit is None else limit or 1
    outputs = [info("sum", 4), info("y", turns, 4)]
    return graph([*before, N("Loop", names, ["sum", "y"], body=body)], [info("x", 6, 4)], outputs, **constants)


@pytest.mark.parametrize(("limit", "stop"), [(4, None), (None, 3), (5, 4)])
def test_loop(limit: int | None, stop: int | None) -> None:
    assert equal(counted(limit, stop=stop), (6, 4)) > 8


def nested() -> GraphProto:
    inner = N("Scan", ["h", "x"], ["h2", "unused"], body=cell(), num_scan_inputs=1)
    body = graph([N("Identity", ["c"], ["c2"]), inner], [info("i", kind=TensorProto.INT64), info("c", kind=TensorProto.BOOL), info("h", 4)],
                 [info("c2", kind=TensorProto.BOOL), info("h2", 4)])  # fmt: skip
    node = N("Loop", ["n", "", "start"], ["y"], body=body)
    return graph([node], [info("x", 3, 4)], [info("y", 4)], n=np.int64(2), start=np.zeros(4, np.float32), two=np.float32(2))


def test_a_loop_in_a_loop() -> None:
    assert equal(nested(), (3, 4)) > 15


def test_what_is_computed_or_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def message(main: GraphProto) -> str:
        model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with pytest.raises(EdgeqError) as e:
            from_model(parse(model.SerializeToString(), "m"), "m")
        return str(e.value)

    assert "Loop with a computed number of iterations" in message(counted(None, computed=True))
    body = cell()
    body.node[0].op_type = "Mystery"
    node = N("Scan", ["start", "x"], ["last", "y"], body=body, num_scan_inputs=1)
    text = message(graph([node], [info("x", 5, 4)], [info("y", 5, 4)], start=np.ones(4, np.float32), two=np.float32(2)))
    assert text.count("Mystery is not supported") == 1 and "a node cannot be read" in text
    main = nested()
    next(a for a in main.node[0].attribute[0].g.node if a.op_type == "Scan").attribute[0].g.node[0].op_type = "Mystery"
    text = message(main)
    assert text.count("Mystery is not supported") == text.count("is not supported with this body") == 1 and text.endswith("before it))")
    for largest, main in ((10, counted(5)), (15, nested())):  # either loop of the second one is within it
        monkeypatch.setattr(builder, "MAX_TURNED", largest)
        assert f"all loops have more than {largest} nodes" in message(main)


def test_the_standards_linear_attention_is_read() -> None:
    onnx.defs.get_schema("LinearAttention", 27, "") if onnx.defs.has("LinearAttention") else pytest.skip("this onnx does not have it")
    from benchmarks.onnx_nodes import cases, judged

    chosen = [c for c in cases() if c.name in ("test_linear_attention_gated", "test_linear_attention_delta")]
    assert [judged(c)[0].verdict for c in chosen] == ["passed"] * 2
