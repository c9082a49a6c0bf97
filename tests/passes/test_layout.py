"""Transposes sink, cancel and vanish; what the graph computes does not change by a bit where it only moves data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.evaluate import evaluate
from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.ops.activations import Sigmoid, Tanh
from edgeq.ops.add import Add
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gather import Gather
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.prelu import Prelu
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.passes import normalise
from edgeq.passes.layout import layout
from edgeq.passes.moves import Label, Move, label, refine, transpose, view
from edgeq.simulate import simulate

NHWC, NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


class Net:
    """Adds nodes one by one; every method returns the name of what it computes."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[str] = []

    def input(self, *shape: int) -> str:
        name = f"x{len(self.inputs)}"
        self.tensors[name] = Tensor(name, TensorType(shape))
        self.inputs.append(name)
        return name

    def const(self, *shape: int) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = Tensor(name, TensorType(shape), self.rng.normal(0, 1, shape).astype(np.float32))
        return name

    def op(self, op: Op, *inputs: str) -> str:
        name = f"t{len(self.tensors)}"
        computed = next(self.tensors[i].type for i in inputs if not self.tensors[i].is_constant)
        shape = op.infer(*(self.tensors[i].type for i in inputs)).shape
        self.tensors[name] = Tensor(name, TensorType(shape, computed.dtype, computed.q))
        self.nodes.append(Node(f"n{len(self.nodes)}", op, inputs, (name,)))
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].type.shape

    def conv(self, x: str, channels: int, k: int = 3) -> str:
        """A convolution of a tensor ``[N, C, H, W]``, as a frontend of that layout writes it."""
        x = self.op(Transpose(NHWC), x)
        y = self.op(Conv2d(pads=(k // 2,) * 4), x, self.const(channels, k, k, self.shape(x)[3]), self.const(channels))
        return self.op(Transpose(NCHW), y)

    def graph(self, *outputs: str) -> Graph:
        graph = Graph("net", tuple(self.nodes), {}, tuple(self.inputs), outputs)
        return check(Graph("net", (), self.tensors, graph.inputs, outputs).with_nodes(graph.nodes), "test")


def outputs(graph: Graph, exact: bool) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    if exact:
        return dict(simulate(graph, {n: rng.integers(-128, 128, (3, *graph.type(n).shape)).astype(np.int8) for n in graph.inputs}).outputs)
    arrays = {n: rng.normal(0, 1, (3, *graph.type(n).shape)).astype(np.float32) for n in graph.inputs}
    values = evaluate(graph, arrays, lambda node, x: node.op.real_all(*x), False)
    return {n: values[n] for n in graph.outputs}


def laid_out(graph: Graph, exact: bool = False) -> Graph:
    """The graph after the pass: a valid one of the same interface and outputs, that the pass leaves as it is."""
    result = check(layout(graph), "layout")
    assert (result.inputs, result.outputs) == (graph.inputs, graph.outputs)
    assert all(result.type(n) == graph.type(n) for n in (*graph.inputs, *graph.outputs))
    assert len({n.name for n in result.nodes}) == len(result.nodes)
    before, after = outputs(graph, exact), outputs(result, exact)
    for name in graph.outputs:
        np.testing.assert_allclose(after[name], before[name], rtol=0 if exact else 1e-5, atol=0 if exact else 1e-5)
    assert layout(result) is result
    return result


def kinds(graph: Graph) -> str:
    return " ".join(n.op.kind() for n in graph.nodes)


def middle(build: Any, expected: str) -> None:
    """What stands between two convolutions in NCHW is in NHWC afterwards: one transpose for the input, one for the output."""
    b = Net()
    y = build(b, b.conv(b.input(1, 3, 8, 6), 4))
    assert kinds(laid_out(b.graph(b.conv(y, 5)))) == f"transpose conv2d {expected} conv2d transpose"


ELEMENTWISE = {
    "clamp": lambda b, x: b.op(Clamp((0.0, math.inf)), x),
    "sigmoid": lambda b, x: b.op(Sigmoid(), x),
    "add": lambda b, x: b.op(Add(), x, x),
    "mul": lambda b, x: b.op(Mul(), x, b.const(1, 4, 1, 1)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_operators(name: str) -> None:
    middle(ELEMENTWISE[name], name)


def test_operators_with_axes() -> None:
    middle(lambda b, x: b.op(Concat(1), x, b.const(1, 2, 8, 6), x), "concat")
    middle(lambda b, x: b.op(Slice((0, 1, 7, 0), (1, 2, 4, 3), (1, 1, -2, 2)), x), "slice")
    middle(lambda b, x: b.op(Pad(((0, 0), (1, 0), (2, 1), (0, 3)), 0.5), x), "pad")
    middle(lambda b, x: b.op(Gather((3, 0, 0), (3,), 1), x), "gather")
    middle(lambda b, x: b.op(Mean((2,), True), x), "mean")
    middle(lambda b, x: b.op(ReduceMax((1, 3), True), x), "reduce_max")


def test_operators_along_the_last_axis() -> None:
    def last(op: Op, *constants: tuple[int, ...]) -> Any:
        def build(b: Net, x: str) -> str:
            return b.op(Transpose(NCHW), b.op(op, b.op(Transpose(NHWC), x), *(b.const(*c) for c in constants)))

        return build

    middle(last(Softmax()), "softmax")
    middle(last(Prelu(), (4,)), "prelu")


def test_an_operator_along_another_axis_keeps_its_transposes() -> None:
    b = Net()
    y = b.op(Softmax(), b.conv(b.input(1, 3, 8, 6), 4))  # along the width of [N, C, H, W]
    assert kinds(laid_out(b.graph(b.conv(y, 5)))) == "transpose conv2d transpose softmax transpose conv2d transpose"


def test_branches() -> None:
    """Residual sums, squeeze-and-excite by broadcasting, and a concatenation of all of them."""
    b = Net()
    x = b.conv(b.input(1, 3, 8, 6), 4)
    y = b.op(Add(), b.op(Clamp((0.0, 6.0)), b.conv(x, 4)), x)
    gate = b.op(Sigmoid(), b.conv(b.op(Mean((2, 3), True), y), 4, 1))
    z = b.op(Concat(1), b.op(Mul(), y, gate), x, b.op(Tanh(), b.conv(y, 2)))
    result = laid_out(b.graph(b.conv(z, 3)))
    assert kinds(result).count("transpose") == 2 and "reshape" not in kinds(result)


def test_one_channel_needs_no_transpose() -> None:
    b = Net()
    result = laid_out(b.graph(b.conv(b.op(Clamp((0.0, 1.0)), b.conv(b.input(1, 1, 8, 6), 4)), 1)))
    assert "transpose" not in kinds(result)


def test_matrices_take_permutations_into_their_weights() -> None:
    """Behind a flattened image, in front of one, and through activations in between."""
    b = Net()
    x = b.conv(b.input(2, 3, 4, 2), 4)
    x = b.op(Tanh(), b.op(Reshape((2, 32)), x))
    x = b.op(Clamp((0.0, 1.0)), b.op(FullyConnected(), x, b.const(24, 32), b.const(24)))
    y = b.conv(b.op(Reshape((2, 4, 3, 2)), x), 1)
    assert kinds(laid_out(b.graph(y))) == "transpose conv2d tanh reshape fully_connected clamp reshape conv2d reshape"


def test_shared_weights_are_permuted_for_the_layer_that_needs_it() -> None:
    b = Net()
    image = b.input(1, 4, 2, 4)
    w, bias = b.const(6, 32), b.const(6)
    flat = b.op(FullyConnected(), b.op(Reshape((1, 32)), b.conv(image, 4)), w, bias)
    plain = b.op(FullyConnected(), b.input(1, 32), w, bias)
    result = laid_out(b.graph(b.op(Add(), flat, plain)))
    assert kinds(result).count("transpose") == 1


def test_flattened_by_means() -> None:
    b = Net()
    x = b.conv(b.input(2, 3, 4, 6), 5)
    pooled = b.op(Mean((2, 3), False), x)
    merged = b.op(Mean((2,), False), b.op(Reshape((2, 5, 24)), x))
    result = laid_out(b.graph(b.op(Concat(1), pooled, merged)))
    assert kinds(result) == "transpose conv2d mean mean concat"


def test_channel_shuffle_stays_one_transpose() -> None:
    b = Net()
    x = b.conv(b.input(1, 3, 4, 6), 6)
    x = b.op(Reshape((1, 6, 4, 6)), b.op(Transpose((0, 2, 1, 3, 4)), b.op(Reshape((1, 2, 3, 4, 6)), x)))
    result = laid_out(b.graph(b.op(Mean((2, 3), False), b.conv(x, 4))))
    assert kinds(result) == "transpose conv2d reshape transpose reshape conv2d mean"


def test_one_dimensional_convolutions() -> None:
    """Rows of height 1: reshapes give way, so that activations meet the layers they belong to."""
    b = Net()

    def conv(x: str, out: int) -> str:
        n, c, length = b.shape(x)
        y = b.op(Transpose(NHWC), b.op(Reshape((n, c, 1, length)), x))
        y = b.op(Conv2d(pads=(0, 1, 0, 1)), y, b.const(out, 1, 3, c), b.const(out))
        return b.op(Reshape((n, out, length)), b.op(Transpose(NCHW), y))

    x = b.op(Clamp((0.0, math.inf)), conv(b.op(Clamp((0.0, math.inf)), conv(b.input(1, 5, 20), 8)), 4))
    assert kinds(normalise(laid_out(b.graph(b.op(Mean((2,), False), x))))) == "transpose reshape conv2d conv2d mean"


def test_moves_of_constants_are_done_at_once() -> None:
    b = Net()
    moved = b.op(Transpose((1, 0)), b.op(Add(), b.input(3, 4), b.const(3, 4)))
    held = b.const(4, 3)
    b.nodes.append(Node("held", Transpose((1, 0)), (held,), ("moved",)))
    b.tensors["moved"] = Tensor("moved", TensorType((3, 4)))
    result = laid_out(b.graph(b.op(Add(), b.op(Transpose((1, 0)), moved), "moved")))
    assert kinds(result) == "add add"


def test_interface_keeps_its_layout() -> None:
    """An input that is an output as well, an output in two layouts, a moved input as output."""
    b = Net()
    x = b.input(2, 3, 4)
    t = b.op(Transpose((0, 2, 1)), x)
    back = b.op(Transpose((0, 2, 1)), t)
    y = b.op(Clamp((0.0, 1.0)), t)
    laid_out(b.graph(t, back, y, b.op(Transpose((0, 2, 1)), y)))


def test_quantized_graph_keeps_its_scales_and_bytes() -> None:
    """Every tensor keeps its own scale; weights per channel are permuted with theirs."""
    b = Net()

    def quantized(name: str, scale: float, zero: int) -> str:
        t = b.tensors[name]
        b.tensors[name] = Tensor(name, TensorType(t.type.shape, DType.INT8, QParams((scale,), zero)))
        return name

    def weights(*shape: int) -> tuple[str, str]:
        w, bias = b.const(*shape), b.const(shape[0])
        scales = tuple(b.rng.uniform(0.002, 0.02, shape[0]).tolist())
        b.tensors[w] = Tensor(w, TensorType(shape, DType.INT8, QParams(scales, 0, 0)), b.rng.integers(-127, 128, shape).astype(np.int8))
        b.tensors[bias] = Tensor(bias, TensorType(shape[:1], DType.INT32), b.rng.integers(-900, 900, shape[0]).astype(np.int32))
        return w, bias

    x = b.op(Transpose(NHWC), quantized(b.input(1, 3, 4, 2), 0.05, 3))
    y = quantized(b.op(Conv2d(pads=(1, 1, 1, 1)), x, *weights(5, 3, 3, 3)), 0.03, -7)
    y = b.op(Transpose(NCHW), y)
    y = b.op(Reshape((1, 40)), quantized(b.op(Sigmoid(), y), 1 / 256, -128))
    y = quantized(b.op(FullyConnected(), y, *weights(30, 40)), 0.04, 5)
    y = b.op(Transpose(NHWC), b.op(Reshape((1, 5, 3, 2)), y))
    y = b.op(Transpose(NCHW), quantized(b.op(Conv2d(), y, *weights(2, 1, 1, 5)), 0.02, 1))
    result = laid_out(b.graph(y), exact=True)
    assert kinds(result) == "transpose conv2d sigmoid reshape fully_connected reshape conv2d transpose"


@dataclass(frozen=True)
class Step:
    kind: str
    choice: int


STEPS = ("conv", "clamp", "tanh", "add", "mul", "concat", "slice", "pad", "transpose", "reshape", "mean", "softmax", "dense", "branch")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.builds(Step, st.sampled_from(STEPS), st.integers(0, 23)), min_size=2, max_size=14))
def test_random_graphs(steps: list[Step]) -> None:
    """Whatever chain and branches: the same outputs, no more transposed bytes, and nothing left to do."""
    b = Net(len(steps))
    x = b.input(1, 4, 6, 3)
    seen = [x]
    for step in steps:
        x = _grow(b, x, seen, step)
        seen.append(x)
    graph = b.graph(x)
    assert _transposed(laid_out(graph)) <= _transposed(graph)


def _grow(b: Net, x: str, seen: list[str], step: Step) -> str:
    """One more node, if it fits."""
    shape, n = b.shape(x), step.choice
    rank = len(shape)
    match step.kind:
        case "conv" if rank == 4 and math.prod(shape) < 2000:
            return b.conv(x, 2 + n % 4)
        case "clamp" | "tanh":
            return b.op(Clamp((-0.5, 0.75)) if step.kind == "clamp" else Tanh(), x)
        case "add" | "mul":
            op = Add() if step.kind == "add" else Mul()
            same = [s for s in seen if b.shape(s) == shape]
            if n % 2 and same:
                return b.op(op, x, same[n % len(same)])
            return b.op(op, x, b.const(*(m if (n >> i) & 1 else 1 for i, m in enumerate(shape))))
        case "concat" if rank and math.prod(shape) < 2000:
            return b.op(Concat(n % rank), x, b.const(*shape), x)
        case "slice" if rank:
            begin = tuple(int(i == n % rank and m > 1) for i, m in enumerate(shape))
            return b.op(Slice(begin, tuple(m - a for m, a in zip(shape, begin, strict=True)), (1,) * rank), x)
        case "pad" if rank and math.prod(shape) < 2000:
            return b.op(Pad(tuple((n % 3, 1) if i == n % rank else (0, 0) for i in range(rank)), 0.5), x)
        case "transpose" if rank > 1:
            return b.op(Transpose(tuple(np.random.default_rng(n).permutation(rank).tolist())), x)
        case "reshape":
            size = math.prod(shape)
            inner = [d for d in range(1, size + 1) if size % d == 0][n % 4 % max(1, len([d for d in range(1, size + 1) if size % d == 0]))]
            return b.op(Reshape([(size,), (1, size), (size // inner, inner), (1, size // inner, inner, 1)][n % 4]), x)
        case "mean" if rank > 1:
            return b.op(Mean((n % rank,), bool(n & 8)), x)
        case "softmax" if rank:
            return b.op(Softmax(), x)
        case "dense" if rank and shape[-1] < 300:
            return b.op(FullyConnected(), x, b.const(3 + n % 5, shape[-1]), b.const(3 + n % 5))
        case "branch":
            return seen[n % len(seen)]
    return x


def _transposed(graph: Graph) -> int:
    """Elements that transposes copy."""
    return sum(graph.type(n.outputs[0]).size for n in graph.nodes if isinstance(n.op, Transpose) and not _views(graph, n))


def _views(graph: Graph, node: Node) -> bool:
    assert isinstance(node.op, Transpose)
    moving = [p for p in node.op.perm if graph.type(node.inputs[0]).shape[p] > 1]
    return moving == sorted(moving)


# The algebra of moves


def test_refine() -> None:
    assert refine((6, 4), (2, 12)) == (2, 3, 4)
    assert refine((2, 3), (3, 2)) is None
    assert refine((1, 5, 1), (5,)) == (5,)
    assert refine((1,), ()) == ()


shapes = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4).map(tuple)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(shapes, st.lists(st.tuples(st.booleans(), st.randoms()), min_size=1, max_size=5))
def test_moves_compose_and_invert(shape: tuple[int, ...], chain: list[tuple[bool, Any]]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape)
    moved, move = array, view(shape, shape)
    for turns, random in chain:
        if turns:
            perm = list(range(moved.ndim))
            random.shuffle(perm)
            step, after = transpose(moved.shape, perm), moved.transpose(perm)
        else:
            target = _regrouped(moved.shape, random)
            step, after = view(moved.shape, target), moved.reshape(target)
        assert np.array_equal(step.apply(moved), after)
        joined = move.then(step)
        if joined is None:  # splits that do not nest
            return
        move, moved = joined, after
    assert np.array_equal(move.apply(array), moved)
    back = move.then(move.inverse())
    assert back is not None and back.is_identity
    assert move.is_view == np.array_equal(moved.ravel(), array.ravel()) or array.size <= 1
    found = label(move)
    if found is not None:
        assert found.shape(shape) == moved.shape and found.move(shape) == move


def _regrouped(shape: tuple[int, ...], random: Any) -> tuple[int, ...]:
    """Another shape of as many elements: prime factors in order, grouped anew."""
    result: list[int] = []
    for n in shape:
        for p in (2, 3):
            while n % p == 0:
                n //= p
                if result and random.random() < 0.5:
                    result[-1] *= p
                else:
                    result.append(p)
        if random.random() < 0.3:
            result.append(1)
    return tuple(result)


def test_labels() -> None:
    assert label(transpose((1, 3, 4, 5), NHWC)) == Label(NHWC)
    move = view((2, 3, 4), (2, 3, 1, 4)).then(transpose((2, 3, 1, 4), NHWC))
    assert isinstance(move, Move) and label(move) == Label((0, -1, 2, 1))
    assert label(view((2, 12), (2, 3, 4))) is None
    assert Label((0, 2)).shape((2, 1, 3)) == (2, 3) and Label((0, 2)).shape((2, 4, 3)) is None
