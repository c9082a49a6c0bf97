"""TransposeConv2d: strides, pads cut off, output pads, dilation, groups; equal to TensorFlow Lite Micro, adjoint to convolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from harness import Case, activation, constant, fitting_output, on_words, suite, vectors, weights_and_bias
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import QParams, Tensor, TensorType
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.transpose_conv2d import TransposeConv2d


def case(
    name: str, shape: tuple[int, int, int, int], outputs: int, window: tuple[int, int], *, zero: int = 0, out: QParams | None = None,
    clamp: tuple[float, float] = (-math.inf, math.inf), saturated: bool = False, **op: Any,
) -> Case:  # fmt: skip
    x = activation(shape, 0.05, zero)
    w, b = weights_and_bias(sum(map(ord, name)), x, (outputs, *window, shape[3] // op.get("groups", 1)), 0, saturated=saturated)
    return Case(name, TransposeConv2d(clamp=clamp, **op), (x, w, b), out or fitting_output(x, w, 0, zero_point=-zero))


CASES = [
    *(case(f"plain_o{o}", (1, 3, 4, 3), o, (3, 3), zero=o) for o in (1, 4, 7, 8)),
    case("stride2", (1, 4, 3, 5), 6, (3, 3), stride=(2, 2), pads=(0, 0, 1, 1), zero=-9),
    case("stride2_of4", (1, 4, 3, 5), 4, (4, 4), stride=(2, 2), pads=(1, 1, 1, 1), zero=-128),
    case("gaps", (1, 3, 3, 2), 5, (1, 2), stride=(3, 3), output_pads=(1, 2), zero=4),
    case("dilated", (2, 4, 4, 3), 4, (2, 3), stride=(2, 1), dilation=(3, 2), pads=(1, 2, 0, 1), zero=7),
    case("groups", (1, 4, 4, 6), 9, (3, 2), stride=(2, 2), groups=3, pads=(1, 0, 0, 1), zero=2),
    case("saturated", (1, 2, 2, 8), 4, (2, 2), saturated=True, zero=-128),
    case("relu6", (1, 3, 3, 4), 4, (2, 2), stride=(2, 2), clamp=(0.0, 6.0), out=QParams((6 / 255,), -128)),
    case("left_shift", (1, 2, 2, 1), 4, (2, 2), out=QParams((0.0004,), 5)),
]
ON_WORDS = ("plain_o7", "stride2", "gaps", "groups", "relu6")
CASES += [on_words(c) for c in CASES if c.name in ON_WORDS]
CASES.append(on_words(case("deep", (1, 3, 3, 140), 5, (2, 2), saturated=True)))  # whose sums leave int32
test_transpose_conv2d = suite(CASES)


@pytest.mark.parametrize(("stride", "same"), [((2, 2), True), ((1, 2), False), ((3, 1), True)])
def test_equals_tflm(stride: tuple[int, int], same: bool) -> None:
    x = activation((1, 4, 3, 5), 0.05, 9)
    w, b = weights_and_bias(3, x, (6, 3, 3, 5), 0)
    total = [max(3 - s, 0) for s in stride] if same else [0, 0]
    op = TransposeConv2d(stride, (1, 1), (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2))
    inferred = op.infer(x, w.type, b.type)
    output = TensorType(inferred.shape, inferred.dtype, fitting_output(x, w, 0, 3))
    shape = Tensor("shape", constant(np.array(output.shape, np.int32), None).type, np.array(output.shape, np.int32))
    options = {"padding": int(not same), "strideH": stride[0], "strideW": stride[1]}
    named = (Tensor("w", w.type, w.data), Tensor("x", x), Tensor("b", b.type, b.data))
    model = tflite_model("TRANSPOSE_CONV", ("TransposeConvOptions", options), [shape, *named], output)
    data = vectors("x", x, 64)
    np.testing.assert_array_equal(op.reference(op.bind("tflm", "t", (Tensor("x", x), w, b), output), data), tflm(model, [data]))


@pytest.mark.parametrize("options", [{"stride": (2, 3), "pads": (1, 0, 2, 1)}, {"dilation": (2, 1), "groups": 2}, {"pads": (1, 1, 1, 1)}])
def test_is_the_adjoint_of_convolution(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    up = TransposeConv2d(**options)
    w, zeros = rng.normal(size=(6, 3, 3, 4 // up.groups)).astype(np.float32), np.zeros(6, np.float32)
    x = rng.normal(size=(1, 1, 5, 4, 4)).astype(np.float32)
    y = up.real(x, w, zeros)
    grouped = w.reshape(up.groups, 6 // up.groups, 3, 3, -1)
    adjoint = np.concatenate([g.transpose(3, 1, 2, 0) for g in grouped])
    z = rng.normal(size=y.shape).astype(np.float32)
    down = Conv2d(**options).real(z, adjoint, np.zeros(4, np.float32))
    assert np.vdot(y, z) == pytest.approx(np.vdot(x, down[:, :, :5, :4]), rel=1e-4)


def test_pads_that_leave_nothing_are_refused() -> None:
    x = activation((1, 1, 1, 1), 0.1)
    w, b = weights_and_bias(1, x, (1, 2, 2, 1), 0)
    with pytest.raises(EdgeqError, match="leave nothing"):
        TransposeConv2d(pads=(1, 1, 1, 1)).infer(x, w.type, b.type)
