"""The integers of weights and biases: scales, rounding and bias correction from their formulas, on layers of a few weights."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from float_graphs import PLAIN, Floats, dense, integers, quantized_input

from edgeq.ir import Array, Graph
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.transpose_conv2d import TransposeConv2d
from edgeq.quantize import Options, evaluate_float, quantize
from edgeq.quantize.grid import Grid
from edgeq.quantize.weight_scales.stored import known

RNG = np.random.default_rng(11)
F = np.float32


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests draw the same numbers in any order."""
    RNG.bit_generator.state = np.random.default_rng(12).bit_generator.state


def noise(*shape: int) -> Array:
    return RNG.normal(0, 1, shape).astype(F)


W = noise(6, 9) * np.linspace(0.1, 3, 6, dtype=F)[:, None]
X = noise(50, 1, 9)


def stored(options: Options, w: Array = W, x: Array = X, bias: Array | None = None) -> tuple[Graph, Array, Array]:
    """The quantized layer, its integers ``[O, K]`` and scales ``[O]``."""
    graph = quantize(dense(w, bias), {"x": x}, options)
    return graph, *integers(graph, "y", 1)


def test_a_channels_largest_weight_is_127() -> None:
    _, q, scales = stored(PLAIN)
    assert np.array_equal(scales, (np.abs(W).max(1).astype(np.float64) / 127).astype(F))
    assert np.array_equal(q, np.rint(W.astype(np.float64) / scales[:, None])) and (np.abs(q).max(1) == 127).all()


def test_truncation_goes_toward_zero() -> None:
    _, q, scales = stored(replace(PLAIN, rounding="truncate"))
    assert np.array_equal(q, np.clip(np.trunc(W.astype(np.float64) / scales[:, None]), -127, 127))


def test_halves_round_to_even() -> None:
    w = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]], F)
    assert stored(PLAIN, w, noise(20, 1, 7))[1].tolist() == [[127, 0, 2, 2, 0, -2, -2]]


def test_the_square_error_chooses_the_scale() -> None:
    _, q, scales = stored(replace(PLAIN, weight_scale="mse"))
    for row, found, whole in zip(W.astype(np.float64), scales, q, strict=True):
        tried = [np.abs(row).max() / 127 * s for s in np.linspace(1, 0.6, 41)]
        errors = [((np.clip(np.rint(row / s), -127, 127) * s - row) ** 2).sum() for s in tried]
        assert found == F(tried[int(np.argmin(errors))]) and np.array_equal(whole, np.clip(np.rint(row / found), -127, 127))
    wide = np.concatenate([noise(1, 9000) * 0.2, [[1.0]]], axis=1).astype(F)
    _, q, scales = stored(replace(PLAIN, weight_scale="mse"), wide, noise(3, 1, 9001))
    assert scales[0] < 0.97 / 127 and q[0, -1] == 127  # one weight saturates for the others' sake


def test_clipped_weights_saturate() -> None:
    _, q, scales = stored(replace(PLAIN, clip=0.5))
    assert np.array_equal(scales, (np.abs(W).max(1).astype(np.float64) * 0.5 / 127).astype(F))
    assert np.array_equal(q, np.clip(np.rint(W.astype(np.float64) / scales[:, None]), -127, 127))


def test_one_scale_for_all_channels() -> None:
    _, q, scales = stored(replace(PLAIN, per_tensor=True))
    assert set(scales) == {float(F(np.abs(W).max() / 127))} and np.array_equal(q, np.rint(W.astype(np.float64) / scales[:, None]))


def test_a_channel_without_weights_has_a_middling_scale() -> None:
    w = W.copy()
    w[2] = 0
    graph, q, scales = stored(PLAIN, w, bias=np.ones(6, F))
    assert not q[2].any() and scales[2] == F(2.0**-8 * graph.type("y").scale / graph.type("x").scale)


def test_tiny_weights_get_no_scale_that_a_bias_would_not_fit() -> None:
    w = W.copy()
    w[1] *= 1e-9
    graph, _, scales = stored(PLAIN, w)
    assert scales[1] == F(2.0**-20 * graph.type("y").scale / graph.type("x").scale)


