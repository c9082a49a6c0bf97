"""Measures of what a unit costs, each against its formula on layers small enough to count by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_graphs import Floats, dense

from edgeq.ir import Array, Graph
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.softmax import Softmax
from edgeq.quantize.sensitivity import MEASURES, Probe, entropy_blocks
from edgeq.quantize.storage import HALF, INT8, WEIGHTS, units

RNG = np.random.default_rng(1)
FEW = {INT8: 1, WEIGHTS: 3}  # largest integers
X = RNG.normal(0, 1, (50, 1, 5)).astype(np.float32)
W = RNG.normal(0, 1, (3, 5)).astype(np.float32)


def probe(graph: Graph, x: Array, usual: str = HALF, base: Array | None = None) -> Probe:
    def measure(storage: object) -> Array:
        raise AssertionError("nothing is simulated")

    return Probe(graph, {"x": x}, dict.fromkeys((n.name for n in graph.nodes), usual), np.zeros(1) if base is None else base, measure, FEW)


def rounded(w: Array, limit: int) -> Array:
    """Each row to the multiples of the scale, of those that cut off up to two fifths, which lie nearest to it."""
    found = np.empty(w.shape)
    for o, row in enumerate(w.astype(np.float64)):
        ways = [np.abs(row).max() * part / limit for part in np.linspace(1, 0.6, 41)]
        tried = [np.clip(np.rint(row / s), -limit, limit) * s for s in ways]
        found[o] = min(tried, key=lambda t: ((t - row) ** 2).sum())
    return found


def measured(name: str, graph: Graph, x: Array, storage: str = INT8, usual: str = HALF) -> float:
    (unit,) = [u for u in units(graph) if u.name == "y"]
    found = MEASURES[name](probe(graph, x, usual), unit, storage)
    assert found.shape == (1,)
    return float(found[0])


def beyond(part: Array, of: Array) -> float:
    return float((part.astype(np.float64) ** 2).sum() / (of.astype(np.float64) ** 2).sum())


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_a_storage_that_rounds_no_weights_costs_none(name: str) -> None:
    p = probe(dense(W), X)
    p = replace(p, measure=lambda storage: np.zeros(1))
    (unit,) = units(p.graph)
    assert MEASURES[name](p, unit, HALF).tolist() == [0.0]


@pytest.mark.parametrize("usual", [HALF, WEIGHTS])
def test_layer_error_is_of_the_outputs_of_the_layer(usual: str) -> None:
    x, w = X[:, 0].astype(np.float64), W.astype(np.float64)
    want = beyond(x @ (rounded(W, 1) - w).T, x @ w.T)
    if usual == WEIGHTS:
        want -= beyond(x @ (rounded(W, 3) - w).T, x @ w.T)
    assert measured("layer-error", dense(W), X, usual=usual) == pytest.approx(want, rel=1e-4)
    assert measured("layer-error", dense(W), X, WEIGHTS, INT8) == 0, "no less than nothing"


def test_layer_error_sees_so_many_samples() -> None:
    many = np.concatenate([X, X[:14], 100 * X])  # the first 64
    x, w = many[:64, 0].astype(np.float64), W.astype(np.float64)
    assert measured("layer-error", dense(W), many) == pytest.approx(beyond(x @ (rounded(W, 1) - w).T, x @ w.T), rel=1e-4)


@pytest.mark.parametrize("usual", [HALF, WEIGHTS])
def test_zeros_are_what_rounding_makes_zero(usual: str) -> None:
    w = np.array([[0.0, 1.0, 0.4, 0.3, -0.2], [-3.0, 0.0, 0.1, 3.0, 1.2], [1.0, 1.0, -1.0, 1.0, -1.0]])
    gone = [int(((rounded(w, limit) == 0) & (w != 0)).sum()) for limit in (1, 3)]
    assert gone[0] > gone[1] > 0
    want = gone[0] - (gone[1] if usual == WEIGHTS else 0)
    assert measured("zeros", dense(w), X, usual=usual) == pytest.approx(want / 13)
    assert measured("zeros", dense(w), X, WEIGHTS, INT8) == 0


def test_z_scores_count_what_lies_far_above_the_mean() -> None:
    w = np.array([[0.0] * 9 + [10.0], [0.0] * 9 + [9.0]])
    x = np.zeros((3, 1, 10), np.float32)
    assert ((w - w.mean()) > w.std()).sum() == 2
    assert measured("z-scores", dense(w), x) == pytest.approx(2 / 20), "over the square of 1"
    assert measured("z-scores", dense(w), x, WEIGHTS) == pytest.approx(2 / 20 / 9)
    assert measured("z-scores", dense(w), x, INT8, WEIGHTS) == pytest.approx(2 / 20 * (1 - 1 / 9))
    assert measured("z-scores", dense(-w), x) == 0 and measured("z-scores", dense(w), x, WEIGHTS, INT8) == 0


def test_the_trace_times_the_mean_square_error() -> None:
    """Of one weight per output, whatever its sign is: the outputs move by the sample."""
    w, x = np.array([[1.0], [0.4], [-0.3], [2.0]]), RNG.normal(0, 1, (40, 1, 1)).astype(np.float32)
    w3 = w[:, [0, 0]] * [1.0, 0.45]
    x3 = np.concatenate([x, np.zeros_like(x)], axis=2)  # the second weight moves nothing
    square = float((x.astype(np.float64) ** 2).sum())
    curvature = len(w3) * square / beyond(x3[:, 0] @ w3.T, np.ones(1))
    error = ((rounded(w3, 1) - w3) ** 2).sum()
    assert error > 0
    assert measured("trace", dense(w3), x3) == pytest.approx(curvature * error / w3.size, rel=2e-3)
    less = error - ((rounded(w3, 3) - w3) ** 2).sum()
    assert measured("trace", dense(w3), x3, usual=WEIGHTS) == pytest.approx(curvature * less / w3.size, rel=2e-3)
    assert measured("trace", dense(w3), np.concatenate([x3, x3[:24], 50 * x3])) == pytest.approx(
        measured("trace", dense(w3), np.concatenate([x3, x3[:24]]))
    ), "64 samples see it"


def test_the_trace_is_told_apart_by_outputs() -> None:
    b = Floats()
    x = b.input(1, 5)
    other = b.layer(FullyConnected(), x, W, name="z")
    graph = b.graph(b.layer(FullyConnected(), x, W, name="y"), other)
    found = MEASURES["trace"](probe(graph, X, base=np.zeros(4)), units(graph)[1], INT8)
    assert units(graph)[1].name == "y" and found[0] > 0 and found.tolist() == [found[0], 0.0] * 2


@pytest.mark.parametrize("usual", [HALF, WEIGHTS])
def test_the_largest_eigenvalue_times_the_square_error(usual: str) -> None:
    """That of the samples' second moments, where every output has weights of its own."""
    x = X[:32] * np.array([4.0, 1.0, 1.0, 0.5, 0.5], np.float32)
    moments = x[:, 0].astype(np.float64).T @ x[:, 0]
    error = ((rounded(W, 1) - W) ** 2).sum() - (((rounded(W, 3) - W) ** 2).sum() if usual == WEIGHTS else 0)
    want = np.linalg.eigvalsh(moments)[-1] / beyond(x[:, 0] @ W.T, np.ones(1)) * error
    assert measured("eigenvalue", dense(W), x, usual=usual) == pytest.approx(want, rel=1e-2)
    assert measured("eigenvalue", dense(W), np.concatenate([x, 9 * x]), usual=usual) == pytest.approx(want, rel=1e-2), "32 samples see it"


