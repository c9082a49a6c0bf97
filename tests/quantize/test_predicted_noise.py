"""What equalization and allocation expect of a choice, from what calibration saw: each number against its formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from float_graphs import PLAIN, Floats
from test_allocate import chain, problem

from edgeq.ir import Array
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.linear import NO_CLAMP
from edgeq.quantize import calibrate, quantize
from edgeq.quantize.allocate import CAST_BYTES, NOTHING, WORK, Wanted, decibels, noise_of
from edgeq.quantize.prepare import Work, least_noise
from edgeq.quantize.statistics import Channels
from edgeq.quantize.storage import HALF, INT8
from edgeq.simulate import simulate

RNG = np.random.default_rng(6)


def channels(a: Array) -> Channels:
    found = Channels()
    for see in (found.see_extremes, found.see_values):
        for part in np.array_split(a, 3):
            see(part)
    return found


def test_channels_are_counted_between_their_own_extremes() -> None:
    a = RNG.normal(0, 1, (30, 4, 2)).astype(np.float32) * np.array([1, 20], np.float32)
    a[:7, :, 0] = 0
    found = channels(a)
    flat = a.reshape(-1, 2)
    assert found.low.tolist() == flat.min(0).tolist() and found.high.tolist() == flat.max(0).tolist()
    assert found.counts.shape == found.centers.shape == (2, 128) and found.values == 120
    for c in (0, 1):
        want, edges = np.histogram(flat[:, c][flat[:, c] != 0], 128, (flat[:, c].min(), flat[:, c].max()))
        assert np.abs(found.counts[c] - want).sum() <= 2, "float32 may put one beside"
        np.testing.assert_allclose(found.centers[c], (edges[1:] + edges[:-1]) / 2, atol=1e-5)
    one = channels(np.full((3, 2, 1), 5.0, np.float32))
    assert one.counts.sum() == 6 and (one.centers == 5).all()


@pytest.mark.parametrize(("count", "bins"), [(1, 128), (2**11, 128), (2**12, 64), (2**15, 8), (2**16, 8)])
def test_many_channels_have_fewer_bins(count: int, bins: int) -> None:
    assert channels(np.ones((3, count), np.float32)).counts.shape == (count, bins)


def test_limits_hold_between_the_passes() -> None:
    found = Channels()
    a = np.array([[-3.0, 0.0], [4.0, 9.0]], np.float32)
    found.see_extremes(a)
    found.limit(-1.0, 2.0)
    assert (found.low.tolist(), found.high.tolist()) == ([-1.0, 0.0], [2.0, 2.0])


def rounding_noise(a: Array, factors: Array, weight: Array) -> float:
    """Of ``[R, C]`` in int8 with one scale over parts of the range: what is beyond, squared, and a twelfth of a step squared."""
    x = a / factors
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    found = []
    for part in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        beyond = x - np.clip(x, low * part, high * part)
        step = (high - low) * part / 255
        found.append((((beyond**2 + step**2 / 12) * (a != 0)).sum(0) * weight).sum() / len(a))
    return float(min(found))


@pytest.mark.parametrize("shape", ["normal", "outlier", "positive"])
def test_rounding_noise_is_that_of_the_best_part_of_the_range(shape: str) -> None:
    a = RNG.normal(0, 1, (4000, 3)) * [1.0, 0.5, 4.0]
    if shape == "outlier":
        a[0] = 300.0
    if shape == "positive":
        a = np.abs(a) + 1
    a[5:300, 0] = 0
    a, factors, weight = a.astype(np.float32), np.array([1.0, 0.5, 0.25]), np.array([1.0, 3.0, 0.5])
    assert least_noise._rounding_noise(channels(a), factors, weight) == pytest.approx(rounding_noise(a, factors, weight), rel=0.02)


def test_the_best_range_of_each_channel() -> None:
    a = RNG.normal(0, 1, (4000, 2)).astype(np.float32)
    a[0, 1] = -60.0
    found, want = least_noise._clip(channels(a)), []
    for x in a.T.astype(np.float64):
        low, high = min(x.min(), 0.0), max(x.max(), 0.0)
        parts = np.linspace(1.0, 0.2, 17)
        errors = [((x - np.clip(x, low * p, high * p)) ** 2).mean() + ((high - low) * p / 255) ** 2 / 12 for p in parts]
        want.append(max(high, -low) * parts[int(np.argmin(errors))])
    np.testing.assert_allclose(found, want, rtol=1e-6)
    np.testing.assert_allclose(least_noise._peak(channels(a)), np.abs(a).max(0))


def test_predicted_noise_of_a_group() -> None:
    """Of its tensors by how much the layer behind makes of them, and of that layer's weights, which then spread."""
    b = Floats()
    w = RNG.normal(0, 1, (5, 1, 1, 4)) * [1.0, 0.1, 2.0, 1.0]
    h = b.layer(Conv2d(), b.input(1, 4, 4, 3), RNG.normal(0, 1, (4, 1, 1, 3)), name="h")
    graph = b.graph(b.layer(Conv2d(), h, w, name="y"))
    x = RNG.normal(0, 1, (40, 1, 4, 4, 3)).astype(np.float32)
    seen = calibrate(graph, {"x": x}).channels
    work = Work(graph, seen, 40)
    (group,) = work.groups
    exponents = np.array([0, -4, -8, 0])
    factors, h_values = (
        2.0 ** (exponents / 4),
        x.reshape(-1, 3).astype(np.float64) @ np.asarray(graph.tensors[graph.nodes[0].inputs[1]].data)[:, 0, 0].T,
    )
    power = ((h_values @ w[:, 0, 0].T) ** 2).sum(1).mean()
    wider = w[:, 0, 0] * factors
    weights = (wider**2).sum(0) / power
    steps = np.abs(wider).max(1) / 127
    want = (steps**2).sum() / 12 * ((h_values / factors) ** 2).sum(1).mean() / power + rounding_noise(h_values, factors, weights)
    assert least_noise._noise(graph, group, seen, exponents) == pytest.approx(want, rel=0.02)
    assert least_noise.exponents(Work(graph, seen, 7)) == {}, "too few samples"


