"""Where an operator averages values of its own scale, the scale has room for what it reads, not for what it gives alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.resize import ResizeBilinear
from edgeq.quantize import Options, calibrate, evaluate_float, quantize
from edgeq.quantize.scales import assign
from edgeq.simulate import real_array, simulate

SHAPE = (1, 8, 8, 4)
RNG = np.random.default_rng(5)


def graph(*ops: Op, shape: tuple[int, ...] = SHAPE) -> Graph:
    """A convolution and operators behind it."""
    w, b = RNG.normal(0, 0.3, (4, 3, 3, shape[3])).astype(np.float32), np.zeros(4, np.float32)
    tensors = {"x": Tensor("x", TensorType(shape)), "w": Tensor("w", TensorType(w.shape), w), "b": Tensor("b", TensorType((4,)), b)}
    chain: tuple[Op, ...] = (Conv2d(pads=(1, 1, 1, 1)), *ops)
    nodes, last = [], "x"
    for i, op in enumerate(chain):
        inputs = (last, "w", "b") if i == 0 else (last,)
        tensors[f"t{i}"] = Tensor(f"t{i}", op.infer(*(tensors[n].type for n in inputs)))
        nodes.append(Node(f"n{i}", op, inputs, (f"t{i}",)))
        last = f"t{i}"
    return Graph("g", (), tensors, ("x",), (last,)).with_nodes(nodes)


def samples(count: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> dict[str, Array]:
    """Few bright pixels on a dark ground: averages are far smaller than extremes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.05, (count, *shape)) + 3 * rng.choice([-1, 0, 0, 0, 0, 0, 0, 1], (count, *shape))
    return {"x": x.astype(np.float32)}


def decibels(g: Graph, law: str, data: Mapping[str, Array]) -> float:
    name = g.outputs[0]
    q = quantize(g, data, Options(law=law))
    want = evaluate_float(g, data)[name].astype(np.float64)
    got = real_array(simulate(q, data).outputs[name], q.type(name)).astype(np.float64)
    return float(10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()))


@pytest.mark.parametrize("law", ["single", "tflm"])
@pytest.mark.parametrize(
    "ops",
    [
        (ResizeBilinear((5, 5), half_pixel_centers=True),),
        (ResizeBilinear((3, 3)), MaxPool2d((2, 2), (1, 1))),
        (AveragePool2d((4, 4), (2, 2)),),
        (Clamp((0.0, 6.0)), AveragePool2d((8, 8), (1, 1))),
    ],
    ids=["resize", "resize and maximum", "pool", "clamp and pool"],
)
def test_what_is_averaged_has_room(ops: tuple[Op, ...], law: str) -> None:
    assert decibels(graph(*ops), law, samples(64)) > 26


def test_what_a_clamp_throws_away_needs_no_room() -> None:
    g, data = graph(Clamp((0.0, 0.5)), AveragePool2d((4, 4), (2, 2))), samples(64)
    scales = assign(g, calibrate(g, data, "minmax"), "tflm", {})
    assert scales["t0"] == scales["t1"] == scales["t2"] and abs(255 * scales["t0"][0] - 0.5) < 1e-6
