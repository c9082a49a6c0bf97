"""The ranges that the methods choose, against their definitions written out as loops, on histograms of known shape."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import hidden
from scipy.special import lambertw
from scipy.stats import entropy

from edgeq.ir import Array
from edgeq.quantize import Ranges, calibrate
from edgeq.quantize.ranges import improved_kl

BINS, LEVELS, STEPS = 4096, 256, 96
RNG = np.random.default_rng(7)
NORMAL = RNG.normal(0, 1, 6000)
DATA = {
    "normal": NORMAL,
    "outlier": np.append(NORMAL[:5999], 40.0),
    "rectified": np.maximum(NORMAL, 0),
    "skewed": -RNG.exponential(1, 6000) ** 2 + 0.5,
    "positive": RNG.uniform(2, 3, 6000),
    "many zeros": np.where(RNG.random(6000) < 0.6, 0, NORMAL * 3),
    "two heaps": np.concatenate([RNG.normal(-5, 0.1, 3000), RNG.normal(9, 0.4, 3000)]),
}  # fmt: skip

LONE = np.append(40.0, RNG.normal(0, 1, 299_999))  # in the first sample, so that a moving average forgets it


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests draw the same numbers in any order."""
    RNG.bit_generator.state = np.random.default_rng(8).bit_generator.state


def calibrated(values: Array, method: str, per_sample: int = 50) -> Ranges:
    x = values.astype(np.float32).reshape(-1, 1, per_sample)
    return calibrate(hidden((1, per_sample)), {"x": x}, method)


def chosen(values: Array, method: str, per_sample: int = 50) -> tuple[float, float]:
    found = calibrated(values, method, per_sample).tensors["h"]
    assert found.method == method
    return found.low, found.high


def histogram(values: Array, zeros: bool) -> tuple[Array, Array]:
    """Counts between the extremes and the edges of the bins; `zeros`: exact zeros count as well."""
    v = values.astype(np.float32)
    counts = np.histogram(v if zeros else v[v != 0], BINS, (float(v.min()), float(v.max())))[0]
    return counts.astype(np.float64), np.linspace(float(v.min()), float(v.max()), BINS + 1)


@pytest.mark.parametrize("name", DATA)
def test_minmax_is_the_extremes(name: str) -> None:
    v = DATA[name].astype(np.float32)
    assert chosen(v, "minmax") == (v.min(), v.max())


@pytest.mark.parametrize("name", ["normal", "outlier", "skewed", "many zeros", "two heaps"])
def test_laplace_weighs_tails_by_the_mean_distance(name: str) -> None:
    """``a exp(a) = 3 N^2`` mean distances from the middle, never beyond the extremes."""
    v = DATA[name].astype(np.float32).astype(np.float64)
    reach = np.abs(v - v.mean()).mean() * float(lambertw(3.0 * LEVELS**2).real)
    want = max(v.min(), v.mean() - reach), min(v.max(), v.mean() + reach)
    assert chosen(v, "laplace") == pytest.approx(want, rel=5e-3)


def test_laplace_of_one_sign_has_twice_the_steps() -> None:
    """An outlier far away is cut, and where."""
    v = np.append(np.abs(RNG.laplace(0, 1, 5999)), 90.0).astype(np.float32)
    reach = float(v.astype(np.float64).mean() * lambertw(3.0 * (2 * LEVELS) ** 2).real)
    assert chosen(v, "laplace") == pytest.approx((float(v.min()), reach), rel=5e-3)


@pytest.mark.parametrize("count", [1, 9, 16, 40, 61, 64])
def test_moving_averages_the_extremes_of_batches_of_eight(count: int) -> None:
    v = RNG.normal(0, 1, (count, 5)).astype(np.float32) * np.linspace(1, 9, count, dtype=np.float32)[:, None]
    low, high = float(v[:8].min()), float(v[:8].max())
    for i in range(8, count, 8):
        low, high = 0.9 * low + 0.1 * float(v[i : i + 8].min()), 0.9 * high + 0.1 * float(v[i : i + 8].max())
    assert chosen(v, "moving", 5) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize("name", DATA)
