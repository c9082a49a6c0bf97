"""A layer normalization spelled out in primitive nodes becomes one operator, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgeq.ir import Graph, Node, Op, Tensor, TensorType
from edgeq.ops import mathematics as maths
from edgeq.ops.add import Add, Sub
from edgeq.ops.layer_norm import LayerNorm
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.passes import normalise
from edgeq.quantize import evaluate_float

SHAPE = (1, 5, 8)
RNG = np.random.default_rng(3)
CONSTANTS = {
    "eps": np.full((1, 1, 1), 1e-3, np.float32), "one": np.ones((1, 1, 1), np.float32),
    "scale": RNG.normal(1, 0.3, (1, 1, 8)).astype(np.float32),
    "bias": RNG.normal(0, 0.3, (1, 1, 8)).astype(np.float32), "column": RNG.normal(1, 0.3, (1, 5, 1)).astype(np.float32),
}  # fmt: skip
Step = tuple[Op, Sequence[str], str]
BEFORE: list[Step] = [(Mean((2,), True), ["x"], "mean"), (Sub(), ["x", "mean"], "d")]
ROOT: list[Step] = [(Mean((2,), True), ["sq"], "var"), (Add(), ["var", "eps"], "sum"), (maths.Sqrt(), ["sum"], "root")]
INVERSE: list[Step] = [(maths.Reciprocal(), ["root"], "inverse"), (Mul(), ["inverse", "d"], "n")]
AFFINE: list[Step] = [(Mul(), ["n", "scale"], "s"), (Add(), ["bias", "s"], "y")]
SQUARE: list[Step] = [(maths.Square(), ["d"], "sq")]


def graph(steps: Sequence[Step]) -> Graph:
    tensors = {n: Tensor(n, TensorType(a.shape), a) for n, a in CONSTANTS.items()} | {"x": Tensor("x", TensorType(SHAPE))}
    nodes = []
    for op, inputs, output in steps:
        tensors[output] = Tensor(output, op.infer(*(tensors[n].type for n in inputs)))
        nodes.append(Node(output, op, tuple(inputs), (output,)))
    return Graph("g", (), tensors, ("x",), (steps[-1][2],)).with_nodes(nodes)


@pytest.mark.parametrize(
    "steps",
    [
        [*BEFORE, *SQUARE, *ROOT, *INVERSE, *AFFINE],
        [*BEFORE, (Mul(), ["d", "d"], "sq"), *ROOT, *INVERSE, *AFFINE],
        [*BEFORE, *SQUARE, *ROOT[:2], (maths.Rsqrt(), ["sum"], "inverse"), INVERSE[1], *AFFINE],
        [*BEFORE, *SQUARE, *ROOT, *INVERSE],
        [*BEFORE, *SQUARE, *ROOT, *INVERSE, (Add(), ["n", "bias"], "y")],
        [*BEFORE, *SQUARE, *ROOT, *INVERSE, (Mul(), ["n", "eps"], "s"), (Add(), ["one", "s"], "y")],
    ],
    ids=["square", "product", "rsqrt", "plain", "shifted", "by numbers"],
)
def test_it_becomes_one_operator(steps: Sequence[Step]) -> None:
    before = graph(steps)
    after = normalise(before)
    assert [type(n.op) for n in after.nodes] == [LayerNorm]
    x = {"x": RNG.normal(2, 3, (4, *SHAPE)).astype(np.float32)}
    (want,), (got,) = (evaluate_float(g, x).values() for g in (before, after))
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "steps",
    [
        [(maths.Square(), ["x"], "sq"), *ROOT, INVERSE[0], (Mul(), ["x", "inverse"], "n"), (Mul(), ["scale", "n"], "y")],
        [(Mul(), ["x", "x"], "sq"), *ROOT[:2], (maths.Rsqrt(), ["sum"], "inverse"), (Mul(), ["inverse", "x"], "n"), *AFFINE],
        [(Mean((1,), True), ["x"], "mean"), BEFORE[1], *SQUARE, *ROOT, *INVERSE],
        [(maths.Square(), ["x"], "other"), (Mean((2,), True), ["other"], "mean"), BEFORE[1], *SQUARE, *ROOT, *INVERSE],
    ],
    ids=["square", "product", "less a mean along another axis", "less the mean of something else"],
)
def test_a_root_mean_square(steps: Sequence[Step]) -> None:
    """Without the mean of the same row taken away: half of the normalization of a row and its negative."""
    before = graph(steps)
    after = normalise(before)
    kinds = [n.op.kind() for n in after.nodes]
    assert kinds[-4:] == ["neg", "concat", "layer_norm", "slice"] and not {"sqrt", "rsqrt", "reciprocal"} & set(kinds)
    x = {"x": RNG.normal(2, 3, (4, *SHAPE)).astype(np.float32)}
    (want,), (got,) = (evaluate_float(g, x).values() for g in (before, after))
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "steps",
    [
        [*BEFORE, (maths.Square(), ["x"], "sq"), *ROOT, *INVERSE],
        [*BEFORE, (maths.Abs(), ["d"], "sq"), *ROOT, *INVERSE],
        [*BEFORE, *SQUARE, (Mean((1,), True), ["sq"], "var"), *ROOT[1:], *INVERSE],
    ],
    ids=["of x", "no square", "another axis"],
)
def test_something_else_stays(steps: Sequence[Step]) -> None:
    assert not any(isinstance(n.op, LayerNorm) for n in normalise(graph(steps)).nodes)


def test_limits_stay_apart() -> None:
    """Of the normalization itself, and of what follows it."""
    for at in (-1, -2, -3):
        steps: list[Step] = [*BEFORE, *SQUARE, *ROOT, *INVERSE, *AFFINE]
        op, inputs, output = steps[at]
        steps[at] = (type(op)(clamp=(-0.5, 0.5)), inputs, output)  # type: ignore[call-arg]
        before = graph(steps)
        x = {"x": RNG.normal(2, 3, (4, *SHAPE)).astype(np.float32)}
        (want,), (got,) = (evaluate_float(g, x).values() for g in (before, normalise(before)))
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_factors_of_rows_stay_apart() -> None:
    after = normalise(graph([*BEFORE, *SQUARE, *ROOT, *INVERSE, (Mul(), ["n", "column"], "y")]))
    assert isinstance(after.nodes[0].op, LayerNorm) and len(after.nodes) > 1
