"""Each clean-up pass on a small graph: what it takes, what it must leave, and that the meaning stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import Builder, random_graph

from edgeq.evaluate import evaluate
from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.numerics import LAWS
from edgeq.ops.activations import Sigmoid
from edgeq.ops.add import Add, Sub
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.requantize import Requantize
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.transpose import Transpose
from edgeq.passes import normalise
from edgeq.simulate import simulate

RELU, RELU6 = (0.0, math.inf), (0.0, 6.0)


class Float(Builder):
    """The builder of random graphs without scales."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed, "single")

    def input(self, *shape: int) -> str:
        name = super().input(*shape)
        self.tensors[name] = Tensor(name, TensorType(shape))
        return name

    def const(self, data: Array | float, shape: tuple[int, ...] | None = None) -> str:
        return self.constant(f"c{len(self.tensors)}", np.asarray(data, np.float32).reshape(shape or np.shape(data)))

    def random(self, *shape: int) -> str:
        return self.const(self.rng.normal(0, 1, shape))

    def layer(self, op: Op, x: str, *shape: int) -> str:
        channels = shape[3] if isinstance(op, DepthwiseConv2d) else shape[0]
        return self.node(op, x, self.random(*shape), self.random(channels))


def floats(graph: Graph, seed: int = 0) -> Mapping[str, Array]:
    """Every tensor of a float graph for 3 random vectors."""
    rng = np.random.default_rng(seed)
    x = {n: rng.normal(0, 1, (3, *graph.type(n).shape)).astype(np.float32) for n in graph.inputs}
    return evaluate(graph, x, lambda node, arrays: node.op.real_all(*arrays), True)


def cleaned(graph: Graph, kinds: str) -> Graph:
    """The normalised graph: it has nodes of these kinds, in this order, and gives the same outputs."""
    result = normalise(graph)
    assert " ".join(n.op.kind() for n in result.nodes) == kinds
    assert (result.inputs, result.outputs) == (graph.inputs, graph.outputs)
    before, after = floats(graph), floats(result)
    for name in graph.outputs:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-5)
    assert normalise(result) is result or normalise(result).nodes == result.nodes
    return result


