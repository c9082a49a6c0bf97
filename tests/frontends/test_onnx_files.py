"""ONNX files as input that may be damaged or hostile: one clear EdgeqError, in bounded time and memory, and no other file opened."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import Net, close, feeds, keywords, load, mobilenet, onnxruntime_outputs, real_outputs, unet

from edgeq import frontends
from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import from_model, parse
from edgeq.passes import normalise


def error(model: onnx.ModelProto, **keywords: object) -> str:
    with pytest.raises(EdgeqError) as caught:
        load(model, **keywords)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def small() -> onnx.ModelProto:
    b = Net()
    return b.model(b.op("Gemm", b.input(1, 4), b.random(4, 3), b.random(3)))


# Files


def test_file_of_the_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small net.onnx"
    onnx.save(small(), path)
    graph = frontends.load(path)
    assert graph.name == "small net" and graph.inputs == ("input",) and graph.outputs == ("gemm0",)


@pytest.mark.parametrize("data", [b"\x08", b"garbage garbage", b"\xff" * 100, b"\x08\x07"], ids=["short", "text", "ff", "no graph"])
def test_garbage(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(EdgeqError, match="not a readable ONNX model"):
        frontends.load(path)


def test_every_truncation(tmp_path: Path) -> None:
    data = small().SerializeToString()
    for end in range(len(data)):
        with pytest.raises(EdgeqError):
            from_model(parse(data[:end], "cut"), "cut")


@pytest.mark.parametrize("where", ["initializer", "attribute"])
def test_external_data_is_never_opened(tmp_path: Path, where: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones(12, np.float32).tobytes())
    model = small()
    tensor = model.graph.initializer[0]
    if where == "attribute":
        model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones((4, 3), np.float32), "k")))
        tensor = model.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", str(secret)
    assert "lies in another file" in error(model)


def test_data_that_contradicts_its_shape() -> None:
    model = small()
    model.graph.initializer[0].dims[0] = 2**40
    assert "cannot be read" in error(model)
    model.graph.initializer[0].dims[0] = 5
    assert "holds 48 bytes, its shape [5, 3] needs 60" in error(model)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(value: float) -> None:
    b = Net()
    w = b.rng.normal(0, 1, (4, 3)).astype(np.float32)
    w[1, 2] = value
    assert "NaN or infinity" in error(b.model(b.op("MatMul", b.input(1, 4), b.const(w))))


def test_weights_that_become_infinite() -> None:
    b = Net()
    w = b.const(np.full((4, 3), 1e300), np.float64)
    assert "NaN or infinity" in error(b.model(b.op("MatMul", b.input(1, 4), b.op("Cast", w, to=1))))


@pytest.mark.parametrize(
    "kind", ["ConstantOfShape", "Expand", "Tile", "Range", "Gather", "MatMul", "Add", "Pad", "chain"],
)  # fmt: skip
def test_constants_that_explode_are_refused_before_they_are_made(kind: str) -> None:
    b = Net()
    x = b.input(1, 4)
    huge = 2**31
    match kind:
        case "ConstantOfShape":
            y = b.op(kind, b.ints(huge, huge))
        case "Expand" | "Tile":
            y = b.op(kind, b.const([1.0], np.float32), b.ints(huge))
        case "Range":
            y = b.op(kind, b.const(0.0, np.float32), b.const(1e30, np.float32), b.const(1e-9, np.float32))
        case "Gather":
            y = b.op(kind, b.random(2**14), b.const(np.zeros(2**15), np.int64))
        case "MatMul":
            y = b.op(kind, b.random(2**15, 1), b.random(1, 2**21 // 64))
            y = b.op(kind, y, y)
        case "Add":
            y = b.op(kind, b.random(2**15, 1), b.random(1, 2**15))
        case "Pad":
            y = b.op(kind, b.const([1.0], np.float32), b.ints(huge, huge))
        case _:
            y = b.op("ConstantOfShape", b.ints(2**25))
            for _ in range(40):
                y = b.op("Neg", y)
    model = b.model(b.op("Add", x, y))
    tracemalloc.start()
    try:
        message = error(model)
        assert tracemalloc.get_traced_memory()[1] < 2**29 + 2**27
    finally:
        tracemalloc.stop()
    assert "too large" in message or "too much memory" in message or "contradict" in message


@pytest.mark.parametrize("kind", ["Expand", "Tile", "Pad", "Resize", "Upsample"])
def test_activations_that_explode_are_refused(kind: str) -> None:
    b = Net(9 if kind == "Upsample" else 17)
    x = b.input(1, 2, 4, 4)
    huge = 2**30
    match kind:
        case "Expand":
            y = b.op(kind, b.op("Reshape", x, b.ints(32, 1)), b.ints(32, huge))
        case "Tile":
            y = b.op(kind, x, b.ints(1, 1, 1, huge))
        case "Pad":
            y = b.op(kind, x, b.ints(0, 0, 0, 0, 0, 0, 0, huge))
        case "Resize":
            y = b.op(kind, x, "", "", b.ints(1, 2, huge, 4))
        case _:
            y = b.op(kind, x, b.const([1, 1, 1e5, 1e5], np.float32))
    error(b.model(y))


def test_functions_that_call_each_other_or_multiply() -> None:
    def function(name: str, *called: str) -> onnx.FunctionProto:
        nodes = [helper.make_node(c, ["x" if i == 0 else f"t{i}"], [f"t{i + 1}"], domain="own") for i, c in enumerate(called)]
        nodes += [helper.make_node("Relu", [f"t{len(called)}" if called else "x"], ["y"])]
        return helper.make_function("own", name, ["x"], ["y"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)])

    def model(*functions: onnx.FunctionProto) -> onnx.ModelProto:
        b = Net()
        result = b.model(b.op("first", b.input(1, 4), domain="own"))
        result.opset_import.append(helper.make_opsetid("own", 1))
        result.functions.extend(functions)
        return result

    good = load(model(function("first", "second", "second"), function("second")))
    assert [n.op.kind() for n in good.nodes] == ["clamp"] * 3
    assert "calls itself" in error(model(function("first", "second"), function("second", "first")))
    chain = [function(str(i) if i else "first", *[str(i + 1)] * 8) for i in range(20)]
    assert "expand to" in error(model(*chain, function("20")))


def test_definitions_twice_or_missing() -> None:
    model = small()
    model.graph.node.append(model.graph.node[0])
    assert "defined twice" in error(model)
    model = small()
    model.graph.node[0].input[0] = "nowhere"
    assert "before it is computed" in error(model)
    model = small()
    model.graph.output[0].name = "nothing"
    assert "never computed" in error(model)


def test_operator_sets() -> None:
    model = small()
    model.opset_import[0].version = 6
    assert "operator set 6 is not supported" in error(model)
    model.opset_import[0].version = 10_000
    assert "upgrade the onnx package" in error(model)
    del model.opset_import[:]
    assert "no version" in error(model)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6), st.randoms())
def test_mutated_bytes(which: int, changes: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    """Any model either loads, passes the passes and evaluates, or gives one EdgeqError of one line."""
    data = bytearray(MODELS[which])
    head = len(data) if random.random() < 0.3 else min(len(data), 3000)  # structure rather than weights
    for at, value in changes:
        data[at % head] = value
    try:
        graph = normalise(from_model(parse(bytes(data), "mutated"), "mutated"))
    except EdgeqError as e:
        assert "\n" not in str(e)
    else:
        assert graph.nodes


MODELS = [f().SerializeToString() for f in (keywords, mobilenet, unet)]


def test_attributes_out_of_range() -> None:
    """Every integer attribute of every node in turn with values that make no sense."""
    for source in MODELS:
        base = onnx.ModelProto.FromString(source)
        for i, node in enumerate(base.graph.node):
            for j, attribute in enumerate(node.attribute):
                for value in (-(2**62), -1, 0, 2**31, 2**62):
                    model = onnx.ModelProto.FromString(source)
                    changed = model.graph.node[i].attribute[j]
                    if attribute.ints:
                        changed.ints[0] = value
                    else:
                        changed.i = value
                    try:
                        normalise(load(model))
                    except EdgeqError as e:
                        assert "\n" not in str(e)


# Shapes


def test_open_batch_is_one() -> None:
    b = Net()
    model = b.model(b.op("Relu", b.conv(b.input("N", 3, 6, 6), 3, 4)))
    graph = load(model)
    assert graph.type("input").shape == (1, 3, 6, 6)
    arrays = feeds(model, 2)
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))
    assert load(model, {"input": (5, 3, 6, 6)}).type("relu1").shape == (5, 4, 6, 6)


def test_open_dimensions_must_be_given() -> None:
    b = Net()
    model = b.model(b.op("GlobalAveragePool", b.conv(b.input("N", 3, "H", "W"), 3, 4)))
    assert error(model) == ('input: the input\'s shape Nx3xHxW is dynamic. Fix: give it, as --shape "input=1x3xHxW" with sizes for H, W')
    assert load(model, {"input": (1, 3, 9, 7)}).type("conv0").shape == (1, 4, 9, 7)
    assert "does not fit (the model has Nx3xHxW)" in error(model, shapes={"input": (1, 4, 9, 7)})
    assert "no input 'other'" in error(model, shapes={"other": (1,), "input": (1, 3, 9, 7)})
    b = Net()
    assert "dimension of size zero" in error(b.model(b.op("Relu", b.input(1, 0, 3))))


@pytest.mark.parametrize("name", ["?", "-1", "None"])
def test_open_dimensions_that_exporters_leave_without_a_name(name: str) -> None:
    """They are not one dimension because one text marks them all."""
    b = Net()
    model = b.model(b.op("GlobalAveragePool", b.conv(b.input(name, 3, name, name), 3, 4)))
    assert error(model).endswith('the input\'s shape ?x3x?x? is dynamic. Fix: give it, as --shape "input=1x3xN2xN3" with sizes for N2, N3')
    assert load(model, {"input": (1, 3, 9, 7)}).type("conv0").shape == (1, 4, 9, 7)


def test_shapes_that_follow_the_input() -> None:
    """A reshape computed from the input's shape at run time is folded."""
    b = Net()
    x = b.conv(b.input("N", 3, "H", "W"), 3, 4)
    shape = b.op("Shape", x)
    batch = b.op("Unsqueeze", b.op("Gather", shape, b.const(0, np.int64)), b.ints(0))
    spatial = b.op("Mul", b.op("Gather", shape, b.const(2, np.int64)), b.op("Gather", shape, b.const(3, np.int64)))
    target = b.op("Concat", batch, b.ints(4), b.op("Unsqueeze", spatial, b.ints(0)), axis=0)
    graph = load(b.model(b.op("Reshape", x, target)), {"input": (2, 3, 4, 5)})
    assert graph.type(graph.outputs[0]).shape == (2, 4, 20)


