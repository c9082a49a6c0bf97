"""Constant channels: the bounds hold for every input, and what survives keeps its bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import Builder, random_graph

from edgeq.frontends import load
from edgeq.ir import Array, Graph, QParams
from edgeq.lower import bind
from edgeq.numerics import LAWS
from edgeq.ops.add import Add
from edgeq.ops.mean import Mean
from edgeq.passes.intervals import intervals
from edgeq.passes.remove_channels import constant_channels, kept_channels, remove_channels
from edgeq.simulate import simulate


def extremes(graph: Graph, seed: int, count: int = 12) -> dict[str, Array]:
    """Inputs at the ends of the range, all alike, element by element and channel by channel, and uniform ones."""
    rng = np.random.default_rng(seed)
    result = {}
    for name in graph.inputs:
        shape = graph.type(name).shape
        x = rng.integers(-128, 128, (count, *shape))
        x[0], x[1] = -128, 127
        x[2:5] = rng.choice([-128, 127], (3, *shape))
        x[5:9] = rng.choice([-128, 127], (4, *(1 for _ in shape[:-1]), shape[-1]))
        result[name] = x.astype(np.int8)
    return result


def assert_same_bytes(graph: Graph, seed: int = 0) -> Graph:
    kept, smaller = kept_channels(graph), remove_channels(graph)
    x = extremes(graph, seed)
    before, after = simulate(graph, x, steps=True), simulate(smaller, x, steps=True)
    for name, values in after.steps.items():
        np.testing.assert_array_equal(values, before.steps[name][..., kept[name]], err_msg=name)
    assert set(after.outputs) == set(before.outputs) and set(smaller.outputs) <= set(after.steps)
    for name, bounds in intervals(graph).items():
        if name in before.steps:
            assert (before.steps[name] >= bounds.low).all() and (before.steps[name] <= bounds.high).all(), name
    return smaller


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LAWS), st.floats(0.2, 0.9))
def test_survivors_keep_their_bytes(seed: int, law: str, dead: float) -> None:
    assert_same_bytes(random_graph(seed, law, layers=7, dead=dead), seed)


def test_random_graphs_lose_many_channels() -> None:
    """The property above is not vacuous."""
    graphs = [random_graph(seed, LAWS[seed % 2], layers=7, dead=0.6) for seed in range(40)]
    smaller = [remove_channels(g) for g in graphs]
    assert sum(a.macs() > b.macs() for a, b in zip(graphs, smaller, strict=True)) > 25
    assert sum(b.macs() for b in smaller) < 0.75 * sum(a.macs() for a in graphs)


def saturated(b: Builder, name: str, channel: int, value: int) -> None:
    """Drive a channel of the layer that computes `name` to one end of its range."""
    node = next(n for n in b.nodes if n.outputs == (name,))
    bias = b.tensors[node.inputs[2]].data
    assert bias is not None
    bias[channel] = value


@pytest.mark.parametrize("law", LAWS)
def test_a_constant_moves_into_the_bias_without_padding(law: str) -> None:
    b = Builder(1, law, clamps=False)
    y = b.conv(b.input(1, 5, 5, 3), 4, 1)
    saturated(b, y, 2, 2**24)
    graph = b.graph(b.conv(y, 5, 3))
    smaller = assert_same_bytes(graph)
    assert smaller.type(y).shape == (1, 5, 5, 3)
    assert not np.array_equal(smaller.tensors["b1"].data, graph.tensors["b1"].data)


@pytest.mark.parametrize("law", LAWS)
def test_padding_keeps_a_constant_that_is_not_zero(law: str) -> None:
    """At the border the padded taps see zero instead of the constant: the channel has to stay."""
    b = Builder(1, law, clamps=False)
    y = b.conv(b.input(1, 5, 5, 3), 4, 1)
    saturated(b, y, 2, 2**24)
    graph = b.graph(b.conv(y, 5, 3, pads=(1, 1, 1, 1)))
    assert constant_channels(graph)[y].known.tolist() == [False, False, True, False]
    assert remove_channels(graph) is graph


def test_padding_does_not_matter_for_a_constant_zero() -> None:
    b = Builder(1, "single", clamps=False)
    y = b.conv(b.input(1, 5, 5, 3), 4, 1)
    saturated(b, y, 2, -(2**24))
    zero = max(-128, b.tensors[y].type.zero_point) == -128
    graph = b.graph(b.conv(y, 5, 3, pads=(1, 1, 1, 1)))
    assert zero and remove_channels(graph).type(y).shape[-1] == 3
    assert_same_bytes(graph)


def test_a_sum_keeps_the_channel_of_both_operands() -> None:
    b = Builder(4, "single", clamps=False)
    x = b.input(1, 4, 4, 3)
    u, v = b.conv(x, 4, 1), b.conv(x, 4, 1)
    saturated(b, u, 1, 2**24)
    y = b.node(Add(), u, v, q=QParams((4 * b.tensors[u].type.scale + 4 * b.tensors[v].type.scale,), 0))
    graph = b.graph(b.conv(y, 3, 1))
    assert remove_channels(graph) is graph
    saturated(b, v, 1, 2**24)
    smaller = assert_same_bytes(b.graph(graph.outputs[0]))
    assert smaller.type(u).shape[-1] == smaller.type(v).shape[-1] == 3


def test_channels_that_meet_zero_weights_are_removed_through_depthwise_pool_and_flatten() -> None:
    b = Builder(12, "tflm", clamps=False)
    y = b.pool(b.depthwise(b.conv(b.input(1, 4, 4, 3), 6, 1)))
    z = b.dense(b.flatten(y), 5)
    weights = b.tensors["w4"].data
    assert weights is not None and weights.shape == (5, 96)
    weights[:, 4::6] = 0
    assert not any(c.known.any() for c in constant_channels(b.graph(z)).values())
    smaller = assert_same_bytes(b.graph(z))
    assert [smaller.type(n.outputs[0]).shape[-1] for n in smaller.nodes] == [5, 5, 5, 80, 5]


def with_scale(graph: Graph, name: str, channel: int | None, factor: float) -> Graph:
    """With weights, and the bias, of one channel of the layer that computes `name` (None: of all) in a coarser scale."""
    node = next(n for n in graph.nodes if n.outputs == (name,))
    tensors = dict(graph.tensors)
    for n in node.inputs[1:]:
        t = tensors[n]
        assert t.type.q is not None
        scale = tuple(s * factor if channel in (None, c) else s for c, s in enumerate(t.type.q.scale))
        tensors[n] = replace(t, type=replace(t.type, q=replace(t.type.q, scale=scale)))
    return replace(graph, tensors=tensors)


@pytest.mark.parametrize("law", LAWS)
def test_a_channel_may_go_that_bounds_the_shift_of_all(law: str) -> None:
    """Sums of the others are shifted by less to the left, and by as much less to the right."""
    b = Builder(1, law, clamps=False)
    y = b.conv(b.input(1, 5, 5, 3), 4, 1)
    saturated(b, y, 2, 2**20)
    graph = with_scale(with_scale(b.graph(b.conv(y, 5, 3)), y, None, 2.0**8), y, 2, 4.0)
    smaller = assert_same_bytes(graph)
    assert smaller.type(y).shape == (1, 5, 5, 3)
    lefts = [bind(g, next(n for n in g.nodes if n.outputs == (y,))).left for g in (graph, smaller)]
    assert law == "tflm" or lefts[0] > lefts[1] > 0


def test_a_channel_stays_whose_absence_would_shift_the_others_otherwise() -> None:
    """Sums that are shifted by more than there is: beside a channel that bounds the shift of all, by less."""
    b = Builder(1, "single", clamps=False)
    y = b.conv(b.input(1, 5, 5, 3), 4, 1)
    saturated(b, y, 2, 2**24)
    tiny = with_scale(b.graph(b.conv(y, 5, 3)), y, None, 2.0**-21)
    graph = with_scale(tiny, y, 2, 2.0**29)
    assert int(bind(graph, graph.nodes[0]).shift.max()) == 30
    assert remove_channels(graph) is graph
    assert_same_bytes(graph)


def test_scalars_have_one_channel() -> None:
    b = Builder(3, "single", clamps=False)
    y = b.node(Mean((0, 1, 2, 3), False), b.conv(b.input(1, 3, 3, 2), 4, 1))
    graph = b.graph(y)
    assert graph.type(y).shape == () and constant_channels(graph)[y].known.tolist() == [False]
    assert kept_channels(graph)[y].tolist() == [True] and remove_channels(graph) is graph


def test_graph_outputs_are_never_narrowed() -> None:
    b = Builder(6, "single")
    y = b.conv(b.input(1, 3, 3, 2), 4, 1)
    saturated(b, y, 0, 2**24)
    graph = b.graph(y)
    assert remove_channels(graph) is graph


def test_visual_wake_words(data: Path) -> None:
    graph = load(data / "mlperf_tiny" / "vww_96_int8.tflite")
    layers = [n for n in graph.nodes if n.op.parameters]
    known = constant_channels(graph)
    assert sum(len(known[n.outputs[0]].known) for n in layers) == 2738
    assert sum(int(known[n.outputs[0]].known.sum()) for n in layers) >= 985
    smaller = assert_same_bytes(graph)
    assert graph.macs() == 7489664 and smaller.macs() <= 3.74e6
