"""Attention spelled out becomes one operator, and nothing else does; a layer read in parts becomes a layer per part."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / "frontends")]
from onnx import ModelProto
from onnx_models import Net, feeds, load, real_outputs

from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.attention import Attention
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.transpose import Transpose
from edgeq.passes import normalise
from edgeq.passes.recognise_attention import recognise_attention
from edgeq.passes.remove_dead import remove_dead
from edgeq.passes.split_fully_connected import split_fully_connected
from edgeq.quantize import evaluate_float

T, S, H, D = 5, 5, 2, 4
F = np.float32
CAUSAL = np.triu(np.ones((T, S), bool), 1)
Scores = Callable[[Net, str], str]


def plain(net: Net, scores: str) -> str:
    return scores


def divided(net: Net, scores: str) -> str:
    return str(net.op("Div", scores, net.const(2.0, F)))


def causal(net: Net, scores: str) -> str:
    return str(net.op("Add", scores, net.const(np.where(CAUSAL, -1e9, 0), F)))


def padded(net: Net, scores: str) -> str:
    """The last two keys are no keys."""
    return str(net.op("Add", scores, net.const(np.where(np.arange(S) < 3, 0, -1e4), F)))


def chosen(net: Net, scores: str) -> str:
    return str(net.op("Where", net.const(~CAUSAL), scores, net.const(-np.inf, F)))


def biased(net: Net, scores: str) -> str:
    """A bias per head, and scaled once more behind it."""
    bias = net.const(np.linspace(-1, 1, H * T * S).reshape(1, H, T, S), F)
    return str(net.op("Mul", net.op("Sub", scores, bias), net.const(0.5, F)))


def model(scores: Scores, read_twice: bool = False) -> tuple[Graph, ModelProto]:
    net = Net()
    x = net.input(1, T, H * D)

    def heads(*order: int) -> str:
        made = net.op("MatMul", x, net.const(net.rng.normal(0, 0.4, (H * D, H * D)), F))
        return str(net.op("Transpose", net.op("Reshape", made, net.ints(1, T, H, D)), perm=order))

    q = net.op("Mul", heads(0, 2, 1, 3), net.const(0.7, F))
    p = net.op("Softmax", scores(net, net.op("MatMul", q, heads(0, 2, 3, 1))), axis=-1)
    y = net.op("MatMul", p, heads(0, 2, 1, 3))
    made = net.model(y, *([net.op("Identity", p)] if read_twice else []))
    return load(made), made


def kinds(graph: Graph) -> Counter[str]:
    return Counter(n.op.kind() for n in graph.nodes)


@pytest.mark.parametrize("scores", [plain, divided, causal, padded, chosen, biased])
def test_spellings(scores: Scores) -> None:
    graph, made = model(scores)
    found = normalise(graph)
    counts = kinds(found)
    assert counts["attention"] == 1 and not counts.keys() - {"attention", "fully_connected", "reshape", "transpose"}
    node = next(n for n in found.nodes if isinstance(n.op, Attention))
    assert isinstance(node.op, Attention) and node.op.causal == (scores in (causal, chosen))
    assert len(node.inputs) == (4 if scores in (padded, biased) else 3)
    arrays = feeds(made, 3)
    for a, b in zip(real_outputs(graph, arrays).values(), real_outputs(found, arrays).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_scores_that_are_an_output_stay() -> None:
    graph, _ = model(plain, read_twice=True)
    assert kinds(normalise(graph))["attention"] == 0


def test_a_query_without_a_key_is_left_alone() -> None:
    """Its softmax is that of the scores, however large the mask."""
    graph, _ = model(lambda net, scores: str(net.op("Add", scores, net.const(np.full((T, S), -1e4), F))))
    assert kinds(recognise_attention(graph))["attention"] == 0


def layer(parts: list[tuple[int, int]], moved: bool = False, outputs: int = 6) -> Graph:
    """A layer ``[4, 3] -> [4, 6]`` and slices ``(begin, size)`` of its channels, perhaps behind a transpose."""
    rng = np.random.default_rng(1)
    w, b = rng.normal(0, 1, (outputs, 3)).astype(F), rng.normal(0, 1, outputs).astype(F)
    tensors = [Tensor("x", TensorType((4, 3))), Tensor("w", TensorType(w.shape), w), Tensor("b", TensorType(b.shape), b)]
    nodes = [Node("fc", FullyConnected(), ("x", "w", "b"), ("h",))]
    tensors.append(Tensor("h", TensorType((4, outputs))))
    source = "h"
    if moved:
        nodes += [Node("r", Reshape((4, 3, 2)), ("h",), ("r",)), Node("t", Transpose((1, 0, 2)), ("r",), ("t",))]
        tensors += [Tensor("r", TensorType((4, 3, 2))), Tensor("t", TensorType((3, 4, 2)))]
        source = "t"
    for i, (begin, size) in enumerate(parts):
        op = Slice((begin, 0, 0), (size, 4, 2), (1, 1, 1)) if moved else Slice((0, begin), (4, size), (1, 1))
        nodes.append(Node(f"s{i}", op, (source,), (f"y{i}",)))
        tensors.append(Tensor(f"y{i}", TensorType(op.size)))
    graph = Graph("g", (), {t.name: t for t in tensors}, ("x",), tuple(f"y{i}" for i in range(len(parts))))
    return graph.with_nodes(nodes)


def outputs(graph: Graph) -> list[Array]:
    x = np.random.default_rng(2).normal(0, 1, (3, 4, 3)).astype(F)
    values = evaluate_float(graph, {"x": x})
    return [values[n] for n in graph.outputs]


@pytest.mark.parametrize(("graph", "layers"), [(layer([(0, 2), (2, 3)]), 2), (layer([(0, 1), (1, 1), (2, 1)], moved=True), 3)])
def test_a_layer_is_split(graph: Graph, layers: int) -> None:
    split = remove_dead(split_fully_connected(graph))
    assert kinds(split)["fully_connected"] == layers and "slice" not in kinds(split)
    for a, b in zip(outputs(graph), outputs(split), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("graph", [layer([(0, 3), (2, 3)]), layer([(0, 6)])])
def test_parts_that_overlap_or_are_the_whole_stay(graph: Graph) -> None:
    assert split_fully_connected(graph) is graph
