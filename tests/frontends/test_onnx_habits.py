"""Odd but valid habits of exporters: each file is read, and computes what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, ModelProto, TensorProto, helper, numpy_helper
from onnx_models import feeds, load, onnxruntime_outputs, real_outputs

RNG = np.random.default_rng(5)
FLOAT = TensorProto.FLOAT
node = helper.make_node


def noise(*shape: int) -> Any:
    return RNG.normal(0, 0.4, shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def model(
    nodes: list[Any], x: tuple[int, ...], constants: Mapping[str, Any], version: int, functions: tuple[FunctionProto, ...] = (),
    *, listed: bool = False,
) -> ModelProto:  # fmt: skip
    """From ``x`` to ``y``. `listed`: initializers are inputs as well, as old exporters have it."""
    kept = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    inputs = [helper.make_tensor_value_info("x", FLOAT, x)]
    inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in kept] if listed else []
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", FLOAT, None)], kept)
    domains = [helper.make_opsetid(f.domain, 1) for f in functions]
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version), *domains], functions=list(functions))
    made.ir_version = 3 if version < 9 else 8
    return made


def shapes_through_floats() -> ModelProto:
    """tf2onnx: NHWC outside, a shape that is cast to float and back before it is cut."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "w"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Transpose", ["c"], ["n"], perm=[0, 2, 3, 1]), node("Shape", ["n"], ["s"]), node("Cast", ["s"], ["sf"], to=FLOAT),
        node("Cast", ["sf"], ["si"], to=TensorProto.INT64), node("Slice", ["si", "zero", "one"], ["batch"]),
        node("Concat", ["batch", "rest"], ["flat"], axis=0), node("Reshape", ["n", "flat"], ["f"]), node("MatMul", ["f", "k"], ["y"]),
    ]  # fmt: skip
    return model(nodes, (1, 9, 9, 3), {"w": noise(4, 3, 3, 3), "zero": ints(0), "one": ints(1), "rest": ints(-1), "k": noise(100, 5)}, 13)


def old_upsample() -> ModelProto:
    """Operator set 7: initializers listed as inputs, Upsample by an attribute."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        node("Upsample", ["n"], ["u"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]), node("LeakyRelu", ["u"], ["y"], alpha=0.1),
    ]  # fmt: skip
    constants = {"w": noise(4, 2, 3, 3), "s": noise(4) + 1, "b": noise(4), "m": noise(4), "v": noise(4) ** 2 + 0.5}
    return model(nodes, (1, 2, 6, 6), constants, 7, listed=True)


def functions_in_functions() -> ModelProto:
    """PyTorch's dynamo exporter: functions that call functions, an attribute handed on, chains of Identity."""
    inner = node("LeakyRelu", ["a"], ["b"])
    inner.attribute.append(AttributeProto(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="slope"))
    leaky = helper.make_function("lib", "Leaky", ["a"], ["b"], [inner], [helper.make_opsetid("", 18)], attributes=["slope"])
    body = [node("MatMul", ["a", "w"], ["m"]), node("Constant", [], ["k"], value_float=0.5), node("Mul", ["m", "k"], ["h"])]
    body.append(node("Leaky", ["h"], ["b"], domain="lib", slope=0.3))
    block = helper.make_function("own", "Block", ["a", "w"], ["b"], body, [helper.make_opsetid("", 18), helper.make_opsetid("lib", 1)])
    nodes = [
        node("Identity", ["x"], ["x1"]), node("Identity", ["x1"], ["x2"]), node("Block", ["x2", "v"], ["h"], domain="own"),
        node("Block", ["h", "w"], ["o"], domain="own"), node("Identity", ["o"], ["y"]),
    ]  # fmt: skip
    return model(nodes, (1, 6), {"v": noise(6, 8), "w": noise(8, 4)}, 18, (leaky, block))