# Biases


def bias_steps(graph: Graph, scales: Array) -> Array:
    """The real value of a bias' steps."""
    return graph.type("x").scale * scales


def test_a_bias_is_in_steps_of_the_sums() -> None:
    bias = noise(6) * 10
    graph, _, scales = stored(PLAIN, bias=bias)
    b, b_scales = integers(graph, "y", 2)
    assert b.dtype == np.int32 and np.array_equal(b, np.rint(bias.astype(np.float64) / bias_steps(graph, scales))) and not b_scales.size


def test_a_bias_beyond_saturation_is_cut() -> None:
    """A bias at which any input saturates the output needs no more room: two ranges of the output and all that the weights can add."""
    bias = np.array([1e9, -1e9, 0, 0, 0, 0], F)
    b = Floats()
    y = b.layer(FullyConnected(clamp=(-5.0, 5.0)), b.input(1, 9), W, bias, name="y")
    graph = quantize(b.graph(y), {"x": X}, PLAIN)
    q, scales = integers(graph, "y", 1)
    limit = 512 * graph.type("y").scale / bias_steps(graph, scales) + 256 * np.abs(q.astype(np.int64)).sum(1)
    assert integers(graph, "y", 2)[0][:2].tolist() == [int(limit[0]), -int(limit[1])]


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_bias_correction_takes_the_mean_error_up(rounding: str) -> None:
    """The mean over the samples of what float says less what the integers say, before the clamp."""
    bias = noise(6)
    x = X + F(0.3)
    graph, q, scales = stored(replace(PLAIN, rounding=rounding, bias_correction=True), bias=bias, x=x)
    inputs = quantized_input(graph, x)[:, 0]
    error = (x[:, 0].astype(np.float64) @ W.T.astype(np.float64) - inputs @ (q * scales[:, None]).T).mean(0)
    want = (bias + error) / bias_steps(graph, scales)
    assert np.abs(integers(graph, "y", 2)[0] - want).max() < 0.51
    assert np.abs(error / bias_steps(graph, scales)).max() > 3  # it is not nothing


def test_bias_correction_of_a_convolution() -> None:
    w, bias, x = noise(3, 2, 2, 2), noise(3), noise(20, 1, 5, 4, 2) + F(0.5)
    b = Floats()
    real = b.graph(b.layer(Conv2d(clamp=(0.0, 1.0)), b.input(1, 5, 4, 2), w, bias, name="y"))
    graph = quantize(real, {"x": x}, replace(PLAIN, rounding="truncate", bias_correction=True))
    q, scales = integers(graph, "y", 1)
    b = Floats()
    plain = b.graph(b.layer(Conv2d(), b.input(1, 5, 4, 2), (w - q * scales.reshape(3, 1, 1, 1)).astype(F), name="y"))
    approximate = b.layer(Conv2d(), b.input(1, 5, 4, 2, name="q"), (q * scales.reshape(3, 1, 1, 1)).astype(F), name="z")
    rest = b.graph("y", approximate)
    values = evaluate_float(rest, {"x": x, "q": (x - quantized_input(graph, x)).astype(F)})
    error = (values["y"].astype(np.float64) + values["z"]).mean(axis=(0, 1, 2, 3))
    assert plain and np.abs(integers(graph, "y", 2)[0] - (bias + error) / bias_steps(graph, scales)).max() < 0.52


# Second-order rounding


def correlated(count: int, k: int) -> Array:
    """Inputs that depend on each other, in steps that int8 stores exactly."""
    return on_grid(RNG.normal(0, 1, (count, 1, k)) @ RNG.normal(0, 1, (k, k)))


def on_grid(x: Array) -> Array:
    """Whole numbers from -128 to 127."""
    return np.clip(np.rint(x * (110 / np.abs(x).max())), -128, 127).astype(F)


