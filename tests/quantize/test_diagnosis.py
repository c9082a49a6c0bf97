"""The diagnosis of a quantized graph: its figures from their definitions, and the cause that it names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_graphs import PLAIN, Floats

from edgeq.ir import Array, Graph, QParams
from edgeq.ops.activations import HardSwish, Sigmoid
from edgeq.ops.add import Sub
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options, TensorStats, decide, diagnose, quantize, to_half
from edgeq.quantize.diagnosis import Histogram
from edgeq.quantize.floating import evaluate_float
from edgeq.simulate import simulate

RNG = np.random.default_rng(9)
X = RNG.normal(0, 1, (80, 1, 6)).astype(np.float32)


def network(w: Array | None = None) -> Graph:
    b = Floats()
    h = b.layer(FullyConnected(), b.input(1, 6), np.random.default_rng(0).normal(0, 1, (6, 6)) if w is None else w, name="h")
    return b.graph(b.layer(FullyConnected(), h, np.random.default_rng(1).normal(0, 1, (3, 6)), name="y"))


def stats(real: Graph, graph: Graph, x: Array = X) -> dict[str, TensorStats]:
    return {t.name: t for t in diagnose(real, graph, {"x": x})}


def rescaled(graph: Graph, name: str, factor: float) -> Graph:
    """With another scale of one activation."""
    t = graph.tensors[name]
    kind = QParams((t.type.scale * factor,), t.type.zero_point)
    return replace(graph, tensors={**graph.tensors, name: replace(t, type=replace(t.type, q=kind))})


def decibels(signal: Array, error: Array) -> float:
    return float(10 * np.log10((signal**2).sum() / (error**2).sum()))


@pytest.mark.parametrize("value", [0.0, 1e-40, 3.0, -1e38])
def test_a_histogram_of_one_value(value: float) -> None:
    one = np.full(5, value)
    found = Histogram(one, one)
    found.add(one, one)
    low, high = found.ends
    assert low < value < high and found.real.sum() == found.stored.sum() == found.real.max() == 5


@pytest.mark.parametrize("factor", [1.0, 0.4])
def test_figures_are_what_their_names_say(factor: float) -> None:
    real = network()
    graph = rescaled(quantize(real, {"x": X}, PLAIN), "h", factor)
    found = stats(real, graph)["h"]
    t = graph.type("h")
    w = real.tensors[real.nodes[0].inputs[1]].data
    want = X[:, 0].astype(np.float64) @ np.asarray(w, np.float64).T
    got = simulate(graph, {"x": X}, steps=True).steps["h"][:, 0].astype(np.int64)
    meant = (got - t.zero_point) * np.float64(np.float32(t.scale))
    low, high = (-128 - t.zero_point) * t.scale, (127 - t.zero_point) * t.scale
    clipped = np.clip(want, low, high)
    assert (found.op, found.shape, found.dtype, found.scale, found.zero_point) == ("fully_connected", (1, 6), "s8", t.scale, t.zero_point)
    assert (found.low, found.high) == pytest.approx((low, high)) and not found.equalized
    assert (found.seen_low, found.seen_high) == pytest.approx((want.min(), want.max()), rel=1e-5)
    assert found.sqnr_db == pytest.approx(decibels(want, want - meant), abs=1e-3)
    assert found.own_sqnr_db == pytest.approx(decibels(want, want - np.rint(clipped / t.scale) * t.scale), abs=1e-2)
    assert found.saturation == pytest.approx((np.abs(want - clipped) > t.scale / 2).mean(), abs=1e-9)
    assert found.zeros == (got == t.zero_point).mean() and found.used == (got.max() - got.min() + 1) / 256
    assert (found.saturation > 0.05) == (factor < 1)


def test_every_activation_is_listed_in_order() -> None:
    real = network()
    assert [t.name for t in diagnose(real, quantize(real, {"x": X}, PLAIN), {"x": X})] == ["x", "h", "y"]
    assert stats(real, quantize(real, {"x": X}, PLAIN))["x"].op == "input"


def test_equalized_channels_are_compared_as_they_are_stored() -> None:
    w = np.random.default_rng(0).normal(0, 1, (6, 6)) * 2.0 ** -np.arange(6)[:, None]
    b = Floats()
    h = b.layer(FullyConnected(clamp=(0.0, np.inf)), b.input(1, 6), w, name="h")
    real = b.graph(b.layer(FullyConnected(), h, np.random.default_rng(1).normal(0, 1, (3, 6)) * 2.0 ** np.arange(6), name="y"))
    options = replace(PLAIN, equalize=True)
    graph, known = quantize(real, {"x": X}, options), decide(real, {"x": X}, options).precision.tensors["h"].exponents
    h = {t.name: t for t in diagnose(real, graph, {"x": X}, exponents={"h": known})}["h"]
    assert h.equalized and h.sqnr_db > 35 and h.own_sqnr_db > 40 and any(known)


def cause(real: Graph, graph: Graph, name: str, x: Array = X) -> str:
    found = stats(real, graph, x)[name]
    assert bool(found.cause) == bool(found.fix)
    return found.cause


def test_a_good_tensor_has_no_cause() -> None:
    real = network()
    assert all(not t.cause and t.sqnr_db > 30 for t in stats(real, quantize(real, {"x": X}, PLAIN)).values())


def test_clipping_is_named() -> None:
    real = network()
    graph = rescaled(quantize(real, {"x": X}, PLAIN), "h", 0.2)
    assert "beyond the range" in cause(real, graph, "h")
    assert cause(real, graph, "y") == "inherits the error of 'h'"


def test_outliers_and_uneven_channels_are_named() -> None:
    real = network(np.eye(6))
    one = X * np.where(np.arange(80) == 3, 400, 1).astype(np.float32)[:, None, None]
    assert cause(real, quantize(real, {"x": one}, PLAIN), "x", X) == "outliers stretch the range"
    uneven = np.concatenate([X[..., :5] * np.float32(0.001), X[..., 5:]], axis=-1)
    found = stats(real, rescaled(quantize(real, {"x": uneven}, PLAIN), "h", 25.0), uneven)
    assert found["h"].cause.startswith("channels whose ranges differ") and found["h"].fix == "equalize the channels"


def coarse(graph: Graph) -> Graph:
    """With the first layer's weights in steps of 64."""
    name = graph.nodes[0].inputs[1]
    data = np.asarray(graph.tensors[name].data) // 64 * 64
    return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], data=data.astype(np.int8))})


