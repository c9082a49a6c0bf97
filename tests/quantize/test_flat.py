"""Where a function is constant its input needs no room, if nobody else reads it."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import PLAIN, Floats, affine_of, scales_of

from edgeq.ir import Array, Graph, Op
from edgeq.ops.activations import HardSigmoid, HardSwish, LeakyRelu
from edgeq.ops.add import Add
from edgeq.quantize import quantize
from edgeq.quantize.floating import evaluate_float
from edgeq.simulate import simulate

FLAT = [
    (HardSwish(), (-3, 20)),
    (HardSigmoid(0.2, 0.5), (-2.5, 2.5)),
    (HardSigmoid(-0.25, 0.25), (-3, 1)),
    (HardSigmoid(0.0, 0.5), (-20, 20)),
]
X = np.random.default_rng(5).uniform(-20, 20, (64, 1, 40)).astype(np.float32)
X.reshape(-1)[:2] = -20, 20


def graph(op: Op, *, read: bool = False, shown: bool = False) -> Graph:
    b = Floats()
    h = b.op(LeakyRelu(alpha=1.0), b.input(1, 40), name="h")
    y = b.op(op, h, name="y")
    more = [b.op(LeakyRelu(alpha=0.5), h)] if read else []
    return b.graph(y, *more, *([h] if shown else []))


@pytest.mark.parametrize(("op", "ends"), FLAT)
def test_the_range_ends_where_the_function_is_constant(op: Op, ends: tuple[float, float]) -> None:
    found = quantize(graph(op), {"x": X}, PLAIN)
    assert scales_of(found, "h") == affine_of(*ends)
    assert scales_of(found, "x") != scales_of(found, "h") or ends == (-20, 20)


@pytest.mark.parametrize("kind", ["read", "shown"])
def test_not_where_somebody_else_reads_it(kind: str) -> None:
    found = quantize(graph(HardSwish(), **{kind: True}), {"x": X}, PLAIN)
    assert scales_of(found, "h") == affine_of(-20, 20)


def test_a_sum_before_it_takes_no_room_either() -> None:
    b = Floats()
    x = b.input(1, 40)
    total = b.op(Add(), b.op(LeakyRelu(alpha=1.0), x, name="h"), b.scaled(x, 0.25, "k"), name="t")
    found = quantize(b.graph(b.op(HardSwish(), total, name="y")), {"x": X}, PLAIN)
    assert scales_of(found, "t") == affine_of(-3, 25)
    assert scales_of(found, "h") == affine_of(-8, 20)  # beside 5 of the other what lies below does not count


@pytest.mark.parametrize(("op", "ends"), FLAT[:3])
def test_results_are_right_beyond_it(op: Op, ends: tuple[float, float]) -> None:
    real = graph(op)
    found = quantize(real, {"x": X}, PLAIN)
    want: Array = evaluate_float(real, {"x": X})["y"]
    scale, zero = scales_of(found, "y")
    x_scale, x_zero = scales_of(found, "x")
    q = np.clip(np.rint(X / x_scale) + x_zero, -128, 127).astype(np.int8)

    got = (simulate(found, {"x": q}).outputs["y"].astype(np.float64) - zero) * scale
    assert np.abs(got - want).max() < 2 * x_scale
    flat = np.less(X, ends[0] - x_scale)
    assert np.abs(got - want)[flat].max() <= scale
