"""Rules of single passes as formulas, each at its limits: what a pass asks for is left out once at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from random_graphs import Builder
from test_layout import Net
from test_remove_channels import assert_same_bytes, saturated

from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.numerics import LAWS
from edgeq.ops.activations import Sigmoid
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import MASKED
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gather import Gather
from edgeq.ops.mul import Mul
from edgeq.ops.prelu import Prelu
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.transpose import Transpose
from edgeq.passes import masking
from edgeq.passes.combine_moves import combine_moves
from edgeq.passes.fold_constants import fold_constants
from edgeq.passes.intervals import Interval, _step
from edgeq.passes.recognise_spectrum import _frames
from edgeq.passes.remove_channels import remove_channels
from edgeq.passes.rewrite import is_pointwise
from edgeq.simulate import simulate


def known(b: Net, data: Array) -> str:
    """A constant of these values."""
    name = b.const(*data.shape)
    b.tensors[name] = replace(b.tensors[name], data=np.asarray(data, np.float32))
    return name


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("op", [Add(), Sub(), Mul(), Maximum(), Minimum()], ids=lambda op: op.kind())
def test_bounds_of_two_operands_are_the_extremes_of_all_pairs(op: Op, law: str) -> None:
    alike = TensorType((1,), DType.INT8, QParams((0.04,), -5))
    types = [alike, alike] if op.kind() in ("maximum", "minimum") else [alike, replace(alike, q=QParams((0.03,), 9))]
    tensors = {n: Tensor(n, t) for n, t in zip("abc", (*types, types[0]), strict=True)}
    graph = Graph("pairs", (Node("n", op, ("a", "b"), ("c",)),), tensors, ("a", "b"), ("c",), law)
    for a, b in itertools.product(((-128, 127), (-9, 4), (30, 33)), repeat=2):
        pairs = np.array(list(itertools.product(range(a[0], a[1] + 1), range(b[0], b[1] + 1))), np.int8)
        y = simulate(graph, {"a": pairs[:, :1], "b": pairs[:, 1:]}).outputs["c"]
        found = _step(graph, graph.nodes[0], {n: Interval(*(np.array([v]) for v in r)) for n, r in (("a", a), ("b", b))})
        assert found is not None and (found.low.item(), found.high.item()) == (y.min(), y.max()), (a, b)


def test_moves_that_are_read_elsewhere_stay() -> None:
    """But for reshapes, which cost nothing."""

    def joined(first: Op, second: Op, twice: bool) -> int:
        b = Net(1)
        y = b.op(first, b.input(4, 6))
        z = b.op(second, y)
        graph = b.graph(z, *([b.op(Sigmoid(), y)] if twice else []))
        last = next(n for n in combine_moves(graph).nodes if n.outputs == (z,))
        return last.inputs == graph.inputs

    cut, turned = (Slice((1, 0), (3, 6), (1, 1)), Slice((0, 2), (2, 2), (1, 2))), (Transpose((1, 0)), Transpose((1, 0)))
    for pair, twice in itertools.product((cut, turned), (False, True)):
        assert joined(*pair, twice) != twice
    assert joined(Reshape((24,)), Reshape((8, 3)), True) and joined(Reshape((24,)), Reshape((8, 3)), False)


def test_constants_are_folded_but_for_a_copy_to_an_output() -> None:
    b = Net(2)
    c, x = b.const(2, 3), b.input(2, 3)
    b.tensors["shaped"] = Tensor("shaped", TensorType((3, 2)))
    b.tensors["doubled"] = Tensor("doubled", TensorType((2, 3)))
    b.tensors["copied"] = Tensor("copied", TensorType((6,)))
    b.nodes += [Node("r", Reshape((3, 2)), (c,), ("shaped",)), Node("d", Add(), (c, c), ("doubled",))]
    b.nodes.append(Node("k", Reshape((6,)), (c,), ("copied",)))
    graph = b.graph(b.op(Sub(), b.op(Reshape((3, 2)), x), "shaped"), "doubled", "copied")
    folded = fold_constants(graph)
    data, value = graph.tensors[c].data, folded.tensors["shaped"].data
    assert data is not None and value is not None and (value == data.reshape(3, 2)).all()
    made = {n.outputs[0]: n for n in folded.nodes}
    assert "shaped" not in made and made["copied"].inputs == (c,) and isinstance(made["doubled"].op, Reshape)
    source = folded.tensors[made["doubled"].inputs[0]].data
    assert source is not None and (source == 2 * data).all()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("shared", [False, True])
def test_constants_per_channel_lose_the_channels_that_go(law: str, shared: bool) -> None:
    """Of slopes and of factors; one that two layers read keeps its own for the other."""
    b = Builder(3, law, clamps=False)
    x = b.conv(b.input(1, 4, 4, 3), 6, 1)
    saturated(b, x, 2, 127)
    slope = b.constant("slope", np.arange(-60, 60, 20).astype(np.int8), QParams((0.01,), 0))
    factor = b.constant("factor", np.arange(6, dtype=np.int8).reshape(1, 1, 1, 6) * 9, QParams((0.02,), 0))
    y = b.node(Mul(), b.node(Prelu(), x, slope, q=b.q()), factor, q=b.q())
    outputs = [b.conv(y, 4, 1)]
    if shared:
        other = b.conv(b.input(1, 4, 4, 3), 6, 1)
        outputs.append(b.node(Mul(), b.node(Prelu(), other, slope, q=b.q()), factor, q=b.q()))
    smaller = assert_same_bytes(b.graph(*outputs))
    sizes = sorted(smaller.tensors[i].type.size for n in smaller.nodes if isinstance(n.op, Prelu | Mul) for i in n.inputs[1:])
    assert sizes == ([5, 5, 6, 6] if shared else [5, 5])


def test_float_graphs_lose_no_channels() -> None:
    b = Net(1)
    graph = b.graph(b.op(Sigmoid(), b.input(1, 3)))
    assert remove_channels(graph) is graph


@pytest.mark.parametrize(
    ("constant", "op", "fits"), [((1, 1), Add(), True), ((1, 1), Mul(), True), ((1, 3), Add(), False), ((2, 3), Add(), False)],
)  # fmt: skip
def test_an_operator_is_pointwise_with_single_numbers_alone(constant: tuple[int, ...], op: Op, fits: bool) -> None:
    b = Net(1)
    x = b.input(2, 3)
    graph = b.graph(b.op(op, x, b.const(*constant)))
    assert is_pointwise(graph, graph.nodes[0]) is fits


def test_two_computed_operands_are_pointwise_where_they_have_the_results_shape() -> None:
    b = Net(1)
    x, y, z = b.input(2, 3), b.input(2, 3), b.input(1, 3)
    graph = b.graph(b.op(Add(), x, y), b.op(Add(), x, z), b.op(Transpose((1, 0)), x))
    assert [is_pointwise(graph, n) for n in graph.nodes] == [True, False, False]


FRAMES: dict[str, tuple[Conv2d | FullyConnected, tuple[int, ...], tuple[int, ...], bool]] = {  # operator, input, weights, whether it fits
    "dense": (FullyConnected(), (6, 8), (5, 8), True),
    "dense, limited": (FullyConnected(clamp=(0.0, np.inf)), (6, 8), (5, 8), False),
    "along width": (Conv2d((1, 4)), (1, 1, 40, 1), (5, 1, 8, 1), True),
    "along height": (Conv2d((4, 1)), (1, 40, 1, 1), (5, 8, 1, 1), True),
    "limited": (Conv2d((1, 4), clamp=(-1.0, 1.0)), (1, 1, 40, 1), (5, 1, 8, 1), False),
    "padded": (Conv2d((1, 4), pads=(0, 4, 0, 0)), (1, 1, 40, 1), (5, 1, 8, 1), True),
    "dilated": (Conv2d((1, 4), dilation=(1, 2)), (1, 1, 40, 1), (5, 1, 8, 1), False),
    "of two signals": (Conv2d((1, 4)), (2, 1, 40, 1), (5, 1, 8, 1), False),
    "of two channels": (Conv2d((1, 4)), (1, 1, 40, 2), (5, 1, 8, 2), False),
    "of two rows": (Conv2d((1, 4)), (1, 2, 40, 1), (5, 1, 8, 1), False),
    "in groups": (Conv2d((1, 4), groups=2), (1, 1, 40, 2), (6, 1, 8, 1), False),
    "pointwise": (Conv2d(), (1, 1, 6, 8), (5, 1, 1, 8), True),
    "pointwise with steps": (Conv2d((1, 2)), (1, 1, 6, 8), (5, 1, 1, 8), False),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_layers_that_multiply_frames_of_samples(name: str) -> None:
    op, shape, weights, fits = FRAMES[name]
    b = Net(1)
    bias = known(b, np.zeros(weights[0]))
    graph = b.graph(b.op(op, b.input(*shape), b.const(*weights), bias))
    found = _frames(graph, graph.nodes[0])
    assert (found is not None) == fits
    graph.tensors[bias].data[1] = 0.5  # type: ignore[index]
    assert _frames(graph, graph.nodes[0]) is None


def rows(steps: Callable[[Net, str], str], reduce: bool = True) -> bool:
    """Whether steps behind the largest value of each row of a mask make its flag."""
    b = Net(1)
    mask = b.input(2, 3, 5)
    y = b.op(ReduceMax((2,), True), mask) if reduce else mask
    flag = steps(b, y)
    graph = b.graph(flag)
    return masking.hides_rows(graph, {n.outputs[0]: n for n in graph.nodes}, flag, [mask])


def test_a_flag_is_1_where_a_row_counts_and_0_where_it_is_excluded() -> None:
    def limited(b: Net, y: str) -> str:
        """min(1, max(0, 1 + y / 1000))."""
        size = int(np.prod(b.shape(y)))
        scaled = b.op(Mul(), b.op(Reshape((size,)), y), known(b, np.array([1e-3])))
        return b.op(Reshape((2, 3, size // 6)), b.op(Clamp((0.0, 1.0)), b.op(Add(), scaled, known(b, np.array([1.0])))))

    assert rows(limited)
    assert not rows(limited, reduce=False)
    assert not rows(lambda b, y: b.op(Sigmoid(), y))  # 1/2 where the row counts
    assert not rows(lambda b, y: b.op(Sub(), limited(b, y), known(b, np.full((1, 1, 1), 0.5))))
    assert not rows(lambda b, y: b.op(Add(), limited(b, y), known(b, np.zeros((2, 3, 1)))))  # a number for each row
    assert not rows(lambda b, y: b.op(Mul(), limited(b, y), limited(b, y)))  # of two computed ones
    assert not rows(lambda b, y: b.op(Add(clamp=(0.0, 0.5)), y, known(b, np.ones((1, 1, 1)))))


def test_the_largest_value_has_to_be_that_masks() -> None:
    b = Net(1)
    mask, other = b.input(2, 3, 5), b.input(2, 3, 5)
    flag = b.op(Clamp((0.0, 1.0)), b.op(Add(), b.op(ReduceMax((2,), True), b.op(Reshape((2, 3, 5)), mask)), known(b, np.ones((1, 1, 1)))))
    graph = b.graph(flag, b.op(Sigmoid(), other))
    producers = {n.outputs[0]: n for n in graph.nodes}
    assert masking.hides_rows(graph, producers, flag, [other, mask])
    assert not masking.hides_rows(graph, producers, flag, [other])


def choice(indices: list[int], values: Array, shape: tuple[int, ...] = (6,), axis: int = 0) -> tuple[str, Array] | None:
    b = Net(1)
    scores = b.input(*shape)
    joined = b.op(Concat(axis), scores, known(b, values))
    graph = b.graph(b.op(Gather(tuple(indices), (2, 3), axis), joined))
    return masking.selected(graph, {n.outputs[0]: n for n in graph.nodes}, graph.nodes[-1])


def test_scores_that_are_chosen_by_known_truth_values() -> None:
    low = np.array([2 * MASKED, 0.0])
    found = choice([0, 6, 2, 3, 6, 5], low)
    assert found is not None and found[0] == "x0"
    np.testing.assert_array_equal(found[1], [[0, 2 * MASKED, 0], [0, 2 * MASKED, 0]])
    whole = choice([0, 1, 2, 3, 4, 5], low)
    assert whole is not None and not whole[1].any()
    assert choice([0, 7, 2, 3, 4, 5], low) is None  # 0 excludes nothing
    assert choice([1, 0, 2, 3, 4, 5], low) is None  # another place
    assert choice([0, 6, 2, 3, 4, 5], np.array([MASKED])) is None  # just not below it
    assert choice([0, 1, 2, 3, 4, 5], np.zeros((2, 1)), (6, 1)) is None  # of two axes


def test_a_choice_between_computed_scores_is_none() -> None:
    b = Net(1)
    joined = b.op(Concat(0), b.input(6), b.input(1))
    graph = check(b.graph(b.op(Gather((0, 6, 2, 3, 4, 5), (2, 3), 0), joined)), "test")
    assert masking.selected(graph, {n.outputs[0]: n for n in graph.nodes}, graph.nodes[-1]) is None