# Refusals


def test_all_unsupported_parts_are_listed_once() -> None:
    """Also those behind others, with name, operator and what to do."""
    b = Net()
    x = b.op("MaxPool", b.conv(b.input(1, 3, 8, 8), 3, 4), kernel_shape=[2, 2], wonder=1)
    x = b.op("Unique", x)
    x = b.op("Mystery", b.op("Relu", x), domain="com.example")
    for _ in range(4):
        x = b.op("Det", x)
    model = b.model(b.op("NonMaxSuppression", x, x))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    message = error(model)
    assert message.startswith("model.onnx: 8 nodes cannot be read (")
    for part in (
        "'Unique_2': Unique is not supported, fix: how much it gives depends on the data",
        "'MaxPool_1': MaxPool with attribute 'wonder' is not supported",
        "'Mystery_4': com.example::Mystery is not supported",
        "'Det_5', 'Det_6', 'Det_7' and 1 more: Det is not supported",
        "'NonMaxSuppression_9': NonMaxSuppression is not supported, fix: cut the model before it",
    ):
        assert message.count(part) == 1, part


def test_names_of_the_file_in_messages_are_harmless() -> None:
    b = Net()
    model = b.model(b.op("Mystery\n\x1b[31m", b.input(1, 4)))
    model.graph.node[0].name = "evil\r\n\x00name" * 50
    message = error(model)
    assert message.isprintable() and len(message) < 400


