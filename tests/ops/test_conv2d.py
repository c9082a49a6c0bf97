"""Conv2d: windows, strides, dilations, groups, asymmetric borders, channel and pixel counts around the tiles."""

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
    on_words,
    suite,
    summed_in_halves,
    vectors,
    weights_and_bias,
    with_int8_weights,
)
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import QParams, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.windows import same_pads


def case(
    name: str, shape: tuple[int, int, int, int], outputs: int, window: tuple[int, int], *, zero: int = 0, out: QParams | None = None,
    clamp: tuple[float, float] = (-math.inf, math.inf), saturated: bool = False, small: int = 1, least: bool = False, **op: Any,
) -> Case:  # fmt: skip
    """Weights are divided by `small`; `least` gives the last channel two of -128, whose products do not fit int16 together."""
    x = activation(shape, 0.05, zero)
    w, b = weights_and_bias(sum(map(ord, name)), x, (outputs, *window, shape[3] // op.get("groups", 1)), 0, saturated=saturated)
    assert w.data is not None
    w = replace(w, data=w.data // small)
    if least:
        w.data.reshape(outputs, -1)[-1, :2] = -128
    return Case(name, Conv2d(clamp=clamp, **op), (x, w, b), out or fitting_output(x, w, 0, zero_point=-zero))


def with_sum(convolution: Case, factor: float, addition: Add = Add()) -> Case:  # noqa: B008
    """A convolution whose result meets a tensor of `factor` times its scale."""
    scale, shape = convolution.output_type.scale, convolution.output_type.shape
    addend = activation(shape, scale * factor, 7)
    return replace(convolution, name=f"{convolution.name}_sum", addend=addend, total=QParams((scale * 1.5,), -11), sum=addition)


SAME = (1, 1, 1, 1)
CASES = [
    *(case(f"pointwise_o{o}_c{c}", (1, 3, 3, c), o, (1, 1), zero=o - 9) for o in (1, 4, 5, 8, 11) for c in (1, 4, 7, 8, 12, 16)),
    *(case(f"pointwise_o{o}_c{c}", (1, 3, 3, c), o, (1, 1), zero=o - 60) for o in (16, 17, 32, 33, 64, 65, 130) for c in (8, 9)),
    *(case(f"same3_o{o}", (1, 3, 4, 3), o, (3, 3), pads=SAME, zero=o - 60) for o in (16, 17, 32, 33, 64, 65, 130)),
    *(case(f"same3_c{c}", (1, 5, 4, c), 6, (3, 3), pads=SAME, zero=11) for c in (1, 2, 3, 4, 8)),
    *(case(f"same3_h{h}_w{w}", (1, h, w, 3), 4, (3, 3), pads=SAME, zero=-7) for h, w in ((1, 1), (1, 5), (2, 2), (6, 1))),
    *(case(f"deep_o{o}_c{c}", (1, 2, w, c), o, (1, 1), zero=c - 40, saturated=c == 33) for o, c, w in ((4, 17, 2), (6, 32, 3), (3, 33, 1))),
    case("pointwise_stride", (1, 5, 6, 4), 5, (1, 1), stride=(2, 2), zero=4),
    case("pointwise_padded", (1, 2, 3, 4), 4, (1, 1), pads=(1, 0, 1, 2), zero=40),
    case("pointwise_dilated", (1, 3, 3, 4), 4, (1, 1), dilation=(2, 2), zero=-40),
    case("stride2", (1, 7, 8, 3), 8, (3, 3), stride=(2, 2), pads=(0, 0, 1, 1), zero=-128),
    case("speech", (1, 13, 6, 1), 8, (10, 4), stride=(2, 2), pads=(4, 1, 5, 1), zero=83),
    case("valid", (1, 6, 6, 4), 7, (3, 2), zero=3),
    case("batch", (3, 3, 3, 2), 4, (2, 2), pads=(1, 1, 0, 0), zero=9),
    case("one_dimensional", (1, 1, 20, 5), 6, (1, 5), stride=(1, 2), pads=(0, 2, 0, 2), zero=1),
    case("dilated", (1, 9, 8, 3), 4, (3, 3), dilation=(2, 3), pads=(2, 3, 2, 3), zero=21),
    case("groups2", (1, 5, 5, 6), 8, (3, 3), groups=2, pads=SAME, zero=-4),
    case("groups3", (1, 4, 5, 9), 6, (3, 2), groups=3, stride=(2, 1), dilation=(1, 2), pads=(1, 0, 1, 1), zero=5),
    case("saturated", (1, 4, 4, 8), 4, (3, 3), pads=SAME, saturated=True, zero=-128),
    case("saturated_deep", (1, 2, 2, 80), 3, (3, 3), pads=SAME, saturated=True, zero=-128),  # sums of more than 24 bits
    case("least_bytes", (1, 4, 5, 6), 5, (3, 3), pads=SAME, least=True, zero=8),
    case("least_pointwise", (1, 3, 5, 9), 3, (1, 1), least=True, zero=127),
    case("bytes_dilated", (1, 9, 8, 6), 5, (3, 3), dilation=(2, 3), pads=(2, 3, 2, 3), zero=21),
    case("quads_stride", (1, 7, 9, 8), 5, (3, 2), stride=(2, 3), pads=(1, 0, 0, 1), zero=-70),
    *(case(f"pointwise_w{w}", (2, 1, w, 5), 3, (1, 1), zero=-3) for w in (1, 2, 4, 5)),
    *(case(f"saturated_o{o}", (1, 4, 4, 8), o, (3, 3), pads=SAME, saturated=True, zero=127) for o in (5, 20, 70)),
    *(case(f"least_o{o}", (1, 3, 3, 9), o, (1, 1), least=True) for o in (5, 20, 70)),
    *(case(f"least3_o{o}", (1, 4, 4, 9), o, (3, 3), pads=SAME, least=True) for o in (5, 20, 70)),
    *(case(f"relu6_o{o}", (1, 4, 4, 4), o, (3, 3), clamp=(0.0, 6.0), out=QParams((6 / 255,), -128)) for o in (20, 70)),
    *(case(f"left_shift_o{o}", (1, 3, 3, 2), o, (1, 1), out=QParams((0.0004,), 5)) for o in (20, 70)),
    case("relu6", (1, 4, 4, 4), 6, (3, 3), pads=SAME, clamp=(0.0, 6.0), out=QParams((6 / 255,), -128)),
    case("left_shift", (1, 3, 3, 2), 5, (1, 1), out=QParams((0.0004,), 5)),
    case("tiny_ratio", (1, 3, 3, 4), 5, (1, 1), out=QParams((1e6,), 5)),
    *(case(f"pixels{n}", (1, 1, n, 6), 4, (1, 1), zero=n - 5, small=n % 3 + 1) for n in (2, 3, 4, 5, 6, 7, 8, 9)),
    *(case(f"small{f}_c{c}", (1, 3, 4, c), 7, (1, 1), zero=c - 9, small=f) for f in (2, 3) for c in (1, 2, 4, 6, 9, 24)),
    *(case(f"small{f}_same3", (1, 4, 5, 3), 10, (3, 3), pads=SAME, zero=-128, small=f) for f in (2, 3)),
    case("groups2_wide", (1, 4, 5, 6), 32, (3, 3), groups=2, dilation=(1, 2), pads=(1, 1, 1, 2), zero=3),
    case("many_groups", (1, 2, 2, 1100), 4, (1, 1), zero=-128, small=3),
    case("many_pairs", (1, 2, 2, 300), 4, (1, 1), zero=127, saturated=True),
    case("small_saturated", (1, 2, 3, 64), 5, (1, 1), zero=-128, saturated=True, small=2),
    case("pointwise_batch", (3, 3, 3, 8), 8, (1, 1), zero=9, small=2),
    case("pads_beyond", (1, 2, 2, 4), 4, (3, 3), pads=(2, 2, 2, 2), zero=50),
    *(case(f"few{n}", (1, 1, n, 12), 5, (1, 1), zero=3 * n, saturated=n % 2 == 0) for n in (2, 4, 5, 7, 8)),
    *(case(f"few_window{n}", (1, 3, n, 3), 7, (3, 2), pads=(0, 1, 0, 0), zero=n, saturated=n == 6) for n in (3, 5, 6, 10)),
    case("few_same3", (1, 1, 5, 3), 4, (3, 3), pads=SAME, zero=-3, clamp=(0.0, 6.0), out=QParams((6 / 255,), -128)),
]
ASYMMETRIC = {
    "pointwise_o5_c7": 3, "pointwise_o17_c9": -128, "same3_c3": 127, "groups3": -30, "dilated": 66, "batch": -1, "saturated_o5": -128,
    "groups2": 127, "relu6": 9,
}  # fmt: skip
CASES += [asymmetric(c, ASYMMETRIC[c.name]) for c in CASES if c.name in ASYMMETRIC]
CASES += [
    with_sum(case("same3", (1, 5, 5, 4), 6, (3, 3), pads=SAME, zero=11), 0.7),
    with_sum(case("batch", (2, 3, 3, 5), 7, (3, 3), pads=SAME, small=2), 1.2),
    with_sum(case("pointwise", (1, 3, 5, 8), 8, (1, 1), zero=-3), 1.0),
    *(with_sum(case(f"same3_wide{o}", (1, 3, 3, 4), o, (3, 3), pads=SAME, zero=11), 0.7) for o in (20, 70)),
    *(with_sum(case(f"pointwise_wide{o}", (1, 3, 3, o), o, (1, 1), zero=-3), 1.1) for o in (20, 70)),
    with_sum(case("few", (1, 1, 5, 8), 5, (1, 1), zero=7), 0.8),
    with_sum(case("few6", (1, 2, 3, 7), 9, (1, 3), pads=(0, 1, 0, 1), zero=-7), 0.8),
    with_sum(case("stride2", (1, 5, 7, 3), 5, (1, 1), stride=(2, 2), zero=40), 1.9, Add((0.0, math.inf))),
    with_sum(case("difference", (1, 4, 3, 5), 9, (3, 3), pads=SAME, zero=-128), 0.3, Sub()),
]
INT8_WEIGHTS = ("groups3", "groups2_wide", "saturated", "pads_beyond", "pointwise_batch", "pixels3", "least_bytes", "relu6", "batch")
HALF_SUMS = ("pointwise_padded", "stride2", "speech", "batch", "dilated", "groups3", "groups2_wide", "quads_stride", "pads_beyond")
FOUR_BITS = (
    "same3_c3", "stride2", "batch", "bytes_dilated", "quads_stride", "saturated", "pointwise_o17_c9", "pixels4", "relu6", "left_shift",
    "groups3", "same3_sum", "batch_sum", "pointwise_sum", "stride2_sum", "speech", "saturated_o20", "saturated_o70", "pointwise_o130_c8",
    "pointwise_o33_c9", *(f"{kind}_wide{o}_sum" for kind in ("same3", "pointwise") for o in (20, 70)),
)  # fmt: skip
NARROW = [of_four_bits(c) for c in CASES if c.name in FOUR_BITS]
HALVES = [
    *(with_int8_weights(c) for c in CASES if c.name in INT8_WEIGHTS), *(summed_in_halves(c) for c in CASES if c.name in HALF_SUMS),
]  # fmt: skip
ON_WORDS = ("pointwise_o5_c7", "same3_c1", "same3_h1_w5", "batch", "groups3", "deep_o6_c32", "relu6", "left_shift")
WORDS = [
    *(on_words(c) for c in CASES if c.name in ON_WORDS),
    on_words(case("deep", (1, 3, 4, 66), 5, (3, 3), pads=SAME, saturated=True)),  # whose sums leave int32
    on_words(case("far", (1, 6, 5, 3), 6, (2, 3), stride=(2, 1), dilation=(2, 2), pads=(2, 1, 0, 3))),
]
test_conv2d = suite([*CASES, *NARROW, *HALVES, *WORDS])


@pytest.mark.parametrize(("window", "stride", "same"), [((3, 3), (1, 1), True), ((3, 2), (2, 1), False), ((1, 1), (2, 2), True)])
def test_equals_tflm(window: tuple[int, int], stride: tuple[int, int], same: bool) -> None:
    x = activation((1, 6, 5, 4), 0.05, 9)
    w, b = weights_and_bias(3, x, (6, *window, 4), 0)
    op = Conv2d(stride, pads=same_pads((6, 5), window, stride) if same else (0, 0, 0, 0), clamp=(0.0, math.inf))
    inferred = op.infer(x, w.type, b.type)
    output = TensorType(inferred.shape, inferred.dtype, fitting_output(x, w, 0, -20))
    options = {"padding": int(not same), "strideH": stride[0], "strideW": stride[1], "fusedActivationFunction": 1}
    options |= {"dilationHFactor": 1, "dilationWFactor": 1}
    named = [Tensor("x", x), Tensor("w", w.type, w.data), Tensor("b", b.type, b.data)]
    model = tflite_model("CONV_2D", ("Conv2DOptions", options), named, output)
    data = vectors("x", x, 64)
    np.testing.assert_array_equal(op.reference(op.bind("tflm", "t", (Tensor("x", x), w, b), output), data), tflm(model, [data]))


def test_real_agrees_with_the_definition() -> None:
    rng = np.random.default_rng(3)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((1, 1, 5, 6, 4), (6, 3, 2, 2), (6,)))
    got = Conv2d((2, 1), (1, 2), (1, 0, 2, 1), groups=2).real(x, w, b)
    padded = np.pad(x[0, 0], ((1, 2), (0, 1), (0, 0)))
    for y, z, o in np.ndindex(*got.shape[2:]):
        g = o // 3 * 2
        want = b[o] + sum(float(padded[2 * y + i, z + 2 * j, g + c] * w[o, i, j, c]) for i, j, c in np.ndindex(3, 2, 2))
        assert got[0, 0, y, z, o] == pytest.approx(want, abs=1e-5)


def test_accumulators_that_could_overflow_are_refused() -> None:
    x = activation((1, 1, 1, 70000), 0.1, -128)
    w, b = weights_and_bias(1, x, (1, 1, 1, 70000), 0, saturated=True)
    with pytest.raises(EdgeqError, match="channel 0 may overflow"):
        Conv2d().bind("single", "c", (Tensor("x", x), w, b), activation((1, 1, 1, 1), 10.0))
