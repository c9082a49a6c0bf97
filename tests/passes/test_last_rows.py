"""A recurrent layer of which only the last steps are read keeps two rows, and everything that is computed of them stays."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.gru import Gru
from edgeq.ops.slice import Slice
from edgeq.passes import normalise
from edgeq.passes.last_rows import last_rows
from edgeq.simulate import simulate

STEPS, INPUTS, UNITS, GATES = 7, 3, 4, 12
UNIT = QParams((1 / 128,), 0)


def network(*slices: Slice, reverse: bool = False, outputs: tuple[str, ...] = ()) -> Graph:
    """A GRU in int8, and slices of its rows, which are the outputs with others that are named."""
    rng = np.random.default_rng(0)

    def weights(name: str, depth: int) -> Tensor:
        t = TensorType((GATES, depth), DType.INT8, QParams((0.02,) * GATES, 0, 0))
        return Tensor(name, t, rng.integers(-127, 128, t.shape).astype(np.int8))

    def bias(name: str, scale: float) -> Tensor:
        return Tensor(name, TensorType((GATES,), DType.INT32, QParams((0.02 * scale,) * GATES, 0, 0)), np.zeros(GATES, np.int32))

    x = Tensor("x", TensorType((STEPS, INPUTS), DType.INT8, QParams((0.02,), 0)))
    h = Tensor("h", TensorType((1, UNITS), DType.INT8, UNIT), np.zeros((1, UNITS), np.int8))
    tensors = [x, weights("w", INPUTS), weights("r", UNITS), bias("b", 0.02), bias("c", 1 / 128), h]
    op = Gru(reverse)
    y = Tensor("y", TensorType((STEPS, UNITS), DType.INT8, UNIT))
    nodes = [Node("gru", op, ("x", "w", "r", "b", "c", "h"), ("y",))]
    ends = [f"s{i}" for i in range(len(slices))]
    nodes += [Node(n, s, ("y",), (n,)) for n, s in zip(ends, slices, strict=True)]
    tensors += [y, *(Tensor(n, s.infer(y.type)) for n, s in zip(ends, slices, strict=True))]
    return Graph("net", tuple(nodes), {t.name: t for t in tensors}, ("x",), (*ends, *outputs), "single")


def rows(begin: int, size: int = 1, stride: int = 1, first: int = 0, units: int = UNITS) -> Slice:
    return Slice((begin, first), (size, units), (stride, 1))


@pytest.mark.parametrize(
    ("slices", "reverse"),
    [
        ((rows(6),), False), ((rows(5),), False), ((rows(5, 2),), False), ((rows(6, 2, -1),), False),
        ((rows(6, first=1, units=2), rows(5)), False), ((rows(0),), True), ((rows(1),), True), ((rows(0, 2), rows(1, 2, -1)), True),
    ],
)  # fmt: skip
def test_two_rows_are_kept_and_the_bytes_stay(slices: tuple[Slice, ...], reverse: bool) -> None:
    graph = network(*slices, reverse=reverse)
    short = normalise(graph)
    (kept,) = (n.outputs[0] for n in short.nodes if isinstance(n.op, Gru))
    assert short.type(kept).shape == (2, UNITS) and "y" not in short.tensors and last_rows(short) is short
    x = {"x": np.random.default_rng(1).integers(-128, 128, (5, STEPS, INPUTS)).astype(np.int8)}
    own, other = (simulate(g, x).outputs for g in (graph, short))
    assert own.keys() == other.keys() and all(np.array_equal(own[n], other[n]) for n in own)


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (network(rows(4)), "an earlier row"), (network(rows(4, 2, 2)), "two rows of which one is earlier"),
        (network(rows(0), rows(6)), "two readers"), (network(rows(6), outputs=("y",)), "the output"),
        (network(rows(6), reverse=True), "the first step"), (network(outputs=("y",)), "no reader"),
    ],
)  # fmt: skip
def test_rows_that_are_read_stay(graph: Graph, why: str) -> None:
    assert last_rows(graph) is graph, why


def test_two_of_two_rows_are_refused() -> None:
    types = [network().type(n) for n in ("w", "r", "b", "c", "h")]
    with pytest.raises(EdgeqError, match="the last 2 rows of 2"):
        Gru(last=True).infer(TensorType((2, INPUTS), DType.INT8, UNIT), *types)
