"""Small files that ask for much: refused within two seconds and half a gigabyte."""

from __future__ import annotations

import resource
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import Net

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import from_model, parse

F, INT = np.float32, np.int64
BIG = 2**28
CASES = {
    "resize": lambda b: b.op("Resize", b.input(1, 1, 4, 4), "", b.const([1, 1, 2**14, 2**14], F), mode="linear"),
    "cubic": lambda b: b.op("Resize", b.input(1, 1, 4, 4), "", "", b.ints(1, 1, 2**30, 4), mode="cubic"),
    "tile": lambda b: b.op("Tile", b.input(1, 64), b.ints(2**20, 2**10)),
    "expand": lambda b: b.op("Expand", b.input(1, 1), b.ints(2**20, 2**20)),
    "tile of constants": lambda b: b.op("Add", b.input(1), b.op("Tile", b.const([1.0], F), b.ints(BIG))),
    "constant of shape": lambda b: b.op("Add", b.input(1), b.op("ConstantOfShape", b.ints(BIG, 4))),
    "range": lambda b: b.op("Add", b.input(1), b.op("Range", b.const(0.0, F), b.const(1e18, F), b.const(1e-9, F))),
    "pad": lambda b: b.op("Pad", b.input(1, 4), b.ints(0, 0, BIG, BIG)),
    "pad of constants": lambda b: b.op("Add", b.input(1), b.op("Pad", b.const([1.0], F), b.ints(BIG, BIG))),
    "one hot": lambda b: b.op("OneHot", b.op("Cast", b.input(64), to=7), b.ints(BIG), b.const([0, 1], F)),
    "embedding": lambda b: b.op("Gather", b.op("ConstantOfShape", b.ints(2**22, 2)), b.op("Cast", b.input(64), to=7)),
    "argmax": lambda b: b.op("TopK", b.op("Expand", b.input(1), b.ints(2**20)), b.ints(2**19), outputs=2)[0],
    "cumsum": lambda b: b.op("CumSum", b.op("Expand", b.input(1), b.ints(2**20)), b.const(0, INT)),
    "einsum": lambda b: b.op("Einsum", b.input(2**12), b.input(2**12, name="b"), b.input(2**12, name="c"), equation="i,j,k->ijk"),
    "outer product": lambda b: b.op("MatMul", b.input(2**16, 1), b.input(1, 2**16, name="b")),
    "gather": lambda b: b.op("Gather", b.input(2**20, 16), b.const(np.zeros(2**16, INT))),
    "space": lambda b: b.op("GatherND", b.input(2**20, 16), b.const(np.zeros((2**16, 1), INT))),
    "dft": lambda b: b.op("DFT", b.input(1, 2**16, 1), "", b.const(1, INT)),
    "reduce product": lambda b: b.op("ReduceProd", b.op("Expand", b.input(1), b.ints(2**20)), keepdims=0),
    "rnn": lambda b: b.op("RNN", b.input(2**20, 1, 1), b.random(1, 1, 1), b.random(1, 1, 1), hidden_size=1, outputs=2)[0],
    "batch": lambda b: b.op("LSTM", b.input(1, 2**20, 1), b.random(1, 4, 1), b.random(1, 4, 1), hidden_size=1, outputs=3)[0],
    "attention": lambda b: b.op("Attention", b.input(1, 1, 2**16, 1), b.input(1, 1, 2**16, 1, name="k"), b.input(1, 1, 2**16, 1, name="v")),
    "grid": lambda b: b.op("GridSample", b.input(1, 1, 2**10, 2**10), b.const(np.zeros((1, 4, 4, 2)), F)),
    "doubling": lambda b: _doubling(b),
    "scatter": lambda b: b.op("ScatterElements", b.input(2**14), b.const(np.zeros(2**14, INT)), b.random(2**14), reduction="add"),
}  # fmt: skip


def _doubling(b: Net) -> str:
    x = b.input(1, 1)
    for _ in range(40):
        x = b.op("Concat", x, x, axis=1)
    return x


def nested(depth: int) -> onnx.ModelProto:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    inside = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [y])
    for _ in range(depth):
        node = helper.make_node("If", ["x"], ["y"], then_branch=inside, else_branch=inside)
        inside = helper.make_graph([node], "g", [], [y])
    inside.input.append(helper.make_tensor_value_info("x", TensorProto.BOOL, [1]))
    return helper.make_model(inside, opset_imports=[helper.make_opsetid("", 17)])


def measured(data: bytes) -> tuple[str, float, float]:
    """What became of a file, the seconds of computing that it took and the megabytes by which it raised the process's peak."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        from_model(parse(data, "m.onnx"), "m")
        word = "loaded"
    except EdgeqError as e:
        assert "\n" not in str(e)
        word = "refused"
    return word, time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@pytest.mark.parametrize("name", CASES)
def test_bombs(name: str) -> None:
    b = Net(23 if name == "attention" else 20)
    word, seconds, megabytes = measured(b.model(CASES[name](b)).SerializeToString())
    assert seconds < 2 and megabytes < 500, (word, seconds, megabytes)


def test_nested_branches() -> None:
    """Both branches of each: 2^6 graphs."""
    word, seconds, _ = measured(nested(6).SerializeToString())
    assert word == "refused" and seconds < 2


def test_protobuf_that_nests_too_deeply() -> None:
    """Length-delimited fields within each other: graph, node, attribute, graph, ..."""
    data = b""
    for _ in range(400):
        for tag in (0x32, 0x2A, 0x0A):  # attribute.g, node.attribute, graph.node
            data = bytes([tag]) + _varint(len(data)) + data
    word, seconds, _ = measured(b"\x08\x08" + b"\x3a" + _varint(len(data)) + data)
    assert word == "refused" and seconds < 2


def _varint(n: int) -> bytes:
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])
