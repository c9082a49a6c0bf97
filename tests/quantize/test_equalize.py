"""Channels brought to similar ranges: where that is allowed, by which factors, and that the network means what it did."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from float_graphs import PLAIN, Floats, integers

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.ops.add import Add
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options, calibrate, decide, evaluate_float, quantize, read_precision, write_precision
from edgeq.quantize.prepare import Work, least_noise
from edgeq.simulate import real_array, simulate

RNG = np.random.default_rng(5)
SIZES = np.array([1, 2**-3, 2**-6, 1])  # of the channels
ON = replace(PLAIN, equalize=True)
RELU = (0.0, np.inf)
X = RNG.normal(0, 1, (64, 1, 4, 4, 3)).astype(np.float32)


def network(first: tuple[float, float] = RELU, *, pool: bool = False, output: bool = False, shared: bool = False) -> Graph:
    """x -> conv, channels of `SIZES` -> h -> (pool) -> conv -> y; `output`: h is one, too; `shared`: its weights are also others'."""
    rng = np.random.default_rng(0)
    b = Floats()
    x = b.input(1, 4, 4, 3)
    w = b.const(rng.normal(0, 1, (4, 1, 1, 3)) * SIZES.reshape(4, 1, 1, 1))
    bias = b.const(rng.normal(0, 0.5, 4) * SIZES)
    h = b.op(Conv2d(clamp=first), x, w, bias, name="h")
    more = [b.op(Conv2d(), x, w, bias, name="z")] if shared else []
    last = b.op(AveragePool2d(kernel=(2, 2)), h, name="p") if pool else h
    y = b.layer(Conv2d(), last, rng.normal(0, 1, (5, 1, 1, 4)) / SIZES, name="y")
    return b.graph(y, *([h] if output else []), *more)


def exponents(graph: Graph, x: Array = X, options: Options = ON) -> dict[str, tuple[int, ...]]:
    found = decide(graph, {"x": x}, options).precision.tensors
    return {n: t.exponents for n, t in found.items() if t.exponents}


def noise(graph: Graph, real: Graph) -> float:
    want = evaluate_float(real, {"x": X})["y"]
    return float(((real_array(simulate(graph, {"x": X}).outputs["y"], graph.type("y")) - want) ** 2).mean() / (want**2).mean())


def test_smoothing_is_the_root_of_reach_over_weights() -> None:
    """Channel c is divided by sqrt(x / w), x its largest value and w the largest weight that reads it, relative to the largest."""
    graph = network()
    found = decide(graph, {"x": X}, replace(ON, equalization="smooth"))
    divided = 2 ** (np.array(found.precision.tensors["h"].exponents) / 4)
    h = evaluate_float(graph, {"x": X}, steps=True)["h"]
    read = np.abs(graph.tensors[graph.nodes[1].inputs[1]].data).max(axis=(0, 1, 2))
    wanted = np.sqrt(np.abs(h).reshape(-1, 4).max(0) / read)
    steps = 4 * np.log2(divided / np.maximum(wanted / wanted.max(), 2**-4))
    assert np.abs(steps).max() <= 0.5 + 1e-6 and len(set(divided)) > 1


def test_smoothing_leaves_depthwise_weights_and_dead_channels_out() -> None:
    """Of two readers the depthwise one takes anything; reach is that of either sign; what is always 0, or read by nothing, stays."""
    rng, b = np.random.default_rng(2), Floats()
    w = rng.normal(0, 1, (6, 1, 1, 3)) * np.array([1, 1 / 8, 1, 1, 0, 1]).reshape(6, 1, 1, 1)
    bias = np.array([-40.0, 0, 0, 0, 0, 0])  # the first is negative throughout
    read = rng.normal(0, 1, (5, 1, 1, 6)) * np.array([1, 1, 1, 8, 1, 0])
    h = b.layer(Conv2d(), b.input(1, 4, 4, 3), w, bias, name="h")
    d = b.layer(DepthwiseConv2d(), h, rng.normal(0, 1, (1, 1, 1, 6)) * 1000.0 ** np.arange(6), name="d", axis=3)
    graph = b.graph(d, b.layer(Conv2d(), h, read, name="y"))
    values = evaluate_float(graph, {"x": X}, steps=True)["h"].reshape(-1, 6)
    assert values[:, 0].max() < 0
    ratio = np.abs(values).max(0)[:4] / np.abs(read).max((0, 1, 2))[:4]
    wanted = 2 * np.log2(ratio / ratio.max())  # quarters of octaves of the root
    found = exponents(graph, options=replace(ON, equalization="smooth"))["h"]
    assert np.abs(np.array(found[:4]) - wanted).max() <= 0.5 + 1e-6 and found[4:] == (0, 0) and len(set(found)) > 2


