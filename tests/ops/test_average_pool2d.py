"""AveragePool2d: borders whose windows hold fewer taps, padding counted or not; equal to TensorFlow Lite Micro."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import Case, activation, on_words, suite, vectors
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import QParams, Tensor
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.windows import same_pads

SCALE = 0.05


def cases(name: str, shape: tuple[int, ...], kernel: tuple[int, int], *, zero: int = 0, ratio: float = 1.3, **op: Any) -> list[Case]:
    """Under law tflm with one scale at both ends, under law single with an output scale of its own."""
    x = activation(shape, SCALE, zero)
    one = Case(name, AveragePool2d(kernel, **op), (x,), laws=("tflm",), tolerance=0.51)
    return [one, replace(one, output=QParams((SCALE / ratio,), -zero), laws=("single",))]


CASES = [
    *cases("global", (1, 5, 4, 9), (5, 4), zero=-128),
    *cases("two_by_two", (1, 6, 8, 5), (2, 2), stride=(2, 2), zero=5),
    *cases("same3", (1, 5, 6, 4), (3, 3), pads=(1, 1, 1, 1), zero=-7),
    *cases("same3_counted", (1, 5, 6, 4), (3, 3), pads=(1, 1, 1, 1), count_include_pad=True, zero=17),
    *cases("asymmetric", (2, 7, 5, 3), (4, 3), stride=(3, 2), pads=(2, 0, 1, 2), zero=100),
    *cases("one", (1, 3, 3, 2), (1, 1), zero=1, ratio=3.7),
    *(case for c in (31, 32, 33, 70) for case in cases(f"same2_c{c}", (1, 3, 3, c), (2, 2), pads=(0, 0, 1, 1), zero=c - 60)),
    *cases("relu6", (1, 4, 4, 3), (3, 3), clamp=(0.0, 6.0), zero=-3),
    *cases("large", (1, 25, 5, 3), (25, 5), zero=4, ratio=0.01),
    cases("halves_up", (1, 6, 8, 5), (2, 2), zero=5, halves_up=True)[0],
    cases("halves_up_same", (1, 5, 6, 4), (3, 4), pads=(1, 1, 1, 2), zero=-7, halves_up=True)[0],
]
CASES += [on_words(c) for c in CASES if c.laws == ("tflm",) and c.name in ("global", "same3", "same3_counted", "asymmetric", "relu6")]
test_average_pool2d = suite(CASES)


@pytest.mark.parametrize(("size", "kernel", "stride", "same"), [((5, 4), (5, 4), (5, 4), False), ((7, 6), (3, 2), (2, 1), True)])
def test_equals_tflm(size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], same: bool) -> None:
    x = activation((1, *size, 3), 0.1, 9)
    op = AveragePool2d(kernel, stride, same_pads(size, kernel, stride) if same else (0, 0, 0, 0), clamp=(0.0, 6.0))
    options = {"padding": int(not same), "strideH": stride[0], "strideW": stride[1], "filterHeight": kernel[0], "filterWidth": kernel[1]}
    options["fusedActivationFunction"] = 3  # ReLU6
    model = tflite_model("AVERAGE_POOL_2D", ("Pool2DOptions", options), [Tensor("x", x)], op.infer(x))
    data = vectors("pool", x, 64)
    params = op.bind("tflm", "p", (Tensor("x", x),), op.infer(x))
    np.testing.assert_array_equal(op.reference(params, data), tflm(model, [data]))


def test_scales_must_be_equal_in_law_tflm() -> None:
    with pytest.raises(EdgeqError, match="must have one scale"):
        AveragePool2d((2, 2)).bind("tflm", "p", (Tensor("x", activation((1, 2, 2, 1), 0.1)),), activation((1, 1, 1, 1), 0.2))


def test_a_window_in_the_padding_alone_is_refused() -> None:
    with pytest.raises(EdgeqError, match="padding"):
        AveragePool2d((2, 2), pads=(2, 0, 0, 0)).infer(activation((1, 4, 4, 1), 0.1))
