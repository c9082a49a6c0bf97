"""Scales and zero points of activations: from ranges, from the data's own steps, by the operator, and those that must be shared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_graphs import PLAIN, Floats, affine_of, hidden, scales_of

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Op
from edgeq.ops.activations import LeakyRelu, Sigmoid, Tanh
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.extremum import Maximum
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.softmax import Softmax
from edgeq.quantize import Options, calibrate, quantize

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests draw the same numbers in any order."""
    RNG.bit_generator.state = np.random.default_rng(4).bit_generator.state


def values(low: float, high: float, *shape: int) -> Array:
    """Noise that reaches both ends and lies on no grid."""
    a = RNG.uniform(low, high, (64, *shape))  # enough to show the ends
    a.reshape(-1)[:2] = low, high
    return a.astype(np.float32)


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 3), (-3, 1), (2, 5), (-5, -2), (0, 6), (-1e-6, 1e-6), (-1e6, 1), (-0.7, 0.7), (-1, 254), (-254, 1)]
)
def test_a_range_becomes_255_steps(low: float, high: float) -> None:
    graph = quantize(hidden((1, 30)), {"x": values(low, high, 1, 30)}, PLAIN)
    assert scales_of(graph, "h") == scales_of(graph, "y") == affine_of(np.float32(low), np.float32(high))


def test_a_tensor_of_zeros_has_a_scale() -> None:
    graph = quantize(hidden((1, 4)), {"x": np.zeros((9, 1, 4), np.float32)}, PLAIN)
    assert scales_of(graph, "h") == (1.0, 0)