def test_smoothing_looks_at_all_tensors_that_share_channels() -> None:
    """Of a sum and its terms each channel's largest value counts, whichever of them reaches it."""
    rng, b = np.random.default_rng(2), Floats()
    x = b.input(1, 4, 4, 3)
    terms = [b.layer(Conv2d(), x, rng.normal(0, 1, (4, 1, 1, 3)) * np.roll([1.0, 8.0, 1.0, 1.0], i).reshape(4, 1, 1, 1)) for i in (0, 1)]
    read = rng.normal(0, 1, (5, 1, 1, 4))
    graph = b.graph(b.layer(Conv2d(), b.op(Add(), *terms, name="s"), read, name="y"))
    seen = evaluate_float(graph, {"x": X}, steps=True)
    reach = np.max([np.abs(seen[n]).reshape(-1, 4).max(0) for n in (*terms, "s")], axis=0)
    wanted = 2 * np.log2(reach / np.abs(read).max((0, 1, 2)))
    found = exponents(graph, options=replace(ON, equalization="smooth"))
    assert set(found) == {*terms, "s"} and len(set(found.values())) == 1
    assert np.abs(np.array(found["s"]) - (wanted - wanted.max())).max() <= 0.5 + 1e-6


def test_equal_ranges_are_the_roots_of_weights_before_and_after() -> None:
    """Channel c is divided by sqrt(r1 / r2), relative to the largest, to a quarter of an octave and at most by 16."""
    graph = network()
    found = decide(graph, {"x": X[:1]}, replace(ON, equalization="equal-ranges"))
    divided = 2 ** (np.array(found.precision.tensors["h"].exponents) / 4)
    weights = [n.inputs[1] for n in graph.nodes]
    before, after = (np.abs(graph.tensors[w].data).max(axis=axes) for w, axes in zip(weights, ((1, 2, 3), (0, 1, 2)), strict=True))
    wanted = np.sqrt(before / after) / np.sqrt(before / after).max()
    np.testing.assert_allclose(divided, np.maximum(wanted, 1 / 16), rtol=2 ** (1 / 8) - 1)
    assert wanted.min() < 1 / 16 and np.sort(wanted)[1] > 1 / 16
    real = evaluate_float(graph, {"x": X})["y"]
    np.testing.assert_allclose(evaluate_float(found.graph, {"x": X})["y"], real, rtol=0, atol=1e-4)


def test_equal_ranges_of_a_channel_that_nothing_reads() -> None:
    graph = network()
    w = graph.tensors[graph.nodes[1].inputs[1]]
    w.data[..., 1] = 0
    assert exponents(graph, X[:1], replace(ON, equalization="equal-ranges"))["h"][1] == 0


def test_small_channels_are_enlarged() -> None:
    """Divided by 2^(e / 4), channels come near each other: a channel of 1/64 of the largest has an e near -24."""
    (found,) = exponents(network()).values()
    peaks = evaluate_float(network(output=True), {"x": X})["h"].max(axis=(0, 1, 2, 3))
    after = peaks / 2 ** (np.array(found) / 4)
    assert peaks.max() / peaks.min() > 30 and after.max() / after.min() < 10 and max(found) == 0 and min(found) >= -16
    assert found[2] < found[1] < max(found[0], found[3])


def test_channels_stay_where_little_noise_would_go() -> None:
    """Half of the channels smaller, those of the other half alike: less than 2 dB of predicted noise is not worth it."""

    def chosen(small: float) -> tuple[float, bool]:
        b, rng = Floats(), np.random.default_rng(0)
        sizes = np.where(np.arange(8) < 4, 1.0, small)
        signs = np.array(list(itertools.product((-1, 1), repeat=3)))[[0, 3, 5, 6, 1, 2, 4, 7]]
        h = b.layer(Conv2d(clamp=RELU), b.input(1, 4, 4, 3), (signs * sizes[:, None]).reshape(8, 1, 1, 3), name="h")
        graph = b.graph(b.layer(Conv2d(), h, rng.normal(0, 1, (5, 1, 1, 8)) / sizes, name="y"))
        ranges = calibrate(graph, {"x": X}, "minmax")
        work = Work(graph, ranges.channels, ranges.vectors)
        near = np.rint(4 * np.log2(sizes)).astype(np.int64)
        before, after = (least_noise._noise(graph, work.groups[0], work.seen, e) for e in (0 * near, near))
        return 10 * np.log10(before / after), bool(least_noise.exponents(work))

    (little, stay), (much, moved) = chosen(0.75), chosen(0.25)
    assert 0.5 < little < 2 < much and moved and not stay