def empty_operands() -> ModelProto:
    """PyTorch's operator set 11 and 12: a region and scales of no element beside computed sizes; a tensor of none joined."""
    nothing = numpy_helper.from_array(np.zeros(0, np.float32))
    nodes = [
        node("Constant", [], ["roi"], value=nothing), node("Constant", [], ["scales"], value=nothing), node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "two", "zero"], ["first"]), node("Concat", ["first", "hw"], ["size"], axis=0),
        node("Resize", ["x", "roi", "scales", "size"], ["u"], mode="nearest", coordinate_transformation_mode="asymmetric",
             nearest_mode="floor"),
        node("Concat", ["u", "none"], ["j"], axis=1), node("Conv", ["j", "w"], ["y"]),
    ]  # fmt: skip
    constants = {"zero": ints(0), "two": ints(2), "hw": ints(8, 8), "none": np.zeros((1, 0, 8, 8), np.float32), "w": noise(3, 2, 3, 3)}
    return model(nodes, (1, 2, 4, 4), constants, 12)


def expanded() -> ModelProto:
    """PyTorch's expand: -1 in a shape is replaced by what Equal and Where find."""
    nodes = [
        node("Shape", ["to"], ["r"]), node("ConstantOfShape", ["r"], ["ones"], value=helper.make_tensor("v", TensorProto.INT64, [1], [1])),
        node("Mul", ["ones", "minus"], ["n"]), node("Equal", ["to", "n"], ["e"]), node("Where", ["e", "ones", "to"], ["shape"]),
        node("Expand", ["k", "shape"], ["ke"]), node("Add", ["x", "ke"], ["h"]), node("MatMul", ["h", "w"], ["y"]),
    ]  # fmt: skip
    return model(nodes, (1, 5, 6), {"to": ints(1, -1, 6), "minus": np.int64(-1), "k": noise(1, 5, 6), "w": noise(6, 4)}, 16)


def lengths_and_last_step() -> ModelProto:
    """Keras: a recurrent layer told its full length, the last step by index -1, a flip by the least int64."""
    nodes = [
        node("Slice", ["x", "last", "least", "zero", "last"], ["f"]),
        node("GRU", ["f", "w", "r", "b", "length", ""], ["o", ""], hidden_size=5),
        node("Squeeze", ["o", "one"], ["s"]), node("Gather", ["s", "end"], ["l"], axis=0), node("MatMul", ["l", "k"], ["y"]),
    ]  # fmt: skip
    constants = {
        "w": noise(1, 15, 3), "r": noise(1, 15, 5), "b": noise(1, 30), "length": np.array([6], np.int32), "one": ints(1), "zero": ints(0),
        "last": ints(-1), "least": ints(-(2**63) + 1), "end": np.int64(-1), "k": noise(5, 2),
    }  # fmt: skip
    return model(nodes, (6, 1, 3), constants, 14)


def nested_branches() -> ModelProto:
    """A scripted model: If inside If, on the rank of a tensor."""

    def part(kind: str, name: str) -> Any:
        return helper.make_graph([node(kind, ["h"], [name])], name, [], [helper.make_tensor_value_info(name, FLOAT, None)])

    inner = node("If", ["t"], ["c"], then_branch=part("Relu", "a"), else_branch=part("Neg", "b"))
    outer = helper.make_graph([inner], "outer", [], [helper.make_tensor_value_info("c", FLOAT, None)])
    nodes = [
        node("MatMul", ["x", "w"], ["h"]), node("Shape", ["h"], ["s"]), node("Size", ["s"], ["rank"]),
        node("Equal", ["rank", "two"], ["t"]),
        node("If", ["t"], ["y"], then_branch=outer, else_branch=part("Identity", "d")),
    ]  # fmt: skip
    return model(nodes, (1, 6), {"w": noise(6, 4), "two": np.int64(2)}, 13)


HABITS = [shapes_through_floats, old_upsample, functions_in_functions, empty_operands, expanded, lengths_and_last_step, nested_branches]


@pytest.mark.parametrize("habit", HABITS)
def test_the_file_is_read_and_means_the_same(habit: Callable[[], ModelProto]) -> None:
    RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state
    made = habit()
    arrays = feeds(made, 4)
    want, found = onnxruntime_outputs(made, arrays)["y"], real_outputs(load(made), arrays)["y"]
    np.testing.assert_allclose(found.reshape(want.shape), want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
