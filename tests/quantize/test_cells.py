"""The scale of an LSTM's cell state, and of what recurrent layers carry along."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_graphs import PLAIN, Floats, integers, quantized_input, scales_of
from onnx import ModelProto

sys.path += [str(Path(__file__).parents[1] / "frontends")]
from onnx_models import Net, feeds, load, real_outputs

from edgeq import api, half
from edgeq.ir import Array, DType, Graph
from edgeq.ops.concat import Concat
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm
from edgeq.ops.rescale import Rescale
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.passes import normalise
from edgeq.quantize import calibrate, evaluate_float, quantize
from edgeq.simulate import dequantize_array, simulate

H, T = 3, 40


def lstm(gain: float, forget: float = 0.0, reverse: bool = False) -> Graph:
    """A layer whose cells see `gain` times the input and keep sigmoid(forget) of themselves."""
    b = Floats()
    x = b.input(T, 2)
    rng = np.random.default_rng(0)
    w = rng.normal(0, 0.5, (4 * H, 2))
    w[2 * H : 3 * H] *= gain
    bias = np.repeat([2.0, forget, 0.0, 1.0], H)
    start = [b.const(np.zeros((1, H))), b.const(np.zeros((1, H)))]
    y = b.op(Lstm(reverse=reverse), x, b.const(w), b.const(rng.normal(0, 0.2, (4 * H, H))), b.const(bias), *start, name="y")
    return b.graph(y, f"{y}.1")


def samples(count: int = 12) -> Array:
    return np.random.default_rng(1).normal(0, 1, (count, T, 2)).astype(np.float32)


@pytest.mark.parametrize("gain", [0.02, 0.3, 3.0])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_cell_has_room_for_twice_what_was_seen(gain: float, reverse: bool) -> None:
    """The finest power of two from 2^-15 to 1 that covers it in int16."""
    graph, x = lstm(gain, reverse=reverse), samples()
    peak = np.abs(evaluate_float(graph, {"x": x})["y.1"]).max()
    power = max(p for p in range(16) if p == 0 or 2 * peak <= 32767 / 2**p)
    found = quantize(graph, {"x": x}, PLAIN).type("y.1")
    assert (found.scale, found.zero_point, found.dtype) == (2.0**-power, 0, DType.INT16)
    assert calibrate(graph, {"x": x}).cells["y.1"] == found.scale


def test_bias_correction_of_gates_takes_the_mean_error_up() -> None:
    """What float says on average over samples and time less what the integers say; here all of it comes from the input."""
    b, rng, x = Floats(), np.random.default_rng(3), samples() + np.float32(0.4)
    w, bias = rng.normal(0, 0.5, (4 * H, 2)).astype(np.float32), rng.normal(0, 0.3, 4 * H).astype(np.float32)
    start = [b.const(np.zeros((1, H))), b.const(np.zeros((1, H)))]
    y = b.op(Lstm(), b.input(T, 2), b.const(w), b.const(np.zeros((4 * H, H))), b.const(bias), *start, name="y")
    graph = quantize(b.graph(y, f"{y}.1"), {"x": x}, replace(PLAIN, rounding="truncate", bias_correction=True))
    q, scales = integers(graph, "y", 1)
    error = (x.astype(np.float64) @ w.T.astype(np.float64) - quantized_input(graph, x) @ (q * scales[:, None]).T).mean((0, 1))
    step = graph.type("x").scale * scales
    assert np.abs(integers(graph, "y", 3)[0] - (bias + error) / step).max() < 0.51
    assert np.abs(error / step).max() > 3  # it is not nothing


def test_a_small_cell_is_wide() -> None:
    """The finest steps of int16 are too coarse for it: int32, in steps of 2^-16."""
    t = quantize(lstm(0.001), {"x": samples()}, PLAIN).type("y.1")
    assert (t.dtype, t.scale, t.zero_point) == (DType.INT32, 2.0**-16, 0)


@pytest.mark.parametrize("peak", [300.0, 0.5])
def test_a_cell_that_rises_slowly_beside_a_large_one_is_wide(peak: float) -> None:
    """With steps for 300 a cell that rises by 1/128 each time would stand still."""
    b = Floats()
    x = b.input(400, 1)
    bias = [0, 0, 20, 20, 0, math.atanh(2**-6), 2, 2]  # i, f, g and o of two units: the first keeps what it has
    start = [b.const(np.zeros((1, 2))), b.const([[peak, 0.0]])]
    y = b.op(Lstm(), x, b.const(np.zeros((8, 1))), b.const(np.zeros((8, 2))), b.const(bias), *start, name="y")
    t = quantize(b.graph(y, f"{y}.1"), {"x": np.random.default_rng(2).normal(0, 1, (4, 400, 1)).astype(np.float32)}, PLAIN).type("y.1")
    assert (t.dtype is DType.INT32) == (peak > 1)


def test_states_of_a_layer_have_one_scale() -> None:
    """What saturates in a state is never put right: it has room for all that was seen, whatever the method."""
    b = Floats()
    h0 = b.input(1, H, name="h0")
    rng = np.random.default_rng(3)
    x = b.input(T, 2, name="x")
    w = [b.const(rng.normal(0, 1.5, s)) for s in ((3 * H, 2), (3 * H, H), (3 * H,), (3 * H,))]
    y = b.op(Gru(), x, *w, h0, name="y")
    graph = b.graph(y)
    data = {"x": samples(), "h0": np.random.default_rng(4).uniform(-1, 1, (12, 1, H)).astype(np.float32)}
    found = quantize(graph, data, PLAIN)
    assert scales_of(found, "h0") == scales_of(found, "y")
    seen = evaluate_float(graph, data)["y"]
    low, high = min(float(seen.min()), float(data["h0"].min())), max(float(seen.max()), float(data["h0"].max()))
    assert math.isclose(scales_of(found, "y")[0], (high - low) / 255, rel_tol=1e-6)


@pytest.mark.parametrize("recipe", ["int8", "mixed"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_all_three_results_of_a_layer(direction: str, recipe: str) -> None:
    """The cell states of two directions are joined as the integers that they are, in one scale that has room for both."""
    net, count = Net(seed=3), 2 if direction == "bidirectional" else 1
    weights = net.random(count, 32, 6), net.random(count, 32, 8), net.random(count, 64)
    model = net.model(*net.op("LSTM", net.input(5, 1, 6), *weights, outputs=3, hidden_size=8, direction=direction))
    graph, x = load(model), feeds(model, 24)
    quantized = api.quantize(graph, x, recipe=recipe).graph
    want, got = real_outputs(graph, x), simulate(quantized, x).outputs
    for name in graph.outputs:
        t, a = quantized.type(name), got[name]
        values = half.to_float(a) if t.dtype is DType.FLOAT16 else dequantize_array(a, t.scale, t.zero_point)
        noise = float(((values - want[name]) ** 2).sum())
        assert noise < 10**-3 * float((want[name] ** 2).sum()), name
    assert quantized.type(graph.outputs[2]).dtype is DType.INT16


def unrolled() -> ModelProto:
    """An LSTM spelled out step by step, whose cell state is read by more than the next step; the first step has none before it."""
    b, n = Net(17), 6
    w, r, bias = b.random(8, 4 * n), b.random(n, 4 * n), b.random(4 * n)
    x, h, c = b.input(1, 3, 8), "", ""
    for t in range(3):
        row = b.op("Squeeze", b.op("Slice", x, b.ints(t), b.ints(t + 1), b.ints(1)), b.ints(1))
        gates = b.op("Add", b.op("MatMul", row, w), bias)
        gates = b.op("Add", gates, b.op("MatMul", h, r)) if h else gates
        i, o, f, g = (b.op("Slice", gates, b.ints(k * n), b.ints((k + 1) * n), b.ints(1)) for k in range(4))
        fresh = b.op("Mul", b.op("Sigmoid", i), b.op("Tanh", g))
        c = b.op("Add", b.op("Mul", b.op("Sigmoid", f), c), fresh) if c else fresh
        h = b.op("Mul", b.op("Sigmoid", o), b.op("Tanh", c))
    return b.model(b.op("MatMul", b.op("Add", b.op("Mul", c, c), h), b.random(n, 4)), c)


@pytest.mark.parametrize("recipe", ["int8", "mixed"])
def test_what_is_no_layer_reads_a_copy_of_a_cell_state(tmp_path: Path, recipe: str) -> None:
    model = unrolled()
    graph, x = normalise(load(model)), feeds(model, 32)
    made = api.quantize(graph, x, recipe=recipe)
    assert any(isinstance(n.op, Rescale) for n in made.graph.nodes)
    built = api.build(made, output=tmp_path / "m", name="m", toolchain="gcc", vectors=2)  # every step compared with the simulator
    assert built
    found, wanted = api.simulate(made.graph, x).outputs(real=True), evaluate_float(graph, x)
    for name, want in wanted.items():
        assert 10 * np.log10((want**2).mean() / ((want - found[name]) ** 2).mean()) > 38
    (tmp_path / "precision.toml").write_bytes(made.files["precision.toml"])
    again = api.quantize(graph, x, recipe=recipe, precision=tmp_path / "precision.toml")
    assert [t.type for t in again.graph.tensors.values()] == [t.type for t in made.graph.tensors.values()]


@pytest.mark.parametrize("first", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("storage", ["int8", "int16"])
@pytest.mark.parametrize("before", [True, False])
def test_a_gru_has_room_for_a_first_state_beyond_one(first: float, storage: str, before: bool, tmp_path: Path) -> None:
    b, rng = Floats(), np.random.default_rng(4)
    x, h = b.input(6, 4), b.input(1, 8, name="h")
    weights = [b.const(rng.normal(0, s, (24, n))) for s, n in ((0.5, 4), (0.05, 8))]
    biases = [b.const(rng.normal(0, 0.3, 24) + np.repeat([0.0, 3.0, 0.0], 8)) for _ in range(2)]  # the state is mostly kept
    y = b.op(Gru(linear_before_reset=before), x, *weights, *biases, h, name="y")
    graph = b.graph(y)
    given = {"x": rng.normal(0, 1, (32, 6, 4)).astype(np.float32), "h": (first * rng.normal(0, 1, (32, 1, 8))).astype(np.float32)}
    if storage == "int8":
        chosen = api.quantize(graph, given)
    else:
        (tmp_path / "p.toml").write_text('format = 1\n[nodes]\n"y" = "int16"\n')
        chosen = api.quantize(graph, given, precision=tmp_path / "p.toml", recipe="mixed")
    want = evaluate_float(graph, given)["y"].astype(np.float64)
    got = api.simulate(chosen.graph, given).outputs(real=True)[chosen.graph.results[0]]
    assert 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > (32 if storage == "int8" else 50)


def test_a_cell_state_that_nobody_declared_is_an_input_in_integers(tmp_path: Path) -> None:
    b, rng = Floats(), np.random.default_rng(5)
    x, h, c = b.input(6, 4), b.input(1, 8, name="h"), b.input(8, name="c")
    cell = b.op(Reshape((1, 8)), c)
    weights = [b.const(rng.normal(0, 0.4, (32, n))) for n in (4, 8)]
    y = b.op(Lstm(), x, *weights, b.const(rng.normal(0, 0.3, 32)), h, cell, name="y")
    graph = b.graph(y, f"{y}.1")
    given = {n: rng.normal(0, 0.8, (32, *graph.type(n).shape)).astype(np.float32) for n in graph.inputs}
    chosen = api.quantize(graph, given, recipe="mixed")
    assert [chosen.graph.type(n).dtype for n in ("x", "h", "c")] == [DType.FLOAT16, DType.FLOAT16, DType.INT16]
    want, got = evaluate_float(graph, given), api.simulate(chosen.graph, given).outputs(real=True)
    for a, b_ in zip(graph.results, chosen.graph.results, strict=True):
        assert 10 * np.log10((want[a] ** 2).sum() / ((got[b_] - want[a]) ** 2).sum()) > 30
    api.build(chosen, output=tmp_path / "m", name="m", toolchain="gcc", vectors=4)  # compares


@pytest.mark.parametrize("recipe", ["int8", "mixed"])
def test_h_and_c_in_one_tensor_that_is_no_declared_state(recipe: str, tmp_path: Path) -> None:
    b, rng = Floats(), np.random.default_rng(6)
    x, both = b.input(6, 4), b.input(2, 8, name="both")
    h, c = (b.op(Slice((i, 0), (1, 8), (1, 1)), both) for i in range(2))
    weights = [b.const(rng.normal(0, 0.4, (32, n))) for n in (4, 8)]
    y = b.op(Lstm(), x, *weights, b.const(rng.normal(0, 0.3, 32)), h, c, name="y")
    last = b.op(Slice((5, 0), (1, 8), (1, 1)), y)
    graph = b.graph(y, b.op(Concat(0), last, f"{y}.1"))
    given = {n: rng.normal(0, 0.5, (32, *graph.type(n).shape)).astype(np.float32) for n in graph.inputs}
    chosen = api.quantize(graph, given, recipe=recipe)
    want, got = evaluate_float(graph, given), api.simulate(chosen.graph, given).outputs(real=True)
    for a, b_ in zip(graph.results, chosen.graph.results, strict=True):
        assert 10 * np.log10((want[a] ** 2).sum() / ((got[b_] - want[a]) ** 2).sum()) > 30
    api.build(chosen, output=tmp_path / "m", name="m", toolchain="gcc", vectors=4)  # compares