def test_the_network_means_what_it_did() -> None:
    real = network(pool=True)
    scaled = decide(real, {"x": X}, ON).graph
    a, b = (evaluate_float(g, {"x": X})["y"] for g in (real, scaled))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    e = np.array(exponents(real)["h"])
    for position in (1, 2):
        old, new = (g.tensors[g.nodes[0].inputs[position]].data for g in (real, scaled))
        assert old is not None and new is not None
        np.testing.assert_allclose(new, old * (2.0 ** (-e / 4)).reshape(4, *[1] * (old.ndim - 1)), rtol=1e-6)
    old, new = (g.tensors[g.nodes[-1].inputs[1]].data for g in (real, scaled))
    assert old is not None
    np.testing.assert_allclose(new, old * 2.0 ** (e / 4), rtol=1e-6)


def test_it_lowers_the_noise() -> None:
    real = network()
    plain, equalized = (quantize(real, {"x": X}, options) for options in (PLAIN, ON))
    assert noise(equalized, real) < 0.2 * noise(plain, real)
    assert not np.array_equal(integers(plain, "y", 1)[0], integers(equalized, "y", 1)[0])


def test_what_lies_between_has_the_same_factors() -> None:
    found = exponents(network(pool=True))
    assert set(found) == {"h", "p"} and found["h"] == found["p"]


@pytest.mark.parametrize(
    "graph",
    [network((0.0, 6.0)), network((-1.0, np.inf)), network(output=True), network(shared=True)],
    ids=["a clamp above", "a clamp below", "an output", "weights that others read"],
)
def test_where_scaling_would_show_there_is_none(graph: Graph) -> None:
    assert "h" not in exponents(graph)


def test_few_samples_change_nothing() -> None:
    assert exponents(network(), X[:7]) == {} and exponents(network(), X[:8]) != {}
    weak, strong = (np.array(exponents(network(), x)["h"]).min() for x in (X[:8], X))
    assert strong <= weak < 0


def test_even_channels_are_left_alone() -> None:
    b = Floats()
    h = b.layer(FullyConnected(clamp=RELU), b.input(1, 3), np.eye(3), name="h")
    graph = b.graph(b.layer(FullyConnected(), h, np.ones((2, 3)), name="y"))
    x = RNG.uniform(-1, 1, (64, 1, 1)).astype(np.float32).repeat(3, 2)
    assert exponents(graph, x) == {}


def test_a_sum_ties_both_of_its_inputs() -> None:
    rng = np.random.default_rng(1)
    b = Floats()
    x = b.input(1, 4, 4, 3)
    parts = [b.layer(Conv2d(), x, rng.normal(0, 1, (4, 1, 1, 3)) * SIZES.reshape(4, 1, 1, 1), name=n) for n in "ab"]
    s = b.op(Clamp(RELU), b.op(Add(), *parts, name="s"), name="r")
    d = b.layer(DepthwiseConv2d(clamp=RELU), s, rng.normal(0, 1, (1, 1, 1, 4)), axis=3, name="d")
    graph = b.graph(b.layer(Conv2d(), d, rng.normal(0, 1, (2, 1, 1, 4)) / SIZES, name="y"))
    found = exponents(graph)
    assert found["a"] == found["b"] == found["s"] == found["r"]
    scaled = decide(graph, {"x": X}, ON).graph
    np.testing.assert_allclose(*(evaluate_float(g, {"x": X})["y"] for g in (graph, scaled)), rtol=1e-3, atol=1e-4)


def test_they_are_written_and_read_back() -> None:
    real = network()
    text = write_precision(real, calibrate(real, {"x": X}, "minmax"), ON)
    assert tuple(tomllib.loads(text)["tensors"]["h"]["equalize"]) == exponents(real)["h"]
    again = quantize(real, {"x": X}, PLAIN, read_precision(text, real))
    other = quantize(real, {"x": X}, ON)
    assert all(np.array_equal(again.tensors[n].data, t.data) for n, t in other.tensors.items() if t.data is not None)
    wrong = text.replace('[tensors."x"]', '[tensors."x"]\nequalize = [1, 0, 0]', 1)
    with pytest.raises(EdgeqError, match="cannot be scaled"):
        quantize(real, {"x": X}, PLAIN, read_precision(wrong, real))
