"""Gradients of every sort of operator against slopes: what is linear between whole numbers has the same slope a little beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_graphs import Floats

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Op
from edgeq.ops.activations import LeakyRelu
from edgeq.ops.add import Add, Sub
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.cum_sum import CumSum
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.extremum import Maximum
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.quantize import evaluate_float
from edgeq.quantize.gradients import backward, logits

STEP = 2.0**-6


def expected(graph: Graph, x: Array, g: Array) -> Array:
    """``[V, *shape]``: by moving one value after the other."""
    found = np.zeros(x.shape)
    for i in np.ndindex(x.shape[1:]):
        ends = []
        for step in (STEP, -STEP):
            moved = x.copy()
            moved[(slice(None), *i)] += step
            ends.append(evaluate_float(graph, {"x": moved})["y"].astype(np.float64))
        found[(slice(None), *i)] = (g * (ends[0] - ends[1]) / (2 * STEP)).reshape(len(x), -1).sum(1)
    return found


def compared(graph: Graph, shape: tuple[int, ...], tolerance: float = 1e-5) -> None:
    """Of whole numbers, no two alike, two at a time."""
    rng = np.random.default_rng(1)
    size = int(np.prod(shape))
    x = np.stack([rng.permutation(size) - size // 2 for _ in range(2)]).reshape(2, *shape).astype(np.float32)
    values = evaluate_float(graph, {"x": x}, steps=True)
    g = rng.integers(-9, 10, values["y"].shape).astype(float)
    np.testing.assert_allclose(backward(graph, values, "y", g)["x"], expected(graph, x, g), rtol=tolerance, atol=tolerance * 9)


SHAPE = (1, 3, 4, 2)
FOUR = (-4.4, 4.4)
OPS: dict[str, Op] = {
    "transpose": Transpose((0, 3, 1, 2)), "reshape": Reshape((1, 24)), "slice": Slice((0, 1, 3, 1), (1, 2, 2, 1), (1, 1, -2, 1)),
    "pad": Pad(((0, 0), (1, 0), (0, 2), (0, 0))), "reflect": Pad(((0, 0), (1, 0), (0, 2), (0, 0)), mode="reflect"),
    "every value": MaxPool2d((1, 1), (1, 1)), "windows": MaxPool2d((2, 2), (1, 1)),
    "windows with borders": MaxPool2d((2, 2), (2, 2), pads=(1, 1, 0, 0)),
    "cut off": MaxPool2d((2, 2), (1, 1), clamp=FOUR), "largest": ReduceMax((1, 2)), "largest of channels": ReduceMax((3,), True),
    "averages": AveragePool2d((2, 3)), "averages beside borders": AveragePool2d((2, 2), (1, 2), (1, 0, 0, 1)),
    "averages with borders": AveragePool2d((2, 2), (1, 2), (1, 0, 0, 1), count_include_pad=True),
    "averages cut off": AveragePool2d((2, 2), clamp=FOUR), "mean": Mean((1, 2)), "mean of rows": Mean((1,), True),
    "clamp": Clamp(clamp=FOUR), "leaky": LeakyRelu(alpha=0.25),
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_of_one_input(name: str) -> None:
    b = Floats()
    compared(b.graph(b.op(OPS[name], b.input(*SHAPE), name="y")), SHAPE)


LAYERS: dict[str, tuple[Op, tuple[int, ...], int]] = {
    "dense": (FullyConnected(), (3, 2), 0), "dense cut off": (FullyConnected(clamp=(-6.5, 6.5)), (3, 2), 0),
    "convolution": (Conv2d((1, 2), pads=(1, 0, 0, 1)), (3, 2, 2, 2), 0), "groups": (Conv2d(groups=2), (4, 2, 2, 1), 0),
    "depthwise": (DepthwiseConv2d((2, 1), pads=(0, 1, 1, 0)), (1, 2, 2, 4), 3),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_of_layers_and_their_constants(name: str) -> None:
    op, kernel, axis = LAYERS[name]
    b, rng = Floats(), np.random.default_rng(2)
    w, bias = rng.integers(-3, 4, kernel), rng.integers(-3, 4, kernel[axis]) + 0.125
    graph = b.graph(b.layer(op, b.input(*SHAPE), w, bias, name="y", axis=axis))
    compared(graph, SHAPE)
    node = graph.nodes[0]
    x = np.random.default_rng(3).integers(-4, 5, (2, *SHAPE)).astype(np.float32)
    values = evaluate_float(graph, {"x": x}, steps=True)
    g = np.random.default_rng(4).integers(-9, 10, values["y"].shape).astype(float)
    found = backward(graph, values, "y", g, [node.name])
    for constant in node.inputs[1:]:
        data = graph.tensors[constant].data
        assert data is not None
        for i in np.ndindex(data.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = data.copy()
                moved[i] += step
                other = replace(graph, tensors={**graph.tensors, constant: replace(graph.tensors[constant], data=moved)})
                ends.append(evaluate_float(other, {"x": x})["y"].astype(np.float64))
            assert found[constant][i] == pytest.approx((g * (ends[0] - ends[1])).sum() / (2 * STEP), abs=1e-2), (constant, i)


@pytest.mark.parametrize("op", [Add(), Sub(), Add(clamp=(-4.875, 4.125)), Maximum(), Mul()], ids=str)
@pytest.mark.parametrize("first", [True, False])
def test_of_two_inputs(op: Op, first: bool) -> None:
    """With a constant, one value for all, and one of each channel that all pixels meet."""
    for shape in ((1, 1, 1, 1), (1, 1, 1, 2)):
        b = Floats()
        pair = [b.input(*SHAPE), b.const(np.full(shape, 2.625))]
        compared(b.graph(b.op(op, *pair[:: 1 if first else -1], name="y")), SHAPE, 1e-3)
    b = Floats()
    x = b.input(1, 1, 1, 2)
    others = b.op(op, *[x, b.const(np.arange(24).reshape(SHAPE) - 12.375)][:: 1 if first else -1], name="y")
    compared(b.graph(others), (1, 1, 1, 2), 1e-3)


def test_what_two_read_adds_up_and_what_nothing_depends_on_is_zero() -> None:
    b = Floats()
    x, unread = b.input(1, 4), b.input(1, 3)
    y = b.op(Add(), b.scaled(x, 2.0), b.scaled(x, 3.0), name="y")
    graph = b.graph(y, b.scaled(unread, 1.0))
    values = evaluate_float(graph, {"x": np.ones((2, 1, 4)), "x1": np.ones((2, 1, 3))}, steps=True)
    found = backward(graph, values, "y", np.ones((2, 1, 4)))
    np.testing.assert_allclose(found["x"], 5.0, rtol=1e-5)
    assert found["x1"].shape == (2, 1, 3) and not found["x1"].any()


@pytest.mark.parametrize("op", [Softmax(), CumSum(1)], ids=str)
def test_others_are_named(op: Op) -> None:
    b = Floats()
    graph = b.graph(b.op(op, b.input(1, 4), name="y"))
    values = evaluate_float(graph, {"x": np.ones((1, 1, 4), np.float32)}, steps=True)
    with pytest.raises(EdgeqError, match=f"{op.kind()} has no gradient here"):
        backward(graph, values, "y", np.ones((1, 1, 4)))


def test_what_is_chosen_of_several_inputs() -> None:
    b = Floats()
    x = b.input(1, 2, 3)
    graph = b.graph(b.op(Concat(1), b.op(Reshape((1, 2, 3)), x), x, b.const(np.ones((1, 1, 3))), name="y"))
    compared(graph, (1, 2, 3))


def test_gradients_of_several_activations_add_up() -> None:
    """That of the output itself, too."""
    b = Floats()
    a = b.scaled(b.input(1, 3), 2.0)
    graph = b.graph(b.op(LeakyRelu(0.5), a, name="y"))
    x = np.array([[[1, -1, 2]]], np.float32)
    values, g = evaluate_float(graph, {"x": x}, steps=True), np.array([[[1.0, 2.0, 4.0]]])
    for name in (a, "y"):
        alone = backward(graph, values, name, 3 * g)["x"]
        both = backward(graph, values, "y", g, more={name: 3 * g})["x"]
        np.testing.assert_allclose(both, backward(graph, values, "y", g)["x"] + alone, rtol=1e-4)


def test_logits_are_what_a_softmax_at_the_end_is_taken_of() -> None:
    b = Floats()
    z = b.scaled(b.input(1, 4), 2.0, name="z")
    y = b.op(Reshape((4,)), b.op(Softmax(), b.op(Reshape((1, 4)), z)))
    graph = b.graph(y, b.op(LeakyRelu(alpha=0.5), z, name="other"))
    assert graph.producers()[logits(graph, y)].op.kind() == "reshape" and logits(graph, "other") == "other"