@pytest.mark.parametrize(
    ("steps", "step", "zero_point"),
    [
        (range(256), 1 / 255, -128),  # pixels
        (range(0, 200), 0.5, -128),
        (range(-128, 128), 0.01, 0),
        (range(-60, 60, 2), 0.25, 0),  # steps of two
        (range(-200, 30), 0.1, -128 + 200 + (255 - 229) // 2),  # what is left goes to both sides
        ([*range(-200, 30), *[29] * 30], 0.1, -128 + 200 + (255 - 229)),  # values pile up below the data's end: the room is there
        ([*range(-200, 30), *[-200] * 30], 0.1, -128 + 200),
    ],
)
def test_data_that_was_8_bit_keeps_its_steps(steps: range | list[int], step: float, zero_point: int) -> None:
    x = (np.asarray(steps) * step).astype(np.float32)
    graph = quantize(hidden((1, 1)), {"x": RNG.permutation(np.concatenate([x] * 3)).reshape(-1, 1, 1)}, PLAIN)
    scale, zero = scales_of(graph, "x")
    gap = 2 if steps == range(-60, 60, 2) else 1
    assert scale == pytest.approx(gap * step, rel=1e-6) and zero == zero_point


@pytest.mark.parametrize(
    "x",
    [
        np.arange(15) * 0.1,  # too few to tell
        np.arange(300) * 0.1,  # more than 8 bits
        np.append(np.arange(60) * 0.1, 2.345),  # one value beside the grid
        np.append(np.arange(60), 400.0) * 0.1,  # the grid would be too long
    ],
)
def test_other_data_has_its_extremes(x: Array) -> None:
    x = np.tile(x.astype(np.float32), 5)
    graph = quantize(hidden((1, 1)), {"x": x.reshape(-1, 1, 1)}, PLAIN)
    assert scales_of(graph, "x") == affine_of(float(x.min()), float(x.max()))


@pytest.mark.parametrize(("op", "scale"), [(Sigmoid(), (1 / 256, -128)), (Softmax(), (1 / 256, -128)), (Tanh(), (1 / 128, 0))])
def test_some_operators_fix_their_scale(op: Op, scale: tuple[float, int]) -> None:
    b = Floats()
    graph = b.graph(b.op(LeakyRelu(alpha=0.5), b.op(op, b.input(1, 5), name="h"), name="y"))
    assert scales_of(quantize(graph, {"x": values(-0.1, 0.1, 1, 5)}, PLAIN), "h") == scale


def test_centre_puts_the_mean_in_the_middle() -> None:
    x = np.abs(values(-1, 1, 1, 500)) ** 3
    graph, middle = hidden((1, 500)), Options(**{**vars(PLAIN), "centre": True})
    found, mean = quantize(graph, {"x": x}, middle), float(x.mean())
    assert scales_of(found, "h") == pytest.approx(affine_of(min(0.0, 2 * mean - float(x.max())), float(x.max())), rel=1e-3, abs=1)
    assert scales_of(found, "x") == affine_of(0, float(x.max())) and scales_of(found, "h")[1] < 0 < scales_of(found, "h")[0]
    mirrored = quantize(graph, {"x": -x}, middle)
    assert scales_of(mirrored, "h")[0] == pytest.approx(scales_of(found, "h")[0], rel=1e-3)


# What must, and what may, share a scale


def two(op: Op, *further: Op, first: Op | None = None) -> Graph:
    """x -> h (leaky) -> op -> t -> further... -> y (leaky)."""
    b = Floats()
    x = b.op(first or LeakyRelu(alpha=0.5), b.input(1, 4, 4, 2), name="h")
    x = b.op(op, x, name="t")
    for o in further:
        x = b.op(o, x)
    return b.graph(b.op(LeakyRelu(alpha=0.9), x, name="y"))


@pytest.mark.parametrize("op", [MaxPool2d(kernel=(2, 2), stride=(2, 2)), Reshape((1, 32)), Slice((0, 1, 1, 0), (1, 3, 3, 2), (1, 1, 1, 1))])
@pytest.mark.parametrize("law", ["single", "tflm"])
def test_moved_values_keep_their_scale(op: Op, law: str) -> None:
    found = quantize(two(op), {"x": values(-4, 3, 1, 4, 4, 2)}, replace(PLAIN, law=law))
    assert scales_of(found, "h") == scales_of(found, "t") != scales_of(found, "x")


def test_only_what_others_read_needs_room() -> None:
    """What a slice throws away does not stretch the scale."""
    x = values(-1, 1, 1, 4, 4, 2)
    x[:, :, 0] *= 50
    graph = two(Slice((0, 1, 0, 0), (1, 3, 4, 2), (1, 1, 1, 1)))
    kept = np.where(x > 0, x, np.float32(0.5) * x)[:, :, 1:]
    assert scales_of(quantize(graph, {"x": x}, PLAIN), "h") == affine_of(float(kept.min()), float(kept.max()))


def test_a_clamp_saves_the_room_of_what_it_cuts_off() -> None:
    found = quantize(two(Clamp((-0.5, 1.0))), {"x": values(-4, 3, 1, 4, 4, 2)}, PLAIN)
    assert scales_of(found, "h") == scales_of(found, "t") == affine_of(-0.5, 1.0)


def test_an_average_has_a_scale_of_its_own_but_in_tflm() -> None:
    """There it has its input's, with room for that."""
    pool, x = AveragePool2d(kernel=(4, 4), stride=(4, 4)), values(-4, 3, 1, 4, 4, 2)
    single, tflm = (quantize(two(pool), {"x": x}, replace(PLAIN, law=law)) for law in ("single", "tflm"))
    assert scales_of(single, "h") == scales_of(tflm, "h") == scales_of(tflm, "t") == affine_of(-2, 3)
    assert scales_of(single, "t")[0] < 0.4 * scales_of(single, "h")[0]


def merging(op: Op, wide: float, narrow: float, also: bool, options: Options = PLAIN) -> Graph:
    """a and b are merged; `also`: b is an output, too."""
    b = Floats()
    x = b.input(1, 50)
    first, second = (b.scaled(x, s, n) for s, n in ((wide, "a"), (narrow, "b")))
    y = b.op(LeakyRelu(alpha=0.5), b.op(op, first, second, name="t"), name="y")
    g = b.graph(y, *([b.op(LeakyRelu(alpha=0.5), second, name="z")] if also else []))
    return quantize(g, {"x": values(-1, 1, 1, 50)}, options)


@pytest.mark.parametrize("op", [Concat(axis=1), Maximum()])
@pytest.mark.parametrize("size", [0.875, 0.5])
@pytest.mark.parametrize("also", [False, True])
def test_merged_tensors_share_where_that_costs_little(op: Op, size: float, also: bool) -> None:
    """A tensor that others read too shares if its range is at least four fifths of the result's."""
    found = merging(op, 1.0, size, also)
    scale = affine_of(-size if op.kind() == "maximum" else -1, 1)  # of the result: below that nothing counts
    shares = size > 0.8 or not also
    assert scales_of(found, "a") == scales_of(found, "t") == scale
    assert scales_of(found, "b") == (scale if shares else affine_of(-size, size))


def test_an_input_or_a_fixed_scale_is_not_shared_with_what_it_is_merged_into() -> None:
    b = Floats()
    x = b.input(1, 50)
    t = b.op(Concat(axis=1), x, b.op(Sigmoid(), x, name="s"), b.scaled(x, 9.0, "a"), name="t")
    found = quantize(b.graph(b.op(LeakyRelu(alpha=0.5), t, name="y")), {"x": values(-1, 1, 1, 50)}, PLAIN)
    assert scales_of(found, "x") == affine_of(-1, 1) and scales_of(found, "s") == (1 / 256, -128)
    assert scales_of(found, "t") == scales_of(found, "a") == affine_of(-9, 9)


def test_two_fixed_scales_cannot_be_one() -> None:
    b = Floats()
    s = b.op(Sigmoid(), b.op(Clamp((-0.5, 0.5)), b.op(Tanh(), b.input(1, 50)), name="c"))
    graph = b.graph(b.op(LeakyRelu(alpha=0.5), s))
    assert scales_of(quantize(graph, {"x": values(-1, 1, 1, 50)}, PLAIN), "c") == (1 / 128, 0)
    b = Floats()
    graph = b.graph(b.op(Clamp((0.1, 0.9)), b.op(Clamp((0.0, 1.0)), b.op(Sigmoid(), b.input(1, 50), name="s")), name="y"))
    assert scales_of(quantize(graph, {"x": values(-1, 1, 1, 50)}, PLAIN), "y") == (1 / 256, -128)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(EdgeqError, match="minmax, moving, mse, percentile"):
        calibrate(hidden((1, 1)), {"x": np.zeros((3, 1, 1), np.float32)}, "median")
    for wrong in ({"method": "median"}, {"weight_scale": "min"}, {"rounding": "up"}, {"law": "roman"}, {"clip": 0.0}, {"clip": 1.1}):
        with pytest.raises(EdgeqError):
            Options(**wrong)  # type: ignore[arg-type]
