"""FullyConnected: every width around the tile, fused clamps, per-tensor and per-channel scales, ratios of 1/4 and more."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import (
    Case,
    activation,
    asymmetric,
    fitting_output,
    of_four_bits,
    suite,
    summed_in_halves,
    vectors,
    weights_and_bias,
    with_int8_weights,
)
from oracle import tflite_model, tflm

from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected


def case(
    name: str, rows: tuple[int, ...], k: int, n: int, *, zero: int = 0, out: QParams | None = None,
    clamp: tuple[float, float] = (-math.inf, math.inf), small: bool = False, long: bool = False, least: bool = False, **options: Any,
) -> Case:  # fmt: skip
    """`small` weights are such that four products fit int16, `long` ones that many do, but for a few;
    `least` gives the one weight, -128, with which two do not."""
    x = activation((*rows, k), 0.05, zero)
    w, b = weights_and_bias(n * 1000 + k, x, (n, k), 0, **options)
    assert w.data is not None
    if small:
        w = replace(w, data=w.data // 2)
    if long:
        w = replace(w, data=np.where(np.arange(k) % 23 == 11, w.data, w.data // 16))
    if least:
        w.data[n // 2, k // 2 * 2 - 2 : k // 2 * 2] = -128
    return Case(name, FullyConnected(clamp=clamp), (x, w, b), out or fitting_output(x, w, 0, zero_point=-zero))


CASES = [
    *(case(f"n{n}_k{k}", (1,), k, n, zero=n - 9) for n in (1, 3, 7, 8, 9, 15, 16, 17) for k in (1, 4, 7, 8)),
    *(case(f"n{n}_k{k}", (2,), k, n, zero=n - 60) for n in (31, 33, 63, 64, 65, 130) for k in (16, 19)),
    *(case(f"lanes_n{n}_k{k}", (1,), k, n, zero=k - 9) for n in (16, 32, 48) for k in (2, 4, 6, 20)),
    *(case(f"lanes_small_k{k}", (1,), k, 32, zero=k - 9, small=True) for k in (2, 4, 6, 20)),
    case("lanes_saturated", (1,), 20, 16, saturated=True, zero=-128),
    case("lanes_small_saturated", (1,), 20, 16, saturated=True, small=True, zero=127),
    *(case(f"lanes_long_n{n}_k{k}", (1,), k, n, zero=k - 90, long=True) for n, k in ((16, 34), (48, 20), (32, 66))),
    case("lanes_long_saturated", (1,), 70, 16, saturated=True, long=True, least=True, zero=-128, clamp=(0.0, math.inf)),
    case("lanes_least", (1,), 20, 16, least=True),
    case("lanes_relu", (1,), 12, 16, clamp=(0.0, math.inf), zero=3),
    case("lanes_left_shift", (1,), 2, 16, out=QParams((0.0003,), 7)),
    *(case(f"rows{r}_n{n}_k{k}", (r,), k, n, zero=5) for r, n, k in ((2, 4, 4), (3, 5, 9), (5, 16, 6), (4, 3, 1))),
    case("rows", (2, 3), 12, 10, zero=5),
    case("deep", (1,), 640, 24, zero=-128),
    *(case(f"deep_n{n}_k{k}", (2,), k, n, zero=7) for n, k in ((7, 260), (5, 261), (13, 272))),
    case("deep_saturated", (1,), 640, 5, saturated=True, zero=127),  # sums of more than 24 bits
    case("least_k27", (2,), 27, 6, least=True, zero=-5),
    case("per_tensor", (1,), 32, 12, per_channel=False),
    *(case(f"eights_n{n}_k{k}", (n // 16,), k, n, per_channel=False, zero=n - 130) for n, k in ((16, 604), (32, 256), (48, 172))),
    case("eights_near", (1,), 72, 120, per_channel=False, zero=127, out=QParams((0.003,), -9)),  # shifts of 2
    case("saturated_weights", (1,), 64, 8, saturated=True, zero=-128),
    case("relu", (1,), 24, 9, clamp=(0.0, math.inf)),
    case("relu6", (1,), 24, 9, clamp=(0.0, 6.0), zero=-128, out=QParams((6 / 255,), -128)),
    *(case(f"left_shift_n{n}", (1,), 3, n, out=QParams((0.0003,), 7)) for n in (5, 70)),
    case("ratio_above_one", (1,), 2, 6, out=QParams((0.0001,), -3)),
    case("tiny_ratio", (1,), 16, 8, out=QParams((1e6,), 1)),
]
ASYMMETRIC = {"n9_k7": 3, "n17_k8": -128, "rows": 127, "deep": -7, "lanes_saturated": 127, "relu6": 40}
CASES += [asymmetric(c, ASYMMETRIC[c.name]) for c in CASES if c.name in ASYMMETRIC]


def on_words(rows: int, k: int, n: int, clamp: tuple[float, float] = (-math.inf, math.inf), width: float = 9000, **options: Any) -> Case:
    """On int16: sums are int32, or int64 where 700 saturated weights may leave it."""
    x = activation((rows, k), 0.05 / 256, 0, DType.INT16)
    w, b = weights_and_bias(n * 1000 + k, activation((rows, k), x.scale), (n, k), 0, **options)
    out = fitting_output(x, w, 0, width=width)
    output = activation((rows, n), out.scale[0] * 256, 0, DType.INT16)
    return Case(f"words_r{rows}_n{n}_k{k}", FullyConnected(clamp=clamp), (x, w, b), output, tolerance=3.0)


WORDS = [
    *(on_words(1, k, n) for n in (1, 3, 4, 5, 8, 9) for k in (1, 4, 7)),
    on_words(3, 19, 6), on_words(1, 30, 7, (0.0, math.inf)), on_words(1, 700, 6, saturated=True), on_words(2, 16, 4, width=400000),
    on_words(5, 18, 3), of_four_bits(on_words(1, 21, 6)),
]  # fmt: skip
INT8_WEIGHTS = ("n1_k1", "n7_k7", "n17_k4", "n33_k19", "rows", "rows3_n5_k9", "rows5_n16_k6", "saturated_weights", "least_k27", "relu6")
HALF_SUMS = ("n1_k1", "n7_k7", "n33_k19", "n130_k19", "rows", "rows3_n5_k9", "rows5_n16_k6", "rows4_n3_k1", "deep_n7_k260", "relu6")
HALVES = [
    *(with_int8_weights(c) for c in CASES if c.name in INT8_WEIGHTS), *(summed_in_halves(c) for c in CASES if c.name in HALF_SUMS),
]  # fmt: skip
FOUR_BITS = ("n1_k7", "n7_k7", "n17_k8", "rows", "deep", "lanes_left_shift", "relu6", "n33_k19", "saturated_weights")
NARROW = [of_four_bits(c) for c in CASES if c.name in FOUR_BITS]
NARROW += [of_four_bits(case(f"stretches_n{n}_k{k}", (2,), k, n, zero=9 - n)) for n, k in ((64, 128), (66, 131), (131, 257), (3, 129))]
test_fully_connected = suite([*CASES, *NARROW, *HALVES, *WORDS])


@pytest.mark.parametrize("per_channel", [False, True])
def test_equals_tflm(per_channel: bool) -> None:
    x = activation((2, 20), 0.05, 9)
    w, b = weights_and_bias(3, x, (17, 20), 0, per_channel=per_channel)
    op, output = FullyConnected(clamp=(0.0, 6.0)), TensorType((2, 17), x.dtype, QParams((0.021,), -100))
    named = [Tensor("x", x), Tensor("w", w.type, w.data), Tensor("b", b.type, b.data)]
    model = tflite_model("FULLY_CONNECTED", ("FullyConnectedOptions", {"fusedActivationFunction": 3}), named, output)
    data = vectors("x", x, 100)
    np.testing.assert_array_equal(op.reference(op.bind("tflm", "f", (Tensor("x", x), w, b), output), data), tflm(model, [data]))
