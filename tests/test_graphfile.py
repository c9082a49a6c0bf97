"""Graph files: what goes in comes out, the bytes are a function of the graph, damage is an EdgeqError."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq import graphfile
from edgeq.errors import EdgeqError
from edgeq.formats.code import Code
from edgeq.formats.votes import Votes
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.reshape import Reshape
from edgeq.ops.weights import with_formats


def small(law: str = "single") -> Graph:
    """conv 3x3, stride 2, relu -> reshape."""
    rng = np.random.default_rng(0)

    def q8(shape: tuple[int, ...], scale: float, zero_point: int) -> TensorType:
        return TensorType(shape, DType.INT8, QParams((scale,), zero_point))

    weights = TensorType((4, 3, 3, 2), DType.INT8, QParams(tuple(rng.uniform(0.001, 0.01, 4)), 0, 0))
    tensors = [
        Tensor("in/x:0", q8((1, 6, 5, 2), 0.05, 3)),
        Tensor("w", weights, rng.integers(-127, 128, weights.shape).astype(np.int8)),
        Tensor("b", TensorType((4,), DType.INT32), rng.integers(-1000, 1000, 4).astype(np.int32)),
        Tensor("y", q8((1, 3, 3, 4), 0.04, -5)),
        Tensor("z", q8((1, 36), 0.04, -5)),
    ]
    nodes = (
        Node("conv", Conv2d(stride=(2, 2), pads=(1, 1, 1, 1), clamp=(0.0, float("inf"))), ("in/x:0", "w", "b"), ("y",)),
        Node("flat", Reshape((1, 36)), ("y",), ("z",)),
    )
    return Graph("small", nodes, {t.name: t for t in tensors}, ("in/x:0",), ("z",), law)


def test_round_trip(tmp_path: Path) -> None:
    graph = small("tflm")
    graphfile.save(graph, tmp_path / "g.eqg")
    back = graphfile.load(tmp_path / "g.eqg")
    assert (back.name, back.law, back.inputs, back.outputs, back.nodes) == (graph.name, graph.law, graph.inputs, graph.outputs, graph.nodes)
    assert list(back.tensors) == list(graph.tensors)
    for name, tensor in graph.tensors.items():
        assert back.type(name) == tensor.type
        if tensor.data is None:
            assert back.tensors[name].data is None
        else:
            np.testing.assert_array_equal(back.tensors[name].data, tensor.data)
    assert graphfile.dumps(back) == graphfile.dumps(graph)
    assert [p.name for p in tmp_path.iterdir()] == ["g.eqg"]


def test_formats_travel_with_their_tensors() -> None:
    graph = with_formats(small(), Code(6, check="hamming", small=100), Votes())
    back = graphfile.loads(graphfile.dumps(graph))
    assert {n: t.format for n, t in back.tensors.items()} == {n: t.format for n, t in graph.tensors.items()}
    assert back.tensors["w"].format == Code(6, check="hamming", small=100) and back.tensors["b"].format == Votes()


def test_a_file_with_one_code_for_all_weights_loads() -> None:
    """Before formats were a tensor's, the header had one storage code."""
    head, text, rest = _parts(graphfile.dumps(small()))
    code = {"bits": 6, "offset": False, "check": "hamming", "votes": True, "small": 0, "asymmetric": False, "crc": False}
    text = json.dumps({**json.loads(text), "code": code}).encode()
    back = graphfile.loads(head + f"{len(text)}\n".encode() + text + rest)
    assert back.formats == (Code(6, check="hamming", votes=True), Votes()) and back.tensors["w"].format == back.formats[0]