def test_layers_are_clamped_where_the_samples_end() -> None:
    """Between limits that cut nothing of them; where one of its own is met, that stays."""
    b = Floats()
    h = b.layer(Conv2d(clamp=(0.0, np.inf)), b.input(1, 2, 2, 3), RNG.normal(0, 1, (4, 1, 1, 3)), name="h")
    graph = b.graph(b.layer(Conv2d(), h, RNG.normal(0, 1, (5, 1, 1, 4)), name="y"))
    x = RNG.normal(0, 1, (40, 1, 2, 2, 3)).astype(np.float32)
    plain, clamped = (quantize(graph, {"x": x}, replace(PLAIN, method="percentile", clamp=c)) for c in (False, True))
    assert all(n.op.clamp[1] == np.inf for n in plain.nodes)  # type: ignore[attr-defined]
    for node, name in zip(clamped.nodes, ("h", "y"), strict=True):
        t, stored = clamped.type(name), simulate(plain, {"x": x}, steps=True).steps[name].astype(int)
        low, high = node.op.clamp  # type: ignore[attr-defined]
        ends = [(int(v) - t.zero_point) * np.float32(t.scale) for v in (stored.min(), stored.max())]
        assert high == (np.inf if stored.max() == 127 else pytest.approx(ends[1]))
        assert low == (0.0 if name == "h" else -np.inf if stored.min() == -128 else pytest.approx(ends[0]))
        np.testing.assert_array_equal(simulate(clamped, {"x": x}, steps=True).steps[name], stored)
    assert NO_CLAMP not in [n.op.clamp for n in clamped.nodes]  # type: ignore[attr-defined]


# Allocation


def test_decibels_and_noise() -> None:
    assert decibels(np.array([1e-3, 1e-2])) == pytest.approx(20.0) and decibels(np.zeros(2)) == pytest.approx(150.0)
    assert decibels(np.array([0.1, np.inf])) == decibels(np.array([np.nan])) == NOTHING
    real = {"a": np.array([3.0, 4.0]), "b": np.zeros(2)}
    assert noise_of({"a": np.array([3.0, 5.0]), "b": np.ones(2)}, real).tolist() == [1 / 25, 2 / 1e-30]


def test_what_a_choice_costs() -> None:
    """Bytes and instructions of its storages and of the casts between them, and its noise."""
    p = problem(chain(3))
    halves = dict.fromkeys(("n0", "n1", "n2"), HALF)
    whole = p.point(halves)
    assert (whole.flash, whole.instructions, whole.sqnr_db) == (3 * 288, 1500.0, pytest.approx(150.0))
    mixed = p.point({**halves, "n1": INT8})
    assert mixed.flash == 2 * 288 + 150 + 2 * CAST_BYTES
    assert mixed.instructions == pytest.approx(2 * 500 + 200 + 2 * 12 * 0.1)
    assert mixed.sqnr_db == pytest.approx(-10 * math.log10(4e-4))
    both = p.point({**halves, "n1": INT8, "n0": INT8})
    assert both.instructions == pytest.approx(500 + 2 * 200 + 2 * 12 * 0.1), "nothing is cast between them, but the input"
    assert p.weights == pytest.approx(p.flash / (3 * 288)) and p.work == pytest.approx(p.instructions / 1500)
    assert p.price("flash") == pytest.approx(p.weights + WORK * p.work) == p.price("noise")
    assert p.price("latency") == pytest.approx(p.work + WORK * p.weights) == p.price("instructions")


def test_a_choice_keeps_to_limits_that_it_just_meets() -> None:
    p = problem(chain(3))
    chosen = {"n0": INT8, "n1": HALF, "n2": HALF}
    point = p.point(chosen)
    noise = 10 ** (-point.sqnr_db / 10)
    for name, value in (("flash", point.flash), ("instructions", point.instructions), ("noise", noise)):
        assert p.keeps(chosen, Wanted(**{name: value * (1 + 1e-9)})) and not p.keeps(chosen, Wanted(**{name: value * (1 - 1e-9)})), name
    assert p.keeps(chosen, Wanted())
    assert p.keeps(chosen, Wanted(flash=float(point.flash))) and p.keeps(chosen, Wanted(instructions=point.instructions))


def test_live_bytes_of_a_choice() -> None:
    """Two bytes of halves, one of int8; both of what is cast while it is read."""
    p = problem(chain(3))
    halves = dict.fromkeys(("n0", "n1", "n2"), HALF)
    live = 2 * (12 + 12)  # what a layer reads and gives
    assert p.keeps(halves, Wanted(ram=live)) and not p.keeps(halves, Wanted(ram=live - 1))
    every = dict.fromkeys(halves, INT8)
    casts = 12 + 24  # n0's input as a half and in int8
    assert p.keeps(every, Wanted(ram=casts + 12)) and not p.keeps(every, Wanted(ram=casts + 11))
    some = {**halves, "n1": INT8}
    assert p.keeps(some, Wanted(ram=12 + 24 + 24)) and not p.keeps(some, Wanted(ram=12 + 24 + 23)), "the last one reads halves"