def test_percentile_leaves_a_twenty_thousandth_out_at_either_end(name: str) -> None:
    v = DATA[name]
    counts, edges = histogram(v, zeros=True)
    out, first, last = 0.00005 * v.size, 0, BINS
    while counts[: first + 1].sum() <= out:
        first += 1
    while counts[last - 1 :].sum() <= out:
        last -= 1
    assert chosen(v, "percentile") == pytest.approx((edges[first], edges[last]), rel=1e-9)


def test_percentile_counts_to_the_value() -> None:
    """Of 60000 values three may be left out at either end: three high ones are, four low ones are not."""
    v = np.concatenate([np.full(4, -100.0), np.full(3, 100.0), np.linspace(-1, 1, 60000 - 7)])
    low, high = chosen(v, "percentile")
    assert low == -100 and 1 <= high < 1 + 200 / BINS


def square_error(v: Array, low: float, high: float) -> float:
    """Of storing values in 256 steps between two ends: the distance outside, step^2 / 12 inside."""
    counts, edges = histogram(v, zeros=False)
    x = (edges[1:] + edges[:-1]) / 2
    step = (high - low) / (LEVELS - 1)
    below, above = x < low, x >= high
    inside = counts[~below & ~above].sum() * step**2 / 12
    return float((counts[below] * (x[below] - low) ** 2).sum() + (counts[above] * (x[above] - high) ** 2).sum() + inside)


@pytest.mark.parametrize("name", DATA)
def test_mse_has_the_least_square_error(name: str) -> None:
    v = DATA[name].astype(np.float32)
    low, high = min(float(v.min()), 0.0), max(float(v.max()), 0.0)
    fractions = np.linspace(1, 0.1, STEPS)
    tried = [(low * a, high * b) for a in (fractions if low < 0 else [1]) for b in (fractions if high > 0 else [1])]
    errors = [square_error(v, *ends) for ends in tried]
    best = tried[int(np.argmin(errors))]
    expected = max(best[0], float(v.min())), min(best[1], float(v.max()))
    assert chosen(v, "mse") == pytest.approx(expected, rel=1e-9)


def test_mse_cuts_an_outlier_off_and_nothing_else() -> None:
    low, high = chosen(LONE, "mse", 1000)
    assert low < -3 and 4 < high < 30


def divergence(counts: Array, first: int, last: int) -> float:
    """Kullback and Leibler's, of the values clipped to bins first ... last - 1 from what 256 steps make of those inside."""
    p, q = counts[first:last].copy(), np.zeros(last - first)
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    owner = [i * LEVELS // len(q) for i in range(len(q))]
    for level in range(LEVELS):
        bins = [i for i in range(len(q)) if owner[i] == level and counts[first + i] > 0]
        for i in bins:
            q[i] = sum(counts[first + j] for j in bins) / len(bins)
    if not q.sum():
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    return float(sum(a * np.log(a / max(b, 1e-12)) for a, b in zip(p, q, strict=True) if a > 0))


def fast_divergence(counts: Array, first: int, last: int) -> float:
    """The same, without inner loops."""
    p, inside = counts[first:last].copy(), counts[first:last]
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    level = np.arange(last - first) * LEVELS // (last - first)
    used = inside > 0
    sums, uses = np.zeros(LEVELS), np.zeros(LEVELS)
    np.add.at(sums, level, inside)
    np.add.at(uses, level, used)
    q = np.where(used, sums[level] / np.maximum(uses[level], 1), 0)
    if not q.sum():
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    return float((p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], 1e-12))).sum())


def test_the_two_divergences_agree() -> None:
    counts = histogram(DATA["normal"], zeros=False)[0]
    for first, last in ((0, 4096), (700, 3000), (0, 256)):
        assert fast_divergence(counts, first, last) == pytest.approx(divergence(counts, first, last), rel=1e-9)