def test_an_output_that_is_an_input_or_constant_or_twice_the_same() -> None:
    b = Net()
    x = b.input(1, 4)
    y = b.op("Relu", x)
    a, c = b.op("Identity", y), b.op("Identity", x)
    model = b.model(y, a, c)
    arrays = feeds(model, 2)
    graph = load(model)
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))
    close(real_outputs(normalise(graph), arrays), onnxruntime_outputs(model, arrays))
    b = Net()
    b.op("Relu", b.input(1, 4))
    graph = load(b.model(b.op("Neg", b.const([1.0, 2.0], np.float32))))
    for form in (graph, normalise(graph)):
        assert form.nodes[-1].op.kind() == "reshape"
        np.testing.assert_array_equal(real_outputs(form, {"input": np.zeros((1, 1, 4), np.float32)})["neg1"].ravel(), [-1, -2])


def test_dimensions_of_one_name_have_one_size() -> None:
    b = Net()
    x, state = b.input("batch", "time", 4, name="x"), b.input(2, "batch", "time", name="state")
    model = b.model(b.op("Relu", x), b.op("Abs", state))
    graph = load(model, {"x": (1, 7, 4)})
    assert graph.type("state").shape == (2, 1, 7)
    assert "with sizes for time" in error(model)


# Sparse weights


