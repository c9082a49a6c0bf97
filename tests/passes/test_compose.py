"""Spelled-out activations are recognised by what they compute; what merely resembles them is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_layout import Net, kinds, outputs

from edgeq.ir import DType, Graph, QParams, Tensor, TensorType
from edgeq.ops.activations import HardSigmoid, Sigmoid, Silu, Softplus, Tanh
from edgeq.ops.add import Add, Sub
from edgeq.ops.clamp import Clamp
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.ops.logic import IsZero, Step
from edgeq.ops.mathematics import Abs, Square
from edgeq.ops.mul import Mul
from edgeq.passes import normalise
from edgeq.passes.compose import compose
from edgeq.passes.join_affine import join_affine
from edgeq.passes.remove_dead import remove_dead


def scalar(b: Net, value: float, rank: int = 2) -> str:
    name = b.const(*(1,) * rank)
    b.tensors[name] = Tensor(name, TensorType((1,) * rank), np.full((1,) * rank, value, np.float32))
    return name


def composed(graph: Graph) -> Graph:
    result = remove_dead(compose(graph))
    before, after = outputs(graph, False), outputs(result, False)
    for name in graph.outputs:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-6)
    return result


def test_the_largest_group_wins_and_other_readers_keep_what_they_read() -> None:
    b = Net()
    x = b.input(2, 3)
    gate = b.op(Sigmoid(), x)
    y = b.op(Mul(), x, gate)
    assert kinds(composed(b.graph(y, gate))) == "sigmoid silu"
    b = Net()
    x = b.input(2, 3)
    gate = b.op(Mul(), b.op(Clamp((0.0, 6.0)), b.op(Add(), x, scalar(b, 3.0))), scalar(b, 1 / 6))
    y = b.op(Tanh(), b.op(Mul(), x, gate))
    assert kinds(composed(b.graph(y))) == "hard_swish tanh"
    assert kinds(composed(b.graph(gate))) == "hard_sigmoid"
    (node,) = composed(b.graph(gate)).nodes
    assert isinstance(node.op, HardSigmoid) and node.op.alpha == pytest.approx(1 / 6) and node.op.beta == 0.5


def test_a_given_scale_stays_though_its_steps_are_the_grids() -> None:
    b = Net()
    graph = b.graph(b.op(Clamp((-2.0, 2.0)), b.op(FakeQuantize(scale=0.02), b.input(2, 3))))
    assert compose(graph) is graph


@pytest.mark.parametrize("factor", [0.999, 1.001, 1.702])
def test_near_misses(factor: float) -> None:
    b = Net()
    x = b.input(2, 3)
    graph = b.graph(b.op(Mul(), x, b.op(Sigmoid(), b.op(Mul(), x, scalar(b, factor)))))
    assert compose(graph) is graph


def test_limits_far_out_matter() -> None:
    """Equal to SiLU up to 100, and not beyond."""
    b = Net()
    x = b.input(2, 3)
    graph = b.graph(b.op(Clamp((-1.0, 100.0)), b.op(Mul(), x, b.op(Sigmoid(), x))))
    assert kinds(compose(graph)) == "sigmoid silu clamp"


def test_two_sources_or_constants_per_channel_are_no_function() -> None:
    b = Net()
    graph = b.graph(b.op(Mul(), b.input(2, 3), b.op(Sigmoid(), b.input(2, 3))))
    assert compose(graph) is graph
    b = Net()
    x = b.input(2, 3)
    graph = b.graph(b.op(Mul(), x, b.op(Sigmoid(), b.op(Add(), x, b.const(1, 3)))))
    assert compose(graph) is graph


def test_quantized_graphs_are_left_alone() -> None:
    b = Net()
    x = b.input(2, 3)
    graph = b.graph(b.op(Mul(), x, b.op(Sigmoid(), x)))
    tensors = {n: Tensor(n, TensorType(t.type.shape, DType.INT8, QParams((0.1,)))) for n, t in graph.tensors.items()}
    graph = Graph("net", graph.nodes, tensors, graph.inputs, graph.outputs)
    assert compose(graph) is graph


def test_factor_and_term_join_where_no_layer_takes_them() -> None:
    b = Net()
    x = b.op(Silu(), b.input(2, 4, 3, 5))
    y = b.op(Add((0.0, 6.0)), b.op(Mul(), x, b.const(1, 1, 1, 5)), b.const(1, 1, 1, 1))
    graph = b.graph(y)
    result = join_affine(graph)
    assert kinds(result) == "silu depthwise_conv2d" and result.nodes[1].op.clamp == (0.0, 6.0)  # type: ignore[attr-defined]
    np.testing.assert_allclose(outputs(result, False)[y], outputs(graph, False)[y], rtol=1e-5, atol=1e-6)
    assert join_affine(result) is result and kinds(normalise(graph)) == "silu depthwise_conv2d"


def test_factor_that_is_read_elsewhere_does_not_join() -> None:
    b = Net()
    factor = b.op(Mul(), b.op(Tanh(), b.input(2, 5)), b.const(1, 5))
    graph = b.graph(b.op(Add(), factor, b.const(1, 5)), b.op(Silu(), factor))
    assert join_affine(graph) is graph
    b = Net()
    graph = b.graph(b.op(Add(), b.op(Mul((0.0, 1.0)), b.op(Tanh(), b.input(2, 5)), b.const(1, 5)), b.const(1, 5)))
    assert join_affine(graph) is graph


def chosen(b: Net, condition: str, a: str, other: str) -> str:
    """``condition ? a : other`` as the frontends spell it."""
    return b.op(Add(), b.op(Mul(), condition, a), b.op(Mul(), b.op(IsZero(), condition), other))


@pytest.mark.parametrize("term", [1e-5, 1e-6, 1e-7, 1e-12])
def test_a_small_term_that_keeps_a_logarithm_finite_stays(term: float) -> None:
    for above in ([Square(), Add()], [Sigmoid(), Add()], [Abs(), Clamp((term, math.inf))], [Sigmoid(), Clamp((0.0, 1 - max(term, 1e-7)))]):
        b = Net()
        x = b.input(2, 3)
        for op in above:
            x = b.op(op, x, scalar(b, term)) if isinstance(op, Add) else b.op(op, x)
        graph = b.graph(x)
        assert compose(graph) is graph, above


@pytest.mark.parametrize(("threshold", "found"), [(20.0, "softplus"), (0.0, "sub step softplus clamp is_zero mul add")])
def test_choices_between_two_sides_of_a_number(threshold: float, found: str) -> None:
    """Softplus as PyTorch's exporter writes it, which is softplus only for a threshold far enough."""
    b = Net()
    x = b.input(2, 3)
    y = chosen(b, b.op(Step(), b.op(Sub(), x, scalar(b, threshold))), x, b.op(Softplus(), x))
    assert kinds(composed(b.graph(y))) == found


def test_a_choice_of_slopes_is_a_leaky_relu() -> None:
    b = Net()
    x = b.input(2, 3)
    y = chosen(b, b.op(Step(), x), x, b.op(Mul(), x, scalar(b, 0.1)))
    assert kinds(composed(b.graph(y))) == "leaky_relu"


def test_a_single_number_may_be_an_exception() -> None:
    """SiLU but at 0.0125, which is no point of the grid; and a jump that is not where a straight line crosses 0."""
    for argument in (None, Square()):
        b = Net()
        x = b.input(2, 3)
        difference = b.op(Sub(), x, scalar(b, 0.0125))
        at = b.op(IsZero(), difference if argument is None else b.op(argument, difference))
        graph = b.graph(chosen(b, at, scalar(b, 5.0), b.op(Silu(), x)))
        assert "silu" in kinds(compose(graph)) and kinds(composed(graph)) != "silu"