def error_of(graph: Graph, w: Array, x: Array, q: Array, scales: Array) -> float:
    """Mean square error of a layer's output about its mean, float inputs and weights against the stored ones."""
    d = x[:, 0].astype(np.float64) @ w.T.astype(np.float64) - quantized_input(graph, x)[:, 0] @ (q * scales[:, None]).T
    return float(((d - d.mean(0)) ** 2).mean())


@pytest.mark.parametrize("seed", range(12))
def test_second_order_finds_what_trying_all_finds(seed: int) -> None:
    """Of all integers around the float weights (a box of 5 to the power of 4), hardly any are better on the calibration data."""
    rng = np.random.default_rng(seed)
    w = rng.normal(0, 1, (1, 4)).astype(F)
    x = on_grid(rng.normal(0, 1, (4000, 1, 4)) @ rng.normal(0, 1, (4, 4)))
    graph, q, scales = stored(replace(PLAIN, rounding="second-order"), w, x)
    found = error_of(graph, w, x, q, scales)
    base = np.rint(w[0] / scales[0])
    boxes = itertools.product(range(-2, 3), repeat=4)
    tried = [error_of(graph, w, x, np.clip(base + d, -127, 127)[None], scales) for d in map(np.array, boxes)]
    assert found <= min(tried) * 1.3
    assert found <= error_of(graph, w, x, base[None], scales) * 1.05


def test_second_order_beats_nearest_where_inputs_depend_on_each_other() -> None:
    w, x = noise(16, 40), correlated(600, 40)
    code = Options(**{**vars(PLAIN), "rounding": "second-order", "weight_scale": "mse"})
    graph, q, scales = stored(code, w, x)
    near = np.clip(np.rint(w.astype(np.float64) / scales[:, None]), -127, 127)
    assert error_of(graph, w, x, q, scales) < 0.5 * error_of(graph, w, x, near, scales)
    assert np.abs(q - near).max() < 12


def test_few_samples_stay_near_the_float_weights() -> None:
    """With one sample the outputs could be had by any weights: those nearby are taken."""
    w = noise(8, 30)
    _, q, scales = stored(replace(PLAIN, rounding="second-order"), w, noise(1, 1, 30))
    assert np.abs(q - w / scales[:, None]).max() < 12


def test_without_noise_second_order_is_nearest() -> None:
    """Inputs of independent, equal channels have no error to pass on but their own."""
    x = np.concatenate([np.eye(6), -np.eye(6)])[:, None].astype(F).repeat(50, 0) * 3
    w = noise(5, 6)
    _, q, scales = stored(replace(PLAIN, rounding="second-order"), w, x)
    assert np.abs(q - w / scales[:, None]).max() <= 0.52 * 1.1


# Layers with other axes are the same products


def layer_of(op: Conv2d | DepthwiseConv2d | TransposeConv2d, w: Array, x: Array, axis: int, options: Options) -> tuple[Array, Array, Graph]:
    b = Floats()
    graph = quantize(b.graph(b.layer(op, b.input(*x.shape[1:]), w, axis=axis, name="y")), {"x": x}, options)
    return *integers(graph, "y", 1), graph


def test_a_convolution_of_single_pixels_is_a_dense_layer() -> None:
    w, x = noise(5, 7), correlated(64, 7)
    for rounding in ("nearest", "second-order"):
        options = replace(PLAIN, rounding=rounding, weight_scale="mse", bias_correction=True)
        q, scales, graph = layer_of(Conv2d(), w[:, None, None], x[:, :, None, None], 0, options)
        flat = quantize(dense(w), {"x": x}, options)
        assert np.array_equal(q[:, 0, 0], integers(flat, "y", 1)[0]) and np.array_equal(scales, integers(flat, "y", 1)[1])
        assert np.array_equal(integers(graph, "y", 2)[0], integers(flat, "y", 2)[0])


