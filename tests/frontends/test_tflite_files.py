"""Whole .tflite files: shapes left open, names, shape arithmetic, mixed precision, and everything that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tflite_models import TfliteModel, litert, real, tflm

from edgeq.errors import EdgeqError
from edgeq.frontends import load
from edgeq.ir import DType, Graph
from edgeq.simulate import simulate

Q = (0.05, 3, 0)
FC = ("FullyConnectedOptions", {})


def read(model: bytes, folder: Path, shapes: dict[str, tuple[int, ...]] | None = None) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(model)
    return load(path, shapes=shapes)


def refusal(model: bytes, folder: Path, shapes: dict[str, tuple[int, ...]] | None = None) -> str:
    with pytest.raises(EdgeqError) as e:
        read(model, folder, shapes)
    assert "\n" not in str(e.value) and "model.tflite" in str(e.value)
    return str(e.value)


def relu_model(shape: tuple[int, ...], signature: tuple[int, ...] | None) -> bytes:
    m = TfliteModel()
    x, y = m.input("x", shape, signature=signature), m.tensor("y", shape, signature=signature)
    m.operator("RELU", [x], [y])
    return m.finish(y)


# Shapes and names


def test_an_open_batch_is_one(tmp_path: Path) -> None:
    graph = read(relu_model((1, 3), (-1, 3)), tmp_path)
    assert graph.type("x").shape == graph.type("y").shape == (1, 3)
    assert read(relu_model((1, 3), (-1, 3)), tmp_path, {"x": (4, 3)}).type("y").shape == (4, 3)


def test_other_open_dimensions_must_be_given(tmp_path: Path) -> None:
    model = relu_model((1, 1, 3), (-1, -1, 3))
    assert '--shape "x=1xN1x3" with sizes for N1' in refusal(model, tmp_path)
    assert read(model, tmp_path, {"x": (1, 7, 3)}).type("y").shape == (1, 7, 3)
    assert "the model has ?x?x3" in refusal(model, tmp_path, {"x": (1, 7, 4)})
    assert "does not fit" in refusal(model, tmp_path, {"x": (7, 3)})
    assert "not one" in refusal(model, tmp_path, {"x": (1, 0, 3)})
    assert "no input ['z']" in refusal(model, tmp_path, {"x": (1, 7, 3), "z": (1,)})


def test_names_stay_and_become_unique(tmp_path: Path) -> None:
    m = TfliteModel()
    a, b, c = m.input("same", (1, 3)), m.tensor("same", (1, 3)), m.tensor("odd\n\x07näme", (1, 3))
    m.operator("RELU", [a], [b])
    m.operator("TANH", [b], [c])
    graph = read(m.finish(c), tmp_path)
    assert [n.name for n in graph.nodes] == ["same_2", "odd__näme"] and graph.inputs == ("same",)
    assert graph.outputs == ("odd__näme",) and graph.name == "model"


def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path) -> None:
    m = TfliteModel()
    a, b = m.input("a", (2, 3)), m.input("b", (1, 3))
    s, d = m.tensor("s", (2, 3)), m.tensor("d", (2, 3))
    m.operator("ADD", [a, b], [s], ("AddOptions", {}))
    m.operator("SUB", [s, b], [d], ("SubOptions", {}))
    graph = read(m.finish(d, s), tmp_path)
    assert graph.inputs == ("a", "b") and graph.outputs == ("d", "s")


# Constants


def test_shape_arithmetic_is_folded(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y = m.input("x", (1, 4, 6)), m.tensor("y", (4, 6))
    shape, part, product = m.tensor("shape", (3,), "INT32"), m.tensor("part", (2,), "INT32"), m.tensor("product", (2,), "INT32")
    i = [m.constant(f"i{k}", np.array(v, np.int32)) for k, v in enumerate(([1], [3], [1], [1, 1]))]
    m.operator("SHAPE", [x], [shape], ("ShapeOptions", {"outType": 2}))
    m.operator("STRIDED_SLICE", [shape, *i[:3]], [part], ("StridedSliceOptions", {}))
    m.operator("MUL", [part, i[3]], [product], ("MulOptions", {}))
    m.operator("RESHAPE", [x, product], [y], ("ReshapeOptions", {}))
    graph = read(m.finish(y), tmp_path)
    assert [n.op.kind() for n in graph.nodes] == ["reshape"] and graph.type("y").shape == (4, 6)


def test_float_constants_are_folded(tmp_path: Path) -> None:
    m = TfliteModel()
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(4, 1)).astype(np.float32)
    x, y, w, t = m.input("x", (2, 4)), m.tensor("y", (2, 5)), m.tensor("w", (5, 4)), m.tensor("t", (1, 4))
    ca, cb, perm = m.constant("a", a), m.constant("b", b), m.constant("perm", np.array([1, 0], np.int32))
    m.operator("TRANSPOSE", [cb, perm], [t], ("TransposeOptions", {}))
    m.operator("MUL", [ca, t], [w], ("MulOptions", {"fusedActivationFunction": 1}))
    m.operator("FULLY_CONNECTED", [x, w, -1], [y], FC)
    model = m.finish(y)
    graph = read(model, tmp_path)
    assert [n.op.kind() for n in graph.nodes] == ["fully_connected"]
    np.testing.assert_array_equal(graph.tensors["w"].data, np.maximum(a * b.T, 0))
    v = rng.normal(size=(3, 2, 4)).astype(np.float32)
    np.testing.assert_allclose(real(graph, {"x": v})[0], litert(model, [v])[0], rtol=1e-5, atol=1e-5)


def test_a_hybrid_operand_with_a_scale_per_channel(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y = m.input("x", (1, 2)), m.tensor("y", (1, 2))
    m.operator("ADD", [x, m.constant("c", np.array([[3, -4]], np.int8), ([0.5, 2.0], [0, 1], 1))], [y], ("AddOptions", {}))
    graph = read(m.finish(y), tmp_path)
    np.testing.assert_array_equal(graph.tensors[graph.nodes[0].inputs[1]].data, [[1.5, -10.0]])


def test_a_constant_quantized_at_run_time_is_folded(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y, q = m.input("x", (1, 4), "INT8", Q), m.tensor("y", (1, 4), "INT8", Q), m.tensor("q", (1, 4), "INT8", Q)
    m.operator("QUANTIZE", [m.constant("c", np.array([[0.07, -0.125, 99, -99]], np.float32))], [q], ("QuantizeOptions", {}))
    m.operator("ADD", [x, q], [y], ("AddOptions", {}))
    graph = read(m.finish(y), tmp_path)
    np.testing.assert_array_equal(graph.tensors["q"].data, [[4, 0, 127, -128]])


def test_int4_weights_are_widened(tmp_path: Path) -> None:
    m = TfliteModel()
    values = np.array([[-7, 7, 1], [2, -1, 0], [5, -8, 3]], np.int8)
    nibbles = (values.ravel() & 15).astype(np.uint8)
    packed = (nibbles[::2] | np.append(nibbles[1::2], 0) << 4).astype(np.uint8)
    x, y = m.input("x", (1, 3), "INT8", Q), m.tensor("y", (1, 3), "INT8", Q)
    w = m.tensor("w", (3, 3), "INT4", (0.1, 0, 0), packed.tobytes())
    m.operator("FULLY_CONNECTED", [x, w, -1], [y], FC)
    np.testing.assert_array_equal(read(m.finish(y), tmp_path).tensors["w"].data, values)


def test_a_quantized_model_between_float_ends(tmp_path: Path) -> None:
    """Against LiteRT and TensorFlow Lite Micro, also exactly between two steps."""
    m = TfliteModel()
    x, q, r, y = m.input("x", (1, 4)), m.tensor("q", (1, 4), "INT8", Q), m.tensor("r", (1, 4), "INT8", Q), m.tensor("y", (1, 4))
    m.operator("QUANTIZE", [x], [q], ("QuantizeOptions", {}))
    m.operator("RELU", [q], [r])
    m.operator("DEQUANTIZE", [r], [y], ("DequantizeOptions", {}))
    model = m.finish(y)
    graph = read(model, tmp_path)
    assert graph.law == "tflm" and [n.op.kind() for n in graph.nodes] == ["quantize", "clamp", "dequantize"]
    random = np.random.default_rng(0).uniform(-8, 8, (64, 1, 4))
    ties = (np.arange(-300, 300).reshape(150, 1, 4) + 0.5) * np.float32(Q[0])
    v = np.concatenate([random, ties]).astype(np.float32)
    mine = simulate(graph, {"x": v}).outputs["y"]
    np.testing.assert_array_equal(mine, tflm(model, [v])[0])
    np.testing.assert_array_equal(mine[:64], litert(model, [v[:64]])[0])  # whose ties fall differently


# What is refused


def test_every_unsupported_operator_is_listed_once(tmp_path: Path) -> None:
    m = TfliteModel()
    x = m.input("x", (1, 4))
    a, b, c, d, e = (m.tensor(n, (1, 4)) for n in "abcde")
    index = m.tensor("index", (1,), "INT64")
    axis = m.constant("axis", np.array(1, np.int32))
    m.operator("SEGMENT_SUM", [x], [a])
    m.operator("SEGMENT_SUM", [a], [b])
    m.operator("CUSTOM", [b], [c], custom="FlexErf")
    m.operator("RELU", [c], [d])
    m.operator("ADD", [d, d], [e], ("AddOptions", {"fusedActivationFunction": 4}))
    m.operator("MULTINOMIAL", [e, axis], [index])
    message = refusal(m.finish(index), tmp_path)
    names = ("'c'", "'e'", "'index'")
    for part in ("5 nodes", "SEGMENT_SUM is not supported at 'a', 'b'", "FlexErf", "SELECT_TF_OPS", "tanh", "MULTINOMIAL", *names):
        assert part in message, part


def test_many_nodes_are_counted(tmp_path: Path) -> None:
    m = TfliteModel()
    last = m.input("x", (1, 4))
    for i in range(300):
        last, before = m.tensor(f"n{i}", (1, 4)), last
        m.operator("SEGMENT_SUM" if i % 3 else "CUSTOM", [before], [last], custom="" if i % 3 else "Foo")
    message = refusal(m.finish(last), tmp_path)
    assert "300 nodes" in message and len(message) < 600
    assert "SEGMENT_SUM is not supported at 200 nodes, first 'n1', 'n2', 'n4'" in message
    assert "CUSTOM Foo is not supported at 100 nodes, first 'n0', 'n3', 'n6'" in message


def one(
    kind: str,
    *inputs: tuple[str, object],
    out: tuple[str, object] = ("FLOAT32", None),
    options: object = None,
    shape: tuple[int, ...] = (1, 4),
) -> bytes:
    """A model of one operator: first an input of the first type, then constants."""
    m = TfliteModel()
    numbers = []
    for i, (what, value) in enumerate(inputs):
        if isinstance(value, np.ndarray):
            numbers.append(m.constant(what, value))
        else:
            numbers.append(m.input(f"x{i}", shape, what, value))
    y = m.tensor("y", shape, *out)
    m.operator(kind, numbers, [y], options)
    return m.finish(y)


F = np.zeros((4, 4), np.float32)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "float16": (lambda: one("RELU", ("FLOAT16", None), out=("FLOAT16", None)), "FLOAT16 activations"),
    "int32": (lambda: one("ABS", ("INT32", None), out=("INT32", None), options=("AbsOptions", {})), "without a scale"),
    "no_scale": (lambda: one("RELU", ("INT8", None), out=("INT8", Q)), "without a scale"),
    "different_scales": (
        lambda: one("MAXIMUM", ("INT8", Q), ("INT8", (0.06, 3, 0)), out=("INT8", Q), options=("MaximumMinimumOptions", {})),
        "different scales (0.05 with zero point 3, 0.06 with zero point 3)",
    ),
    "many_scales": (lambda: one("RELU", ("INT8", ([0.1] * 4, [0] * 4, 1)), out=("INT8", Q)), "one scale per channel"),
    "zero_point": (lambda: one("RELU", ("INT8", (0.1, 300, 0)), out=("INT8", Q)), "zero point 300"),
    "bad_scale": (lambda: one("RELU", ("INT8", (float("nan"), 0, 0)), out=("INT8", Q)), "positive finite"),
    "float_to_int8": (lambda: one("RELU", ("FLOAT32", None), out=("INT8", Q)), "use one type"),
    "zero_size": (lambda: one("RELU", ("FLOAT32", None), shape=(1, 0)), "zero-size"),
    "huge": (lambda: one("RELU", ("FLOAT32", None), shape=(1, 2**16, 2**16)), "elements"),
    "rank": (lambda: one("RELU", ("FLOAT32", None), shape=(1,) * 9), "rank 9"),
    "nan_weights": (lambda: one("FULLY_CONNECTED", ("FLOAT32", None), ("w", F + np.nan), options=FC), "NaN"),
    "infinite_weights": (lambda: one("FULLY_CONNECTED", ("FLOAT32", None), ("w", F + np.inf), options=FC), "infinity"),
    "int8_weights_lack_scales": (
        lambda: one("FULLY_CONNECTED", ("INT8", Q), ("w", F.astype(np.int8)), out=("INT8", Q), options=FC),
        "int8",
    ),
    "float_weights": (lambda: one("FULLY_CONNECTED", ("INT8", Q), ("w", F), out=("INT8", Q), options=FC), "FLOAT32 beside int8"),
    "computed_weights": (lambda: one("FULLY_CONNECTED", ("FLOAT32", None), ("FLOAT32", None), options=FC), "computed weights"),
    "shuffled": (lambda: one("FULLY_CONNECTED", ("FLOAT32", None), ("w", F), options=(FC[0], {"weightsFormat": 1})), "shuffled"),
    "wrong_options": (lambda: one("SOFTMAX", ("FLOAT32", None), options=("AddOptions", {})), "no option Beta"),
    "infinite_option": (
        lambda: one("SOFTMAX", ("FLOAT32", None), options=("SoftmaxOptions", {"beta": float("inf")})),
        "Beta of SOFTMAX is inf",
    ),
    "wrong_shape": (lambda: one("FULLY_CONNECTED", ("FLOAT32", None), ("w", F[:3]), options=FC), "declares shape [1, 4]"),
    "axis": (lambda: one("MEAN", ("FLOAT32", None), ("axes", np.array([2], np.int32)), options=("ReducerOptions", {})), "axis 2 of MEAN"),
    "indices": (
        lambda: one("GATHER", ("FLOAT32", None), ("i", np.array([0, 4], np.int32)), options=("GatherOptions", {"axis": 1})),
        "outside 0 to 3",
    ),
    "dynamic_axes": (lambda: one("MEAN", ("FLOAT32", None), ("INT32", None), options=("ReducerOptions", {})), "axes of MEAN must"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    build, expected = REFUSED[name]
    assert expected in refusal(build(), tmp_path)


def test_constants_alone_are_refused(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y, z = m.input("x", (1, 4)), m.tensor("y", (1, 4)), m.tensor("z", (4, 4))
    m.operator("RELU", [x], [y])
    m.operator("RELU", [m.constant("c", F)], [z])
    assert "does not depend on any input" in refusal(m.finish(y, z), tmp_path)


def test_weights_outside_the_flatbuffer(tmp_path: Path) -> None:
    m = TfliteModel()
    x, y = m.input("x", (1, 4)), m.tensor("y", (1, 2))
    w = m.tensor("w", (2, 4))
    m.operator("FULLY_CONNECTED", [x, w, -1], [y], FC)
    buffer = m.model.buffers[m.graph.tensors[w].buffer]
    data = np.arange(8, dtype=np.float32)
    buffer.offset, buffer.size = 4096, 32
    content = m.finish(y)
    graph = read(content.ljust(4096, b"\0") + data.tobytes(), tmp_path)
    np.testing.assert_array_equal(graph.tensors["w"].data, data.reshape(2, 4))
    assert graph.tensors["w"].type.dtype is DType.FLOAT32
    assert "truncated or damaged" in refusal(content.ljust(4100, b"\0"), tmp_path)


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("empty.tflite", b"", "empty"), ("text.tflite", b"hello, world", "not a TFLite model"), ("model.h5", b"\x89HDF....", "not a model"),
    ("short.tflite", b"\x10\0\0\0TFL3", "truncated"),
])  # fmt: skip
def test_other_files(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgeqError, match=expected):
        load(tmp_path / name)


def test_missing_files(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.tflite", tmp_path, tmp_path / "nul\0.tflite", tmp_path / ("long" * 200)):
        with pytest.raises(EdgeqError, match=r"cannot read|folder"):
            load(path)


def test_the_content_decides_over_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(relu_model((1, 3), None))
    assert load(tmp_path / "model.bin").outputs == ("y",)
