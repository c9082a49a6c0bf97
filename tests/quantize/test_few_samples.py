"""Few samples do not show how far tensors reach: what ranges become, by formula, and what they must not become."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Floats, hidden

from edgeq import api
from edgeq.ir import Array, Graph
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mathematics import Erf
from edgeq.quantize import Options, ranges
from edgeq.quantize.bounds import bounds
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.scales import symmetric

RNG = np.random.default_rng(12)
SIX = (0.0, 6.0)


def found(x: Array, method: str = "minmax", graph: Graph | None = None, name: str = "h") -> tuple[float, float]:
    """The range of a tensor that is calibrated with ``x [V, 1, N]``."""
    r = calibrate(graph or hidden(x.shape[1:]), {"x": x.astype(np.float32)}, method).tensors[name]
    return r.low, r.high


@pytest.mark.parametrize("count", [1, 2, 5, 16, 63, 64])
def test_ends_move_to_the_mean_of_the_peaks_plus_three_deviations(count: int) -> None:
    x = RNG.normal(0, 1, (count, 1, 50)).astype(np.float32)
    low, high = float(x.min()), float(x.max())
    if 2 <= count < 64:
        lows, highs = x.min((1, 2)).astype(np.float64), x.max((1, 2)).astype(np.float64)
        low = max(2 * low, min(low, lows.mean() - 3 * lows.std()))
        high = min(2 * high, max(high, highs.mean() + 3 * highs.std()))
        assert low < x.min() or high > x.max()
    assert found(x) == pytest.approx((low, high), rel=1e-9)


def test_at_most_to_the_double() -> None:
    x = np.full((8, 1, 4), -10.0)
    x[0, 0] = 1, 0, -1, -2
    x[:, 0, 3] = -np.arange(8) - 11
    assert found(x)[1] == 2.0


def test_an_end_at_zero_or_beyond_it_stays() -> None:
    x = RNG.uniform(2, 3, (8, 1, 20)).astype(np.float32)
    assert found(x)[0] == x.min() and found(-x)[1] == -x.min()
    assert found(np.maximum(RNG.normal(0, 1, (8, 1, 20)), 0))[0] == 0


def test_what_two_samples_reach_exactly_is_a_limit() -> None:
    x = RNG.uniform(-0.5, 0.5, (8, 1, 20))
    x[[1, 5], 0, 0], x[[2, 7], 0, 1] = 1.0, -1.0  # pixels, masks, codes of classes
    assert found(x) == (-1.0, 1.0)


def test_an_end_that_a_method_has_chosen_within_the_extremes_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG.normal(0, 1, (8, 1, 4000))
    x[3, 0, 0] = 40.0
    moved = found(x, "percentile")
    monkeypatch.setattr(ranges, "FEW", 0)
    assert moved == found(x, "percentile") and moved[1] < 6


def bounded() -> Graph:
    b = Floats()
    x = b.input(1, 4, 4, 2)
    six = b.op(Clamp(SIX), x, name="six")
    pooled = b.op(AveragePool2d((2, 2), (2, 2)), six, name="pooled")
    free = b.op(AveragePool2d((2, 2), (2, 2)), x, name="free")
    both = b.op(Concat(3), pooled, b.op(Clamp((-1.0, 9.0)), free), name="both")
    mixed = b.op(Concat(3), pooled, free, name="mixed")
    return b.graph(b.op(Erf(), both, name="sine"), b.op(Erf(), mixed))


def test_bounds_come_from_clamps_and_natural_ranges() -> None:
    own = bounds(bounded())
    assert own["six"] == own["pooled"] == SIX
    assert own["both"] == (-1.0, 9.0) and own["sine"] == (-1.0, 1.0)
    assert own["mixed"] == own["free"] == (-np.inf, np.inf)


def test_no_range_goes_beyond_a_bound() -> None:
    x = RNG.uniform(3, 5, (8, 1, 4, 4, 2))
    x[0] += 2  # alone at 6 once it is clamped
    graph = bounded()
    for name in ("six", "pooled"):
        assert found(x, graph=graph, name=name)[1] <= 6.0
    assert found(x, graph=graph, name="free")[1] > x[0].mean()
    assert found(x, graph=graph, name="free")[1] > calibrate(graph, {"x": x.astype(np.float32)}).tensors["free"].seen[1]


def test_words_of_16_bits_reach_as_far() -> None:
    x = RNG.normal(0, 1, (8, 1, 20))
    graph = hidden((1, 20))
    own = calibrate(graph, {"x": x.astype(np.float32)}, "minmax")
    low, high = found(x)
    assert max(-low, high) > np.abs(x).max()
    assert symmetric(graph, own, "single")["h"][0] == pytest.approx(max(-low, high) / 32767, rel=1e-6)


def network() -> Graph:
    b, rng = Floats(), np.random.default_rng(3)
    h = b.layer(FullyConnected((0.0, np.inf)), b.input(1, 24), rng.normal(0, 0.3, (32, 24)))
    h = b.layer(FullyConnected((0.0, np.inf)), h, rng.normal(0, 0.3, (32, 32)))
    return b.graph(b.layer(FullyConnected(), h, rng.normal(0, 0.3, (6, 32)), name="y"))


def test_samples_not_seen_keep_more(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, rng = network(), np.random.default_rng(4)
    x = (rng.normal(0, 1, (408, 1, 24)) * rng.uniform(0.5, 2, (408, 1, 1))).astype(np.float32)
    want = evaluate_float(graph, {"x": x[8:]})["y"].reshape(400, -1)

    def kept() -> float:
        got = api.quantize(graph, {"x": x[:8]}, options=Options(rounding="nearest")).predict(x[8:])
        return float(10 * np.log10((want**2).sum() / ((want - got.reshape(400, -1)) ** 2).sum()))

    wide = kept()
    monkeypatch.setattr(ranges, "FEW", 0)
    assert wide > kept() + 3


@pytest.mark.parametrize(("count", "lines"), [(1, 0), (2, 1), (63, 1), (64, 0)])
def test_one_line_says_it(caplog: pytest.LogCaptureFixture, count: int, lines: int) -> None:
    api.quantize(network(), {"x": RNG.normal(0, 1, (count, 1, 24)).astype(np.float32)}, options=Options(rounding="nearest"))
    own = [r.getMessage() for r in caplog.records if "ranges are widened" in r.getMessage()]
    assert len(own) == lines
    assert all(line.startswith(f"{count} samples") and line.endswith("Fix: calibrate with 64 or more") for line in own)
