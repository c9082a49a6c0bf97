"""If on conditions that are known, inputs bound to values, and constants computed by the rules of the file's operator set."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import Net, close, feeds, load, onnxruntime_outputs, real_outputs

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import from_model, parse
from edgeq.frontends.onnx.reader import MAX_DEPTH
from edgeq.passes import normalise


def branch(kind: str, x: str, **attributes: Any) -> onnx.GraphProto:
    """A subgraph of one operator on an outer value, whose names every branch of these tests has."""
    nodes = [helper.make_node("Neg", [x], ["inner"], name="inner"), helper.make_node(kind, ["inner"], ["result"], **attributes)]
    return helper.make_graph(nodes, kind, [], [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)])


def rate_net() -> onnx.ModelProto:
    """Two Ifs one after the other, decided by an integer input, and an If in an If."""
    b = Net(15)
    x, rate = b.input(1, 6), b.input(name="rate", dtype=TensorProto.INT64)
    fast = b.op("Equal", rate, b.const(16000, np.int64))
    y = b.op("If", fast, then_branch=branch("Relu", x), else_branch=branch("Sigmoid", x))
    y = b.op("If", b.op("Not", fast), then_branch=branch("Tanh", y), else_branch=branch("Exp", y))
    inner = helper.make_node("If", [fast], ["deep"], then_branch=branch("Abs", y), else_branch=branch("Sqrt", y))
    deep = helper.make_graph([inner], "deep", [], [helper.make_tensor_value_info("deep", TensorProto.FLOAT, None)])
    return b.model(b.op("If", b.op("Cast", rate, to=TensorProto.BOOL), then_branch=deep, else_branch=branch("Floor", y)))


@pytest.mark.parametrize("rate", [16000, 8000])
def test_if_by_a_bound_input(rate: int) -> None:
    model = rate_net()
    graph = from_model(parse(model.SerializeToString(), "net"), "net", const={"rate": rate})
    assert graph.inputs == ("input",)
    x = np.abs(np.random.default_rng(0).normal(0, 1, (3, 1, 6))).astype(np.float32)
    wanted = onnxruntime_outputs(model, {"input": x, "rate": np.full(3, rate, np.int64)})
    for form in (graph, normalise(graph)):
        close(real_outputs(form, {"input": x}), wanted)


def refusal(model: onnx.ModelProto, **options: Any) -> str:
    with pytest.raises(EdgeqError) as caught:
        from_model(parse(model.SerializeToString(), "net"), "net", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_wrong_with_a_bound_input() -> None:
    model = rate_net()
    assert "--const NAME=VALUE" in refusal(model)
    assert "no input 'reat'" in refusal(model, const={"rate": 1, "reat": 1})
    assert "no value of type int64" in refusal(model, const={"rate": 1.5})
    assert "do not fit" in refusal(model, const={"rate": [1, 2]})
    assert "cannot be bound" in refusal(model, const={"rate": 2**70})


def test_a_bound_vector_and_a_bound_float() -> None:
    b = Net()
    x, gain, index = b.input(1, 6), b.input(6, name="gain"), b.input(3, name="index", dtype=TensorProto.INT32)
    model = b.model(b.op("Gather", b.op("Mul", x, gain), index, axis=1))
    graph = from_model(parse(model.SerializeToString(), "net"), "net", const={"gain": 2.0, "index": [5, 0, 2]})
    data = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    np.testing.assert_array_equal(real_outputs(graph, {"input": data})["gather1"][0], [[10, 0, 4]])


def test_an_if_on_a_computed_condition_is_refused() -> None:
    b = Net()
    x = b.input(1, 6)
    condition = b.op("Cast", b.op("ReduceMax", x, keepdims=0), to=TensorProto.BOOL)
    message = refusal(b.model(b.op("If", condition, then_branch=branch("Relu", x), else_branch=branch("Abs", x))))
    assert "If on a condition that is computed" in message or "Cast" in message


def test_deep_ifs_are_refused_in_time() -> None:
    inside = branch("Relu", "input")
    for _ in range(MAX_DEPTH + 2):
        node = helper.make_node("If", ["yes"], ["result"], then_branch=inside, else_branch=branch("Abs", "input"))
        inside = helper.make_graph([node], "level", [], [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)])
    b = Net()
    b.input(1, 6)
    b.constants.append(numpy_helper.from_array(np.array(True), "yes"))
    assert "in more than" in refusal(b.model(b.op("If", "yes", then_branch=inside, else_branch=branch("Abs", "input"))))


def folded(opset: int, kind: str, data: np.ndarray[Any, Any], **attributes: Any) -> onnx.ModelProto:
    """A constant through an operator, added to an input of the result's shape."""
    b = Net(opset)
    y = b.op(kind, b.const(data), **attributes)
    return b.model(b.op("Add", b.input(2, 3, 4), y))


DATA = np.random.default_rng(5).normal(0, 1, (2, 3, 4)).astype(np.float32)
CASES = [
    (7, "Softmax", {"axis": 1}), (12, "Softmax", {"axis": 1}), (12, "Softmax", {"axis": 0}), (13, "Softmax", {"axis": 1}),
    (17, "Softmax", {}), (11, "LogSoftmax", {"axis": 1}), (13, "LogSoftmax", {"axis": 1}), (10, "Clip", {"min": -0.5, "max": 0.25}),
    (10, "Pad", {"pads": [0, 0, 0, 0, 0, 0]}), (11, "ReduceSum", {"axes": [1]}), (17, "ReduceMax", {"axes": [2]}),
    (12, "Unsqueeze", {"axes": [0]}),
]  # fmt: skip


@pytest.mark.parametrize(("opset", "kind", "attributes"), CASES, ids=[f"{k}{v}-{i}" for i, (v, k, _) in enumerate(CASES)])
def test_constants_by_the_files_operator_set(opset: int, kind: str, attributes: dict[str, Any]) -> None:
    model = folded(opset, kind, DATA, **attributes)
    arrays = feeds(model, 2)
    close(real_outputs(load(model), arrays), onnxruntime_outputs(model, arrays))
