"""MaxPool2d: borders, dilation, clamps; equal to TensorFlow Lite Micro."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Case, activation, on_words, suite, vectors
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import Tensor
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.windows import same_pads


def case(name: str, shape: tuple[int, ...], kernel: tuple[int, int], zero: int = 0, **op: Any) -> Case:
    return Case(name, MaxPool2d(kernel, **op), (activation(shape, 0.05, zero),), tolerance=0.01 if "clamp" not in op else 0.51)


CASES = [
    case("two_by_two", (1, 6, 8, 5), (2, 2), 5, stride=(2, 2)),
    case("same3", (1, 5, 6, 4), (3, 3), -7, pads=(1, 1, 1, 1)),
    case("asymmetric", (2, 7, 5, 3), (4, 3), 100, stride=(3, 2), pads=(2, 0, 1, 2)),
    case("dilated", (1, 9, 8, 3), (2, 3), dilation=(3, 2), pads=(1, 2, 2, 1)),
    case("dilated_across_the_edge", (1, 3, 3, 2), (3, 2), dilation=(2, 2), pads=(2, 1, 2, 1)),
    *(case(f"same2_c{c}", (1, 3, 3, c), (2, 2), c - 100, pads=(0, 1, 1, 0)) for c in (127, 128, 129)),
    case("global", (1, 5, 4, 9), (5, 4)),
    *(case(f"channels{c}", (1, 4, 3, c), (2, 2), pads=(0, 1, 0, 0)) for c in (15, 16, 17, 33)),
    case("relu6", (1, 4, 4, 3), (3, 3), -3, clamp=(0.0, 6.0)),
]
CASES += [on_words(c) for c in CASES if c.name in ("same3", "asymmetric", "dilated", "relu6")]
test_max_pool2d = suite(CASES)


@pytest.mark.parametrize("same", [False, True])
def test_equals_tflm(same: bool) -> None:
    size, kernel, stride = (7, 6), (3, 2), (2, 1)
    x = activation((1, *size, 3), 0.1, 9)
    op = MaxPool2d(kernel, stride, (1, 1), same_pads(size, kernel, stride) if same else (0, 0, 0, 0), (0.0, 6.0))
    options = {"padding": int(not same), "strideH": stride[0], "strideW": stride[1], "filterHeight": kernel[0], "filterWidth": kernel[1]}
    options["fusedActivationFunction"] = 3  # ReLU6
    model = tflite_model("MAX_POOL_2D", ("Pool2DOptions", options), [Tensor("x", x)], op.infer(x))
    data = vectors("pool", x, 64)
    np.testing.assert_array_equal(op.reference(op.bind("tflm", "p", (Tensor("x", x),), op.infer(x)), data), tflm(model, [data]))


def test_scales_must_be_equal() -> None:
    with pytest.raises(EdgeqError, match="must have one scale"):
        MaxPool2d((2, 2)).bind("single", "p", (Tensor("x", activation((1, 2, 2, 1), 0.1)),), activation((1, 1, 1, 1), 0.2))