def same_bytes(graph: Graph, kinds: str | None = None) -> Graph:
    """The same for a quantized graph, byte for byte."""
    result = normalise(graph)
    if kinds is not None:
        assert " ".join(n.op.kind() for n in result.nodes) == kinds
    rng = np.random.default_rng(1)
    x = {n: rng.integers(-128, 128, (40, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}
    for name in graph.inputs:
        x[name][0], x[name][1] = -128, 127
    before, after = simulate(graph, x), simulate(result, x)
    for name in graph.outputs:
        np.testing.assert_array_equal(after.outputs[name], before.outputs[name])
    return result


def test_batch_normalization_and_activation_fold_into_the_layer_before() -> None:
    for op, shape in ((Conv2d(pads=(1, 1, 1, 1)), (4, 3, 3, 2)), (DepthwiseConv2d(pads=(1, 1, 1, 1)), (1, 3, 3, 4))):
        b = Float()
        x = b.input(1, 5, 5, 2)
        y = b.node(Sub(), b.layer(op, x, *shape), b.random(1, 1, 1, 4))
        y = b.node(Add(), b.node(Mul(), y, b.random(1, 1, 1, 4)), b.random(1, 1, 1, 4))
        result = cleaned(b.graph(b.node(Clamp(clamp=RELU6), y)), op.kind())
        assert result.nodes[0].op.clamp == RELU6  # type: ignore[attr-defined]


def test_a_constant_minus_a_dense_layer() -> None:
    b = Float()
    y = b.layer(FullyConnected(), b.input(2, 6), 3, 6)
    cleaned(b.graph(b.node(Sub(clamp=RELU), b.random(1, 3), y)), "fully_connected")


def test_factors_and_terms_before_a_layer() -> None:
    b = Float()
    x = b.node(Mul(), b.input(1, 5, 5, 4), b.random(1, 1, 1, 4))
    cleaned(b.graph(b.layer(Conv2d(pads=(1, 1, 1, 1), groups=2), x, 6, 3, 3, 2)), "conv2d")
    b = Float()
    x = b.node(Add(), b.input(1, 5, 5, 4), b.random(1, 1, 1, 4))
    cleaned(b.graph(b.layer(DepthwiseConv2d(), x, 1, 3, 3, 8)), "depthwise_conv2d")
    b = Float()
    x = b.node(Sub(), b.input(1, 5, 5, 4), b.const(0.5, (1, 1, 1, 1)))
    cleaned(b.graph(b.layer(Conv2d(groups=2), x, 6, 3, 3, 2)), "conv2d")


def test_a_term_before_padding_stays() -> None:
    b = Float()
    x = b.node(Add(), b.input(1, 5, 5, 4), b.random(1, 1, 1, 4))
    cleaned(b.graph(b.layer(Conv2d(pads=(0, 0, 1, 1)), x, 6, 3, 3, 4)), "add conv2d")


def test_weights_that_two_layers_share_are_folded_for_one() -> None:
    b = Float()
    w, c = b.random(4, 6), b.random(4)
    x = b.input(1, 6)
    first = b.node(FullyConnected(), x, w, c)
    second = b.node(FullyConnected(), b.node(Clamp(clamp=RELU), x), w, c)
    cleaned(b.graph(b.node(Mul(), first, b.random(1, 4)), second), "fully_connected clamp fully_connected")


def test_a_layer_with_two_readers_keeps_its_own_values() -> None:
    b = Float()
    y = b.layer(FullyConnected(), b.input(1, 6), 4, 6)
    graph = b.graph(b.node(Mul(), y, b.random(1, 4)), b.node(Clamp(clamp=RELU), y), y)
    cleaned(graph, "fully_connected mul clamp")


def test_clamps_fuse_and_compose() -> None:
    b = Float()
    y = b.layer(FullyConnected(), b.input(1, 6), 4, 6)
    y = b.node(Clamp(clamp=(-1.0, 5.0)), b.node(Clamp(clamp=RELU), y))
    assert cleaned(b.graph(y), "fully_connected").nodes[0].op.clamp == (0.0, 5.0)  # type: ignore[attr-defined]
    b = Float()
    y = b.layer(FullyConnected(clamp=(-3.0, -1.0)), b.input(1, 6), 4, 6)
    assert cleaned(b.graph(b.node(Clamp(clamp=RELU), y)), "fully_connected").nodes[0].op.clamp == (0.0, 0.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("law", LAWS)
def test_quantized_clamps_fuse_where_no_byte_changes(law: str) -> None:
    b = Builder(2, law, clamps=False)
    y = b.conv(b.input(1, 4, 4, 3), 4, 1)
    graph = b.graph(b.node(Clamp(clamp=(-1.0, 1.0)), y))
    result = same_bytes(graph, "conv2d")
    assert result.nodes[0].op.clamp == (-1.0, 1.0)  # type: ignore[attr-defined]
    b = Builder(2, law, clamps=False)
    y = b.conv(b.input(1, 4, 4, 3), 4, 1)
    same_bytes(b.graph(b.node(Clamp(clamp=(-1.0, 1.0)), y, q=b.q())), "conv2d clamp")


def test_pads_move_into_windows() -> None:
    margins = ((0, 0), (1, 2), (0, 1), (0, 0))
    b = Float()
    y = b.layer(Conv2d(pads=(0, 1, 0, 0)), b.node(Pad(pads=margins), b.input(1, 5, 5, 2)), 3, 3, 3, 2)
    assert cleaned(b.graph(y), "conv2d").nodes[0].op.pads == (1, 1, 2, 1)  # type: ignore[attr-defined]
    b = Float()
    y = b.node(AveragePool2d(kernel=(3, 3)), b.node(Pad(pads=margins), b.input(1, 5, 5, 2)))
    assert cleaned(b.graph(y), "average_pool2d").nodes[0].op.count_include_pad  # type: ignore[attr-defined]
    b = Float()
    y = b.node(MaxPool2d(kernel=(3, 3)), b.node(Pad(pads=margins, value=-math.inf), b.input(1, 5, 5, 2)))
    cleaned(b.graph(y), "max_pool2d")


def test_pads_that_mean_something_else_stay() -> None:
    cases: list[tuple[Pad, Op]] = [
        (Pad(((0, 0), (1, 1), (1, 1), (0, 0)), value=1.0), Conv2d()),
        (Pad(((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), Conv2d()),
        (Pad(((0, 0), (1, 1), (1, 1), (0, 1))), Conv2d()),
        (Pad(((0, 1), (1, 1), (1, 1), (0, 0))), Conv2d()),
        (Pad(((0, 0), (1, 1), (1, 1), (0, 0))), MaxPool2d(kernel=(3, 3))),
        (Pad(((0, 0), (3, 0), (0, 0), (0, 0))), AveragePool2d(kernel=(2, 2))),
        (Pad(((0, 0), (1, 1), (0, 0), (0, 0))), AveragePool2d(kernel=(3, 3), pads=(1, 1, 1, 1))),
    ]
    for pad, op in cases:
        b = Float()
        x = b.node(pad, b.input(1, 5, 5, 2))
        channels = b.tensors[x].type.shape[3]
        y = b.layer(op, x, 3, 3, 3, channels) if isinstance(op, Conv2d) else b.node(op, x)
        cleaned(b.graph(y), f"pad {op.kind()}")


@pytest.mark.parametrize("law", LAWS)
def test_quantized_pads_move_into_windows(law: str) -> None:
    margins = ((0, 0), (1, 1), (1, 0), (0, 0))
    b = Builder(3, law)
    same_bytes(b.graph(b.conv(b.node(Pad(pads=margins), b.input(1, 5, 5, 2)), 3, 3)), "conv2d")
    b = Builder(3, law)
    same_bytes(b.graph(b.node(AveragePool2d(kernel=(2, 3)), b.node(Pad(pads=margins), b.input(1, 5, 5, 2)))), "average_pool2d")
    b = Builder(3, law)
    same_bytes(b.graph(b.node(MaxPool2d(kernel=(2, 3)), b.node(Pad(pads=margins, value=-1e9), b.input(1, 5, 5, 2)))), "max_pool2d")


@pytest.mark.parametrize("law", LAWS)
def test_a_convolution_on_one_pixel_is_fully_connected(law: str) -> None:
    b = Float()
    result = cleaned(b.graph(b.layer(Conv2d(stride=(2, 1), clamp=RELU6), b.input(2, 1, 1, 5), 4, 1, 1, 5)), "fully_connected")
    assert result.type(result.outputs[0]).shape == (2, 1, 1, 4)
    for shape, window, groups in (((1, 1, 2, 4), (1, 1), 1), ((1, 2, 1, 4), (2, 1), 1), ((1, 1, 1, 4), (1, 1), 2)):
        b = Float()
        cleaned(b.graph(b.layer(Conv2d(groups=groups), b.input(*shape), 4, *window, 4 // groups)), "conv2d")
    quantized = Builder(3, law)
    same_bytes(quantized.graph(quantized.conv(quantized.input(1, 1, 1, 6), 5, 1)), "fully_connected")


def test_identities_vanish() -> None:
    b = Float()
    x = b.input(1, 4, 1, 6)
    y = b.node(Slice((0, 0, 0, 0), (1, 4, 1, 6), (1, 1, 1, 1)), x)
    y = b.node(Transpose((0, 2, 1, 3)), y)
    y = b.node(Pad(((0, 0),) * 4), y)
    y = b.node(Clamp(), y)
    y = b.node(MaxPool2d(kernel=(1, 1)), y)
    y = b.node(Mean(axes=(1,)), y)
    cleaned(b.graph(b.node(Sigmoid(), y)), "reshape sigmoid")


def test_an_identity_between_the_callers_buffers_becomes_a_copy() -> None:
    b = Float()
    x = b.input(1, 4)
    cleaned(b.graph(b.node(Clamp(), x)), "reshape")
    b = Float()
    y = b.node(Sigmoid(), b.input(1, 4))
    cleaned(b.graph(b.node(Clamp(), y)), "sigmoid")
    cleaned(b.graph(y, b.node(Clamp(), y)), "sigmoid reshape")


@pytest.mark.parametrize("law", LAWS)
def test_quantized_identities(law: str) -> None:
    b = Builder(4, law)
    x = b.input(1, 4)
    same_bytes(b.graph(b.node(Requantize(), b.node(Sigmoid(), x, q=QParams((1 / 256,), -128)))), "sigmoid")
    b = Builder(4, law)
    y = b.node(Sigmoid(), b.input(1, 4), q=QParams((1 / 256,), -128))
    same_bytes(b.graph(b.node(Requantize(), y, q=QParams((1 / 250,), -128))), "sigmoid requantize")
    b = Builder(4, law)
    y = b.node(Sigmoid(), b.input(1, 4), q=QParams((1 / 256,), -128))
    same_bytes(b.graph(b.node(Clamp(clamp=RELU), y)), "sigmoid")


def test_moves_combine() -> None:
    b = Float()
    y = b.node(Transpose((0, 3, 1, 2)), b.node(Transpose((0, 2, 1, 3)), b.input(1, 4, 5, 6)))
    assert cleaned(b.graph(y), "transpose").nodes[0].op.perm == (0, 3, 2, 1)  # type: ignore[attr-defined]
    b = Float()
    y = b.node(Slice((0, 1), (2, 3), (1, 2)), b.node(Slice((3, 9), (4, 8), (-1, -1)), b.input(5, 10)))
    cleaned(b.graph(b.node(Sigmoid(), y)), "slice sigmoid")
    b = Float()
    y = b.node(Reshape((12,)), b.node(Reshape((3, 4)), b.node(Sigmoid(), b.input(2, 6))))
    cleaned(b.graph(y), "sigmoid reshape")
    b = Float()
    y = b.node(Pad(((0, 0), (1, 1))), b.node(Pad(((2, 0), (0, 1))), b.input(2, 6)))
    cleaned(b.graph(y), "pad")


def test_duplicates_merge() -> None:
    b = Float()
    x = b.input(1, 6)
    w = b.tensors[b.random(6, 6)].data
    assert w is not None
    layers = [b.node(FullyConnected(), x, b.const(w), b.const(np.zeros(6))) for _ in range(3)]
    y = b.node(Mul(), b.node(Add(), layers[0], layers[1]), layers[2])
    cleaned(b.graph(y), "fully_connected add mul")


def test_duplicate_outputs_become_copies() -> None:
    b = Float()
    x = b.input(1, 6)
    first, second, third = (b.node(Sigmoid(), x) for _ in range(3))
    cleaned(b.graph(second, b.node(Add(), first, third)), "sigmoid add")
    cleaned(b.graph(second, third), "sigmoid reshape")


def test_constants_fold_and_dead_nodes_go() -> None:
    b = Float()
    x = b.input(1, 6)
    c = b.node(Sigmoid(), b.node(Add(), b.random(1, 6), b.random(1, 1)))
    b.node(Sigmoid(), x)
    cleaned(b.graph(b.node(Add(), x, c)), "add")
    # values that are not finite are left to the run time
    huge = b.const(np.full((1, 6), 1e30))
    bad = b.node(Mul(), huge, huge)
    assert [n.op.kind() for n in normalise(b.graph(b.node(Add(), x, bad))).nodes] == ["mul", "add"]


def test_outputs_that_nothing_computes_are_copied() -> None:
    b = Float()
    x = b.input(1, 6)
    c = b.random(1, 6)
    y = b.node(Add(), x, c)
    graph = normalise(b.graph(y, x, c))
    assert graph.outputs == (y, "x0_out", c) and [n.op.kind() for n in graph.nodes] == ["add", "reshape", "reshape"]
    values = floats(graph)
    np.testing.assert_array_equal(values["x0_out"], values["x0"])
    np.testing.assert_array_equal(values[c][1], b.tensors[c].data)


def test_constant_outputs_of_quantized_graphs() -> None:
    b = Builder(1, "single")
    x = b.input(1, 6)
    q = b.q()
    c = b.constant("c", b.rng.integers(-128, 128, (1, 6)).astype(np.int8), q)
    graph = b.graph(b.node(Add(), x, c), b.node(Add(), c, c, q=QParams((2 * q.scale[0],), 0)))
    same_bytes(graph, "add reshape")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LAWS))
def test_quantized_graphs_keep_their_bytes(seed: int, law: str) -> None:
    """Random graphs with duplicated, dead and trivial nodes strewn in."""
    graph = random_graph(seed, law, layers=6, dead=0.3)
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        name = node.outputs[0]
        nodes.append(node)
        if rng.random() < 0.3:  # a twin that the next reader takes, or nobody
            twin = f"{name}_twin"
            nodes.append(replace(node, name=twin, outputs=(twin,)))
            tensors[twin] = replace(tensors[name], name=twin)
        if rng.random() < 0.3 and name not in graph.outputs:  # the layer's output takes a detour
            inner = f"{name}_inner"
            tensors[inner] = replace(tensors[name], name=inner)
            nodes[nodes.index(node)] = replace(node, outputs=(inner,))
            shape = tensors[name].type.shape
            op: Op = [Reshape(shape), Clamp(), Transpose(tuple(range(len(shape))))][int(rng.integers(3))]
            nodes.append(Node(f"{name}_detour", op, (inner,), (name,)))
    detoured = check(replace(graph, nodes=tuple(nodes), tensors=tensors), "test")
    result = same_bytes(detoured)
    assert len(result.nodes) <= len(graph.nodes) + len(graph.outputs)
    assert all(t.type.dtype in (DType.INT8, DType.INT32) for t in result.tensors.values())