def _parts(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Magic, header and constants of a file."""
    digits, _, rest = content.removeprefix(graphfile.MAGIC).partition(b"\n")
    return graphfile.MAGIC, rest[: int(digits)], rest[int(digits) :]


def test_loads_from_a_folder(tmp_path: Path) -> None:
    graphfile.save(small(), tmp_path / graphfile.NAME)
    assert graphfile.load(tmp_path).name == "small"
    assert graphfile.is_graph(tmp_path / graphfile.NAME)


def edit(change: object) -> bytes:
    """A graph file whose header went through `change`."""
    content = graphfile.dumps(small())
    start = len(graphfile.MAGIC)
    digits = content[start:].split(b"\n", 1)[0]
    at = start + len(digits) + 1
    header = json.loads(content[at : at + int(digits)])
    change(header)  # type: ignore[operator]
    text = json.dumps(header).encode()
    return graphfile.MAGIC + f"{len(text)}\n".encode() + text + content[at + int(digits) :]


HOSTILE = {
    "a shape beyond memory": lambda h: h["tensors"][0].update(shape=[1, 2**30, 2**30]),
    "a constant larger than the file": lambda h: h["tensors"][1].update(shape=[4, 3, 3, 2000]),
    "a negative dimension": lambda h: h["tensors"][0].update(shape=[1, 6, -5, 2]),
    "a zero dimension": lambda h: h["tensors"][0].update(shape=[1, 0, 5, 2]),
    "a bool as a dimension": lambda h: h["tensors"][0].update(shape=["1"]),
    "an unknown dtype": lambda h: h["tensors"][0].update(dtype="complex"),
    "an infinite scale": lambda h: h["tensors"][0]["q"].update(scale=[1e999]),
    "a scale of zero": lambda h: h["tensors"][0]["q"].update(scale=[0.0]),
    "too many scales": lambda h: h["tensors"][1]["q"].update(scale=[1.0] * 3),
    "an axis outside": lambda h: h["tensors"][1]["q"].update(axis=7),
    "an unknown operator": lambda h: h["nodes"][0].update(op="os_system"),
    "an attribute that does not exist": lambda h: h["nodes"][0]["attributes"].update(__class__=1),
    "an attribute of another type": lambda h: h["nodes"][0]["attributes"].update(stride="ab"),
    "a tuple of another length": lambda h: h["nodes"][0]["attributes"].update(stride=[1, 2, 3]),
    "a stride of zero": lambda h: h["nodes"][0]["attributes"].update(stride=[0, 1]),
    "an undefined tensor": lambda h: h["nodes"][0].update(inputs=["in/x:0", "w", "nowhere"]),
    "a missing input": lambda h: h["nodes"][0].update(inputs=["in/x:0"]),
    "two outputs": lambda h: h["nodes"][0].update(outputs=["y", "z"]),
    "a cycle": lambda h: h["nodes"][0].update(inputs=["z", "w", "b"]),
    "an unknown law": lambda h: h.update(law="none"),
    "no inputs": lambda h: h.update(inputs=[]),
    "names that are numbers": lambda h: h.update(outputs=[1]),
    "nodes that are no list": lambda h: h.update(nodes=3),
    "tensors without a type": lambda h: h["tensors"][0].pop("shape"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_refuses(change: object) -> None:
    with pytest.raises(EdgeqError):
        graphfile.loads(edit(change))


def test_an_unchanged_header_is_accepted() -> None:
    assert graphfile.loads(edit(lambda h: None)).name == "small"


def test_every_truncation_is_refused() -> None:
    content = graphfile.dumps(small())
    for end in [*range(0, 40), *range(40, len(content), 37)]:
        with pytest.raises(EdgeqError):
            graphfile.loads(content[:end])
    with pytest.raises(EdgeqError):
        graphfile.loads(content + b"\0")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_never_escapes_as_another_exception(at: int, value: int) -> None:
    content = bytearray(graphfile.dumps(small()))
    content[at % len(content)] = value
    with contextlib.suppress(EdgeqError):
        graphfile.loads(bytes(content))


def test_an_unwritable_place_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="cannot write"):
        graphfile.save(small(), tmp_path / "missing" / "g.eqg")