def test_zeros_rounded_weights_and_cancelling_inputs_are_named() -> None:
    silent = network(np.zeros((6, 6)))
    assert cause(silent, quantize(silent, {"x": X}, PLAIN), "h") == "zero for every sample"
    real = network()
    assert cause(real, coarse(quantize(real, {"x": X}, PLAIN)), "h") == "rounding of the weights"
    b = Floats()
    x, z = b.input(1, 6), b.input(1, 6, name="z")
    cancelling = b.graph(b.op(Sub(), x, z, name="y"))
    pair = {"x": X, "z": X + RNG.normal(0, 2e-3, X.shape).astype(np.float32)}
    found = {t.name: t for t in diagnose(cancelling, quantize(cancelling, pair, PLAIN), pair)}
    assert found["y"].cause == "sub cancels most of its inputs' signal" and found["x"].cause == ""


def test_a_fixed_range_is_named() -> None:
    b = Floats()
    real = b.graph(b.op(Sigmoid(), b.input(1, 6), name="y"))
    x = X - np.float32(9)
    assert cause(real, quantize(real, {"x": x}, PLAIN), "y", x) == "small values in the fixed range of sigmoid"


def test_half_precision() -> None:
    real = network(np.eye(6) * 3)
    found = stats(real, to_half(real), X)
    assert found["h"].dtype == "f16" and found["h"].scale == 0
    assert found["h"].sqnr_db > 55 and (found["h"].low, found["h"].high) == (-65504, 65504)
    large = X * np.float32(2e4)
    assert "exceed 65504" in cause(real, to_half(real), "h", large)


def test_what_is_on_already_is_not_advised() -> None:
    real = network()
    graph, fixes = coarse(quantize(real, {"x": X}, PLAIN)), {}
    for name, options in {"unknown": None, "plain": PLAIN, "best": Options(), "few": Options(weights="int4")}.items():
        found = {t.name: t for t in diagnose(real, graph, {"x": X}, options=options)}["h"]
        assert found.cause == "rounding of the weights"
        fixes[name] = found.fix
    assert fixes["unknown"] == "rounding second-order, weight_scale mse, bias correction"
    assert "rounding second-order" in fixes["plain"] and "rounding" not in fixes["best"] and "half precision" in fixes["best"]
    assert "int8" in fixes["few"]
    one = X * np.where(np.arange(80) == 3, 400, 1).astype(np.float32)[:, None, None]
    stored = quantize(real, {"x": one}, PLAIN)
    given = {m: diagnose(real, stored, {"x": X}, options=Options(method=m)) for m in ("minmax", "mse")}
    fix = {m: next(t.fix for t in found if t.name == "x") for m, found in given.items()}
    assert fix["minmax"] == "choose the range by mse or percentile" and fix["mse"].startswith("choose the range by percentile, or compute")


def test_histograms_count_floats_and_what_is_stored() -> None:
    real = network()
    graph = rescaled(quantize(real, {"x": X}, PLAIN), "h", 0.25)  # a quarter of the range: the rest is cut off
    found = stats(real, graph)["h"].histogram
    assert found.real.sum() == found.stored.sum() == 80 * 6
    floats = evaluate_float(real, {"x": X}, steps=True)["h"]
    low, high = found.ends
    assert found.real.tolist() == np.histogram(floats, len(found.real), (low, high))[0].tolist()
    limits = [(i - graph.type("h").zero_point) * graph.type("h").scale for i in (-128, 127)]
    at = [int((v - low) / (high - low) * len(found.stored)) for v in limits]
    assert not found.stored[: at[0]].any() and not found.stored[at[1] + 1 :].any()
    assert found.stored[at[0]] + found.stored[at[1]] > found.real[: at[0]].sum() > 0


def test_what_a_hard_swish_does_not_tell_apart_is_no_loss_in_halves() -> None:
    b = Floats()
    h = b.layer(FullyConnected(), b.input(1, 6), np.random.default_rng(0).normal(0, 40, (6, 6)), name="h")
    real = b.graph(b.op(HardSwish(), h, name="y"))
    found = stats(real, to_half(real))["h"]
    assert found.seen_low < -20 and found.sqnr_db > 60
