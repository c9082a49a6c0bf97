"""Graphs with states are walked part by part: the same values as vector by vector, whatever the cycles and the chunks."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq import evaluate
from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.activations import Sigmoid
from edgeq.ops.add import Add, Sub
from edgeq.quantize.floating import real_step

SHAPE = (1, 3)
NODES = (  # a state fed back, one in a longer loop, a delayed value, one delayed twice, one that stays, and what reads them
    Node("sum", Add(), ("x", "s"), ("s'",)),
    Node("early", Sigmoid(), ("late",), ("e",)),
    Node("near", Sub(), ("x", "far"), ("n",)),
    Node("far", Sigmoid(), ("n",), ("far'",)),
    Node("both", Add(), ("s'", "far'"), ("b",)),
    Node("last", Add(), ("e", "later"), ("l",)),
    Node("kept", Add(), ("l", "k"), ("y",)),
)
STATES = (("s", "s'"), ("late", "b"), ("far", "far'"), ("later", "late'"), ("k", "k'"))


def network() -> Graph:
    """Floats; ``late'`` and ``k'`` are values of the step itself, by a node each."""
    nodes = (*NODES, Node("hand", Add(), ("late", "zero"), ("late'",)), Node("stay", Add(), ("k", "zero"), ("k'",)))
    names = dict.fromkeys(["x", *(a for a, _ in STATES), *(t for n in nodes for t in n.outputs)])
    tensors = {n: Tensor(n, TensorType(SHAPE)) for n in names}
    tensors["zero"] = Tensor("zero", TensorType(SHAPE), np.zeros(SHAPE, np.float32))
    return Graph("net", nodes, tensors, ("x", *(a for a, _ in STATES)), ("y", "zero", *(b for _, b in STATES)), states=STATES)


def naive(graph: Graph, x: Array) -> dict[str, Array]:
    """Every activation, one vector after the other."""
    state = {a: np.zeros((1, *SHAPE), np.float32) for a, _ in graph.states}
    rows = []
    for v in range(len(x)):
        rows.append(evaluate.evaluate(graph, {"x": x[v : v + 1], **state}, real_step, True))
        state = {a: rows[-1][b] for a, b in graph.states}
    return {n: np.concatenate([r[n] for r in rows]) for n, t in graph.tensors.items() if not t.is_constant}


@pytest.mark.parametrize("size", [1, 4, 100])
def test_parts_give_what_single_steps_give(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "CHUNK_BYTES", 64 * 3 * size)
    graph, x = network(), np.random.default_rng(1).normal(size=(11, *SHAPE)).astype(np.float32)
    expected = naive(graph, x)
    chunks = list(evaluate.follow(graph, {"x": x}, real_step, keep=True))
    assert len(chunks) == -(-11 // size)
    for name, values in expected.items():
        assert np.array_equal(np.concatenate([c[name] for c in chunks]), values), name
    assert np.array_equal(np.concatenate([c["zero"] for c in chunks]), np.zeros((11, *SHAPE)))
    plain = np.concatenate([c["y"] for c in evaluate.follow(graph, {"x": x}, real_step)])
    assert np.array_equal(plain, expected["y"])
    found = evaluate.follow_states(graph, {"x": x}, real_step)
    assert all(np.array_equal(found[a], expected[a]) for a, _ in STATES)


def test_only_what_lies_on_a_cycle_is_walked_vector_by_vector() -> None:
    counts: dict[str, int] = {}

    def step(node: Node, x: list[Array]) -> tuple[Array, ...]:
        counts[node.name] = counts.get(node.name, 0) + 1
        return real_step(node, x)

    list(evaluate.follow(network(), {"x": np.zeros((7, *SHAPE), np.float32)}, step))
    assert {n for n, c in counts.items() if c == 7} == {"sum", "near", "far", "stay"}
    assert {n for n, c in counts.items() if c == 1} == {"early", "both", "last", "kept", "hand"}