@pytest.mark.parametrize("rounding", ["nearest", "second-order"])
def test_a_convolution_of_groups_is_two_convolutions(rounding: str) -> None:
    options = replace(PLAIN, rounding=rounding)
    w, x = noise(6, 2, 2, 2), noise(40, 1, 4, 4, 4)
    q, scales, graph = layer_of(Conv2d(groups=2), w, x, 0, options)
    for g in range(2):
        part, part_scales, _ = layer_of(Conv2d(), w[3 * g : 3 * g + 3], x[..., 2 * g : 2 * g + 2], 0, options)
        assert np.array_equal(scales[3 * g : 3 * g + 3], part_scales)
        agree = (q[3 * g : 3 * g + 3] == part).mean()
        assert agree == 1 if rounding == "nearest" else agree > 0.8  # the parts' inputs have other scales
    assert graph.type("y").shape == (1, 3, 3, 6)


@pytest.mark.parametrize("rounding", ["nearest", "second-order"])
def test_a_depthwise_convolution_is_a_convolution_of_as_many_groups(rounding: str) -> None:
    options = replace(PLAIN, rounding=rounding, bias_correction=True)
    w, x = noise(1, 3, 3, 6), noise(30, 1, 6, 5, 3)
    q, scales, graph = layer_of(DepthwiseConv2d(pads=(1, 1, 1, 1)), w, x, 3, options)
    other, other_scales, twin = layer_of(Conv2d(groups=3, pads=(1, 1, 1, 1)), w.transpose(3, 1, 2, 0), x, 0, options)
    assert np.array_equal(q.transpose(3, 1, 2, 0), other) and np.array_equal(scales, other_scales)
    assert np.array_equal(integers(graph, "y", 2)[0], integers(twin, "y", 2)[0])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_convolution_is_one_of_stretched_inputs(stride: int) -> None:
    """Taps in reverse, of the input with zeros between its pixels."""
    options = replace(PLAIN, rounding="second-order")
    w, x = noise(4, 3, 3, 2), noise(64, 1, 4, 4, 2)
    q, scales, graph = layer_of(TransposeConv2d(stride=(stride, stride)), w, x, 0, options)
    size = 3 * stride + 1
    wide = np.zeros((64, 1, size, size, 2), F)
    wide[:, :, ::stride, ::stride] = x
    other, other_scales, twin = layer_of(Conv2d(pads=(2, 2, 2, 2)), w[:, ::-1, ::-1].copy(), wide, 0, options)
    assert twin.type("y").shape == graph.type("y").shape
    assert np.array_equal(scales, other_scales) and (q[:, ::-1, ::-1] == other).mean() > 0.97


def test_a_grid_that_weights_lie_on_is_found_within_its_bounds() -> None:
    """The finest: twice the integers on half the step lie on one, too, as long as they fit."""
    rows = np.array([[127, 3, -50], [100, 50, 25], [8, -4, 1], [0, 0, 0], [1, 2**0.5, 3]], np.float64) * 0.01
    with np.errstate(all="raise"):
        found = known(rows, (-127, 127))
    assert np.allclose(found, [0.01, 1 / 124, 0.08 / 120, 1, 0], rtol=1e-12)
    ends = np.array([[-8, 4, 1], [8, -4, -1], [-7, 4, 1]]) * 0.5
    assert known(ends, (-8, 7)).tolist() == [0.5, 0, 0.5] and known(ends, (-7, 8)).tolist() == [0, 0.5, 0.5]
    some = np.array([-4, -2, -1, 0, 1, 2, 4], np.float64)
    assert known(np.array([[4.0, 2, 1], [4, 3, 1]]), (-4, 4), some).tolist() == [1, 0]
    nearly = np.array([[127, 3.0004, 1], [127, 3.0006, 1]])
    assert known(nearly, (-127, 127)).tolist() == [1, 0]


def test_steps_on_both_sides_of_zero_follow_the_extremes() -> None:
    w = np.array([[-1.0, 2], [-3, 1], [1, 2]])
    for shared, lows in ((False, [-5, -11, 0]), (True, [-9, -9, -9])):
        low, high = Grid(7, shared=shared, asymmetric=True).bounds(w)
        assert np.array_equal(low, lows) and np.array_equal(high, np.add(lows, 15))
