"""Linear layers in a row: joined where one has no more weights than both, else left; the meaning stays."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from test_passes import RELU, Float

from edgeq.ir import Graph
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.passes import normalise
from edgeq.quantize.floating import evaluate_float


def kept(graph: Graph) -> Graph:
    """What is left of a graph, after its meaning was compared."""
    found = normalise(graph)
    data = {n: np.random.default_rng(0).normal(0, 1, (4, *graph.type(n).shape)).astype(np.float32) for n in graph.inputs}
    want, got = evaluate_float(graph, data), evaluate_float(found, data)
    for name in graph.outputs:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-4, atol=1e-4 * np.abs(want[name]).max())
    return found


def layers(graph: Graph) -> list[tuple[int, ...]]:
    return [graph.type(n.inputs[1]).shape for n in graph.nodes if n.op.traits.linear is not None]


def dense(*widths: int, **options: object) -> Graph:
    b = Float()
    x = b.input(3, widths[0])
    for i, (k, n) in enumerate(pairwise(widths)):
        x = b.layer(FullyConnected(**(options if i == 0 else {})), x, n, k)  # type: ignore[arg-type]
    return b.graph(x)


@pytest.mark.parametrize(
    ("widths", "wanted"),
    [
        ((8, 16, 4), [(4, 8)]), ((8, 2, 8), [(2, 8), (8, 2)]), ((8, 4, 8), [(8, 8)]), ((8, 16, 16, 4), [(4, 8)]),
        ((16, 2, 16, 3), [(2, 16), (3, 2)]),
    ],
)  # fmt: skip
def test_dense_layers(widths: tuple[int, ...], wanted: list[tuple[int, ...]]) -> None:
    assert layers(kept(dense(*widths))) == wanted


def test_what_would_grow_is_never_made() -> None:
    """Factors of low rank may be those of a matrix that no memory holds."""
    tracemalloc.start()
    try:
        assert layers(normalise(dense(4000, 2, 4000))) == [(2, 4000), (4000, 2)]
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_what_is_between_is_needed() -> None:
    assert len(layers(kept(dense(8, 16, 4, clamp=RELU)))) == 2
    b = Float()
    middle = b.layer(FullyConnected(), b.input(1, 8), 16, 8)
    assert len(layers(kept(b.graph(b.layer(FullyConnected(), middle, 4, 16), middle)))) == 2, "an output"


@pytest.mark.parametrize(
    ("first", "second", "kernels", "count"),
    [
        (Conv2d(pads=(1, 1, 1, 1), stride=(2, 2)), Conv2d(clamp=RELU), (3, 1), 1), (Conv2d(), Conv2d(dilation=(2, 2)), (1, 3), 1),
        (Conv2d(), Conv2d(pads=(1, 1, 1, 1)), (1, 3), 2), (Conv2d(), Conv2d(), (3, 3), 2), (Conv2d(), Conv2d(stride=(2, 2)), (3, 1), 2),
        (Conv2d(groups=2), Conv2d(), (1, 1), 2), (Conv2d(clamp=RELU), Conv2d(), (3, 1), 2),
    ],
)  # fmt: skip
def test_convolutions(first: Conv2d, second: Conv2d, kernels: tuple[int, int], count: int) -> None:
    """The middle is wide; a bias before padding, groups, strides and limits are in the way."""
    b = Float()
    x, k, m = b.input(1, 9, 9, 4), *kernels
    x = b.layer(first, x, 24, k, k, 4 // first.groups)
    found = kept(b.graph(b.layer(second, x, 4, m, m, 24)))
    assert len(layers(found)) == count
    if count == 1:
        (node,) = (n for n in found.nodes if n.op.traits.linear is not None)
        assert getattr(node.op, "clamp", None) == second.clamp


def test_low_rank_convolutions_stay() -> None:
    b = Float()
    x = b.layer(Conv2d(pads=(1, 1, 1, 1)), b.input(1, 6, 6, 16), 2, 3, 3, 16)
    assert len(layers(kept(b.graph(b.layer(Conv2d(), x, 16, 1, 1, 2))))) == 2