def test_the_largest_eigenvalue_is_that_before_a_softmax_and_behind_clamps() -> None:
    x = X[:32]
    plain = Floats()
    h = plain.layer(FullyConnected(), plain.input(1, 5), W, name="y")
    graph = plain.graph(plain.op(Softmax(), plain.layer(FullyConnected(), h, 2 * np.eye(3)), name="z"))
    assert measured("eigenvalue", graph, x) == pytest.approx(measured("eigenvalue", dense(W), x), rel=1e-2)
    cut = Floats()
    graph = cut.graph(cut.layer(FullyConnected(clamp=(0.0, np.inf)), cut.input(1, 5), np.abs(W), np.full(3, -1e6), name="y"))
    assert measured("eigenvalue", graph, x) == 0, "nothing moves what is cut off"


def test_output_noise_is_what_is_measured_beyond_the_usual() -> None:
    graph = dense(W)
    asked = []

    def measure(storage: object) -> Array:
        asked.append(storage)
        return np.array([0.5, 0.1])

    p = replace(probe(graph, X, base=np.array([0.2, 0.3])), measure=measure)
    assert MEASURES["output-noise"](p, units(graph)[0], INT8) == pytest.approx([0.3, 0.0])
    assert asked == [{"y": INT8}]


def test_rows_are_output_channels() -> None:
    """Of a depthwise layer the last axis."""
    b = Floats()
    w = RNG.normal(0, 1, (1, 2, 2, 6)) * 4.0 ** np.arange(6)
    graph = b.graph(b.layer(DepthwiseConv2d(), b.input(1, 4, 4, 6), w, name="y", axis=3))
    x = np.ones((2, 1, 4, 4, 6), np.float32)
    gone = (rounded(np.moveaxis(w, 3, 0).reshape(6, -1).astype(np.float32), 1) == 0).sum()
    assert measured("zeros", graph, x) == pytest.approx(gone / 24)


def test_blocks_are_runs_of_large_entropies() -> None:
    assert entropy_blocks.blocks([1.0, 5.0, 3.0, 2.0, 4.0]) == [1.0, 4.0, 4.0, 2.0, 4.0], "the mean of all is 3"
    assert entropy_blocks.blocks([]) == [] and entropy_blocks.blocks([2.0, 2.0]) == [2.0, 2.0]


def test_entropy_is_of_64_bins() -> None:
    assert entropy_blocks.entropy(np.arange(64.0)) == pytest.approx(6)
    assert entropy_blocks.entropy(np.repeat([0.0, 1.0], 5)) == pytest.approx(1) and entropy_blocks.entropy(np.zeros(7)) == 0


def test_entropy_blocks_rank_by_what_rounding_changes() -> None:
    """Of one layer: the entropy of its outputs times the square error of its weights over their square."""
    y = (X[:, 0].astype(np.float64) @ W.astype(np.float64).T).astype(np.float32)
    counts = np.histogram(y, 64)[0]
    parts = counts[counts > 0] / y.size
    want = -(parts * np.log2(parts)).sum() * beyond(rounded(W, 1) - W.astype(np.float64), W)
    assert measured("entropy-blocks", dense(W), X) == pytest.approx(want, rel=1e-3)
    assert measured("entropy-blocks", dense(W), X, WEIGHTS) < want