@pytest.mark.parametrize("name", [n for n in DATA if n != "positive"])
def test_kl_has_the_least_divergence(name: str) -> None:
    """The upper end first, then the lower: 96 of each between the extremes and a tenth of them, at least 256 bins."""
    counts, edges = histogram(DATA[name], zeros=False)
    zero = int(np.searchsorted(edges, 0.0))
    fractions = np.linspace(1, 0.1, STEPS)
    tops = {max(zero + int((BINS - zero) * f), LEVELS) for f in fractions}
    last = min(sorted(tops, reverse=True), key=lambda t: fast_divergence(counts, 0, t))
    starts = {min(zero - int(zero * f), last - LEVELS) for f in fractions} if zero else {0}
    first = min(sorted(s for s in starts if s >= 0), key=lambda s: fast_divergence(counts, s, last))
    assert chosen(DATA[name], "kl") == pytest.approx((edges[first], edges[last]), rel=1e-9)


def balanced(counts: Array, first: int, last: int) -> float:
    """Jensen and Shannon's divergence (twice it), of the values as they were seen from what 256 steps make of those inside, where the end
    steps have what lies beyond; a step whose bins were all empty lies all over them."""
    stored, owner = np.zeros(len(counts)), first + np.arange(last - first)
    level = np.arange(last - first) * LEVELS // (last - first)
    for i in np.unique(level):
        bins = owner[level == i]
        mass = counts[bins].sum() + (counts[:first].sum() if i == 0 else 0) + (counts[last:].sum() if i == LEVELS - 1 else 0)
        used = bins[counts[bins] > 0] if (counts[bins] > 0).any() else bins
        stored[used] = mass / len(used)
    p, q = counts / counts.sum(), stored / stored.sum()
    return float(2 * entropy((p + q) / 2) - entropy(p) - entropy(q))


def test_improved_kl_has_the_least_balanced_divergence() -> None:
    """As `kl`, the upper end first: the ends, and what every cut of the search costs."""
    for name in ("normal", "two heaps", "skewed"):
        counts, edges = histogram(DATA[name], zeros=False)
        zero = int(np.searchsorted(edges, 0.0))
        tops = sorted({max(zero + int((BINS - zero) * f), LEVELS) for f in np.linspace(1, 0.1, STEPS)}, reverse=True)
        last = min(tops, key=lambda t: balanced(counts, 0, t))
        starts = sorted({min(zero - int(zero * f), last - LEVELS) for f in np.linspace(1, 0.1, STEPS)})
        first = min((s for s in starts if s >= 0), key=lambda s: balanced(counts, s, last))
        assert chosen(DATA[name], "improved-kl") == pytest.approx((edges[first], edges[last]), rel=1e-9), name
        for cut in ((0, BINS), (300, 2000), (900, 3300), (1900, 2200)):
            assert improved_kl._divergence(counts, *cut) == pytest.approx(balanced(counts, *cut), rel=1e-6), (name, cut)


@pytest.mark.parametrize("method", ["minmax", "moving", "percentile", "mse", "kl"])
def test_a_tensor_of_one_value_has_its_range(method: str) -> None:
    for value in (0.0, 2.5, -3.0):
        found = calibrated(np.full(100, value), method).tensors["h"]
        assert (found.low, found.high, found.seen) == (value, value, (value, value))


@pytest.mark.parametrize("method", ["moving", "percentile", "mse", "kl"])
def test_inputs_and_outputs_keep_their_extremes(method: str) -> None:
    found = calibrated(LONE, method, 1000).tensors
    assert found["h"].high < 39 and {found[n].high for n in "xy"} == {40.0} and {found[n].method for n in "xy"} == {"minmax"}
    assert all(t.seen == (np.float32(LONE.min()), 40) for t in found.values())


def test_another_method_chooses_from_what_was_seen() -> None:
    seen = calibrated(DATA["skewed"], "minmax")
    again = seen.choose("h", "mse")
    assert (again.low, again.high) == chosen(DATA["skewed"], "mse") != (seen.tensors["h"].low, seen.tensors["h"].high)
    assert again.method == "mse"
    assert seen.vectors == 120
