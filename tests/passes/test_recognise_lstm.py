"""LSTM cells spelled out in primitive nodes: found whatever their matrices are made of, over frames equal to onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "frontends"))
from onnx_models import Net, close, feeds, kinds, load, onnxruntime_outputs, real_outputs

from edgeq.ir import Graph
from edgeq.passes import normalise
from edgeq.passes.multiply_out import multiply_out

IN, H = 6, 4


def cell(b: Net, gates: tuple[str, ...], c: str, order: bool = True) -> tuple[str, str]:
    """The nodes after the pre-activations i, f, g, o."""
    i, f, o = (b.op("Sigmoid", gates[k]) for k in (0, 1, 3))
    kept, new = b.op("Mul", f, c), b.op("Mul", b.op("Tanh", gates[2]), i)
    c = b.op("Add", *((kept, new) if order else (new, kept)))
    return b.op("Mul", b.op("Tanh", c), o), c


def joined() -> onnx.ModelProto:
    """One product for x and h side by side, then a split."""
    b = Net()
    x, h, c = b.input(1, IN, name="x"), b.input(1, H, name="h"), b.input(1, H, name="c")
    sums = b.op("Gemm", b.op("Concat", x, h, axis=1), b.random(IN + H, 4 * H), b.random(4 * H))
    return b.model(*cell(b, tuple(b.op("Split", sums, outputs=4, axis=1)), c))


def apart() -> onnx.ModelProto:
    """A product per gate and tensor; x comes through a narrow layer, states have another shape."""
    b = Net()
    x, h, c = b.input(1, IN, name="x"), b.input(1, 1, H, name="h"), b.input(1, 1, H, name="c")
    x = b.op("Relu", b.op("MatMul", x, b.random(IN, 5)))
    x = b.op("MatMul", x, b.random(5, 2))
    gates = []
    for _ in range(4):
        term = b.op("Add", b.op("MatMul", x, b.random(2, H)), b.random(H))
        gates.append(b.op("Add", b.op("MatMul", h, b.random(H, H)), b.op("Unsqueeze", term, b.ints(0))))
    return b.model(*cell(b, tuple(gates), c, False))


def recognised(model: onnx.ModelProto) -> Graph:
    graph = normalise(load(model))
    arrays = feeds(model, 5)
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))
    return graph


def test_products_side_by_side() -> None:
    graph = recognised(joined())
    assert kinds(graph) == ["lstm"]
    assert graph.type(graph.nodes[0].inputs[1]).shape == (4 * H, IN)


def test_products_apart() -> None:
    graph = recognised(apart())
    (node,) = (n for n in graph.nodes if n.op.kind() == "lstm")
    assert graph.type(node.inputs[1]).shape == (4 * H, 2), "W begins where the input is narrowest"
    assert set(kinds(graph)) <= {"reshape", "fully_connected", "lstm"} and kinds(graph).count("fully_connected") == 2


def test_what_is_no_cell_stays() -> None:
    b = Net()
    x, h, c = b.input(1, IN, name="x"), b.input(1, H, name="h"), b.input(1, H, name="c")
    sums = b.op("Gemm", b.op("Concat", x, h, axis=1), b.random(IN + H, 4 * H), b.random(4 * H))
    i, f, g, o = b.op("Split", sums, outputs=4, axis=1)
    assert "lstm" not in kinds(recognised(b.model(*cell(b, (i, f, b.op("Mul", g, g), o), c))))
    b = Net()
    x, c = b.input(1, IN, name="x"), b.input(1, H, name="c")
    gates = tuple(b.op("MatMul", x, b.random(IN, H)) for _ in range(4))
    assert "lstm" not in kinds(recognised(b.model(*cell(b, gates, c)))), "no state is fed back"


def low_rank(rank: int, bias: bool = True) -> onnx.ModelProto:
    """R of H = 12 units as two factors, W as one."""
    b, units = Net(), 12
    x, h, c = b.input(1, IN, name="x"), b.input(1, units, name="h"), b.input(1, units, name="c")
    own = b.op("Gemm", x, b.random(IN, 4 * units), b.random(4 * units)) if bias else b.op("MatMul", x, b.random(IN, 4 * units))
    sums = b.op("Add", b.op("MatMul", b.op("MatMul", h, b.random(units, rank)), b.random(rank, 4 * units)), own)
    return b.model(*cell(b, tuple(b.op("Split", sums, outputs=4, axis=1)), c))


@pytest.mark.parametrize("bias", [True, False])
def test_fewer_factors_than_weights_stay(bias: bool) -> None:
    graph = recognised(low_rank(3, bias))
    assert "lstm" not in kinds(graph) and [kinds(graph).count(k) for k in ("lstm_cell", "fully_connected")] == [1, 3]
    assert multiply_out(graph) is graph, "they are fewer products, too"
    dense = multiply_out(graph, always=True)
    assert kinds(dense).count("lstm") == 1 and "fully_connected" not in kinds(dense)
    arrays = feeds(low_rank(3, bias), 5)
    close(real_outputs(dense, arrays), onnxruntime_outputs(low_rank(3, bias), arrays))


def test_more_factors_than_weights_become_weights() -> None:
    assert kinds(recognised(low_rank(11))) == ["lstm"]


def test_factors_that_cost_more_products_than_they_save_weights() -> None:
    """A tensor train of rank 80: a third of the weights, six times the products."""
    b, units, side, rank = Net(), 16, 4, 8
    x, h, c = b.input(1, units, name="x"), b.input(1, units, name="h"), b.input(1, units, name="c")
    terms = []
    for source in (x, h):
        first = b.op("MatMul", b.random(rank * side, side), b.op("Reshape", source, b.ints(side, side)))
        turned = b.op("Transpose", b.op("Reshape", first, b.ints(rank, side, side)), perm=[1, 2, 0])
        second = b.op("MatMul", b.op("Reshape", turned, b.ints(side, rank * side)), b.random(rank * side, 4 * side))
        terms.append(b.op("Reshape", second, b.ints(1, 4 * units)))
    sums = b.op("Add", b.op("Add", terms[0], b.random(4 * units)), terms[1])
    model = b.model(*cell(b, tuple(b.op("Split", sums, outputs=4, axis=1)), c))
    graph, arrays = recognised(model), feeds(model, 5)
    assert kinds(graph).count("lstm_cell") == 1
    dense = multiply_out(graph)
    assert kinds(dense).count("lstm") == 1 and "lstm_cell" not in kinds(dense)
    close(real_outputs(dense, arrays), onnxruntime_outputs(model, arrays))


@pytest.mark.parametrize(("name", "dense"), [("tt_rank_8", False), ("tt_rank_80", True)])
def test_tensor_trains(data: Path, name: str, dense: bool) -> None:
    model = onnx.load(data / "denoiser" / f"{name}.onnx")
    graph = normalise(load(model))
    assert [kinds(graph).count(k) for k in ("lstm_cell", "fully_connected", "slice")] == [2, 11, 0]
    graph = multiply_out(graph)
    wanted_kinds = [2, 0, 3, 0, 0] if dense else [0, 2, 11, 0, 8]
    assert [kinds(graph).count(k) for k in ("lstm", "lstm_cell", "fully_connected", "slice", "transpose")] == wanted_kinds
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    states = {n: np.zeros((1, 256), np.float32) for n in graph.inputs if n != "input"}
    ours, rng = states, np.random.default_rng(0)
    for _ in range(50):
        frame = np.abs(rng.normal(0, 1, (1, 257, 1))).astype(np.float32)
        wanted = dict(zip(graph.outputs, session.run(list(graph.outputs), {"input": frame, **states}), strict=True))
        got = {n: a[0] for n, a in real_outputs(graph, {"input": frame[None], **{n: a[None] for n, a in ours.items()}}).items()}
        for output, a in wanted.items():
            np.testing.assert_allclose(got[output], a, atol=1e-4, err_msg=output)
        states, ours = ({n: d[n.replace("_in", "_out")] for n in states} for d in (wanted, got))
