"""What an ONNX model is refused for, in words that tell what to do; and 16 bits, which are read as floats."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.evaluate import evaluate
from edgeq.frontends import load
from edgeq.ir import DType
from edgeq.passes import normalise

Array = np.ndarray[Any, Any]
N = helper.make_node


def x(*shape: int | str | None, kind: int = TensorProto.FLOAT, name: str = "x") -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto], inputs: Sequence[ValueInfoProto], result: int = TensorProto.FLOAT, **constants: Any
) -> onnx.ModelProto:  # fmt: skip
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", result, None)], tensors)
    domains = {n.domain for n in nodes} - {""}
    opsets = [helper.make_opsetid("", 21), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


LISTS = [N("SplitToSequence", ["x"], ["s"], axis=1), N("SequenceAt", ["s", "i"], ["y"])]
QUANTIZED = [N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), N("MatMulInteger", ["q", "w", "z"], ["m"]), N("Cast", ["m"], ["y"], to=1)]
CUSTOM = [N("MyOp", [a], [b], domain="my.ops") for a, b in zip("xabcd", "abcdy", strict=True)]
LIST = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [2])
GROUPED = N("GroupQueryAttention", ["x", "k", "k", "", "", "x"], ["y"], num_heads=2, kv_num_heads=1, domain="com.microsoft")
SINKS = N("GroupQueryAttention", [*"xkk", "", "", *"nn", *[""] * 4, "k"], ["y"], num_heads=2, kv_num_heads=1, domain="com.microsoft")
BLOCKED = N("Conv", ["x"], ["y"], domain="com.microsoft.nchwc")
REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "text": (model([N("Identity", ["x"], ["y"])], [x(1, kind=TensorProto.STRING)]), "Fix: turn text into numbers"),
    "list": (model([N("ConcatFromSequence", ["x"], ["y"], axis=0)], [LIST]), "Fix: export the model with plain tensors"),
    "lists": (model(LISTS, [x(1, 4)], i=np.int64(0)), "plain tensors instead of lists"),
    "words": (model([N("DequantizeLinear", ["x", "s"], ["y"])], [x(4, kind=TensorProto.INT16)], s=np.float32(1)), "int16.*float input"),
    "random": (model([N("RandomNormalLike", ["x"], ["y"])], [x(1, 4)]), "evaluation mode"),
    "range": (model([N("Range", ["a", "x", "b"], ["y"])], [x()], a=np.float32(0), b=np.float32(1)), "Range .*limits are computed: bind"),
    "dynamic": (model(QUANTIZED, [x(1, 4)], w=np.ones((4, 3), np.int8)), "^(?!.*cut the model).*static quantization"),
    "grouped": (model([GROUPED], [x(1, 2, 8)], k=np.ones((1, 2, 4), np.float32)), "computed lengths is not supported, fix: make it"),
    "sinks": (model([SINKS], [x(1, 1, 8)], k=np.ones((1, 1, 4), np.float32), n=np.int32([0])), "sinks is not supported"),
    "blocked": (model([BLOCKED], [x(1, 4)]), "one kind of processor: save .*EXTENDED or less"),
    "found": (model([N("NonZero", ["x"], ["y"])], [x(1, 4)]), "depends on the data"),
    "trees": (model([N("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")], [x(1, 4)]), "trees"),
    "aten": (model([N("ATen", ["x"], ["y"], domain="org.pytorch.aten")], [x(1, 4)]), "newer PyTorch"),
    "custom": (model(CUSTOM, [x(1, 4)]), "5 nodes cannot be read .'a', 'b', 'c' and 2 more: my.ops::MyOp is not supported"),
    "end": (model([N("QuantizeLinear", ["x", "s", "z"], ["y"])], [x(4)], TensorProto.UINT16, s=np.float32(1), z=np.uint16(0)), "is uint16"),
    "open": (model([N("Relu", ["x"], ["y"])], [x("n", 3, "h", None)]), '--shape "x=1x3xhxN3" with sizes for h, N3'),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_to_do(name: str, tmp_path: Path) -> None:
    proto, match = REFUSED[name]
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(EdgeqError) as e:
        load(tmp_path / "m.onnx")
    assert "\n" not in str(e.value)
    e.match(match)


def test_the_shape_of_another_input_is_refused_first(tmp_path: Path) -> None:
    onnx.save(model([N("Relu", ["x"], ["y"])], [x("n", 3, "h", "w")]), tmp_path / "m.onnx")
    with pytest.raises(EdgeqError, match=r"no input 'image' .its inputs: 'x'"):
        load(tmp_path / "m.onnx", shapes={"image": (1, 3, 8, 8)})
    assert load(tmp_path / "m.onnx", shapes={"x": (1, 3, 8, 8)}).type("x").shape == (1, 3, 8, 8)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_sixteen_bits_are_read_as_floats(dtype: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Activations and weights; a move between the two nodes; a scale without a zero point."""
    zero = np.array(0 if dtype is np.int16 else 32768, dtype)
    weights = np.random.default_rng(0).integers(-30000, 30000, (3, 4)).astype(np.int16)
    nodes = [
        N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("Transpose", ["q"], ["t"], perm=[1, 0]),
        N("DequantizeLinear", ["t", "s", "z"], ["d"]),
        N("DequantizeLinear", ["w", "s"], ["f"]), N("MatMul", ["f", "d"], ["m"]), N("QuantizeLinear", ["m", "s", "z"], ["p"]),
        N("DequantizeLinear", ["p", "s", "z"], ["y"]),
    ]  # fmt: skip
    onnx.save(model(nodes, [x(2, 4)], s=np.float32(1e-4), z=zero, w=weights), tmp_path / "m.onnx")
    with caplog.at_level(logging.WARNING, "edgeq"):
        graph = normalise(load(tmp_path / "m.onnx"))
    assert "stored in INT16 or UINT16, read as floats: 'x', 'm'" in caplog.text
    assert all(t.type.dtype is DType.FLOAT32 for t in graph.tensors.values())
    data = np.random.default_rng(1).normal(size=(5, 2, 4)).astype(np.float32)
    got = evaluate(graph, {"x": data}, lambda node, a: node.op.real_all(*a), False)[graph.outputs[0]]
    ends = [(np.iinfo(dtype).min - int(zero)) * 1e-4, (np.iinfo(dtype).max - int(zero)) * 1e-4]
    want = weights.astype(np.float32) * np.float32(1e-4) @ np.clip(data, *ends).swapaxes(1, 2)
    assert (np.abs(want) > ends[1]).any()
    np.testing.assert_allclose(got, np.clip(want, *ends), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("m.h5", "from_keras_model"), ("m.keras", "from_keras_model"), ("m.safetensors", "weights alone"), ("m.npz", "weights alone"),
        ("m.engine", "another runtime"), ("m.ort", "another runtime"), ("m.pkl", "edgeq opens none"), ("m.pb", "from_saved_model"),
        ("saved", "from_saved_model"),
    ],
)  # fmt: skip
def test_files_of_others_are_refused_with_the_way_to_convert_them(name: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "saved":
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"x")
    else:
        path.write_bytes(b"PK\x03\x04" + b"0" * 40)
    with pytest.raises(EdgeqError, match=match):
        api.load(path)