def sparse(
    indices: object, values: object = (1.5, 2.0, -1.0), shape: tuple[int, ...] = (6, 4), *, constant: bool = False
) -> onnx.ModelProto:
    """A product with weights that are stored sparsely, as an initializer or as a constant."""
    parts = [numpy_helper.from_array(np.asarray(a, t), n) for a, t, n in ((values, np.float32, "w"), (indices, np.int64, "at"))]
    kept = helper.make_sparse_tensor(*parts, shape)
    nodes = [helper.make_node("Constant", [], ["w"], sparse_value=kept)] if constant else []
    nodes.append(helper.make_node("MatMul", ["x", "w"], ["y"]))
    ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size])] for n, size in (("x", 6), ("y", 4))]
    graph = helper.make_graph(nodes, "g", *ends)
    graph.sparse_initializer.extend([] if constant else [kept])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("indices", [[1, 9, 20], [[0, 1], [2, 1], [5, 0]]])
def test_sparse_weights_become_dense(indices: object, constant: bool) -> None:
    model = sparse(indices, constant=constant)
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    found = real_outputs(load(model), {"x": x})["y"]
    np.testing.assert_allclose(found.reshape(-1), [-5.0, 0 * 1.5 + 2 * 2.0, 0, 0])


@pytest.mark.parametrize(
    ("indices", "shape"),
    [([1, 9, 24], (6, 4)), ([1, 9, -1], (6, 4)), ([1, 9], (6, 4)), ([[0, 1], [2, 1], [6, 0]], (6, 4)), ([[0], [2], [6]], (6, 4)),
     ([1, 9, 20], (2**14, 2**14)), ([1, 9, 20], (0, 4))],
)  # fmt: skip
def test_damaged_sparse_weights_are_refused(indices: object, shape: tuple[int, ...]) -> None:
    tracemalloc.start()
    try:
        assert "a sparse initializer cannot be read" in error(sparse(indices, shape=shape))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("indices", [[], np.zeros((0, 2))])
def test_sparse_weights_may_hold_no_value(indices: object, constant: bool) -> None:
    found = real_outputs(load(sparse(indices, (), constant=constant)), {"x": np.ones((1, 1, 6), np.float32)})["y"]
    assert not found.any()


def test_indices_without_an_axis_are_refused() -> None:
    assert "a sparse initializer cannot be read" in error(sparse(np.zeros((1, 0)), (1.5,), ()))


def test_many_sparse_weights_are_not_unpacked() -> None:
    model = sparse([1], (1.5,), (2**11, 2**11))
    model.graph.sparse_initializer.extend([model.graph.sparse_initializer[0]] * 8)
    assert "more than 16777216 elements" in error(model)
