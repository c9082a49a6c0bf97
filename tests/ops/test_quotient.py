"""Div and SquaredDifference: every pattern of broadcasting, scales, clamps, divisors that are 0; against numpy and TFLM."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import Case, activation, constant, on_words, suite
from oracle import tflite_model, tflm
from test_elementwise import SHAPES, every_pair, pair

from edgeq.errors import EdgeqError
from edgeq.ir import QParams, Tensor, TensorType
from edgeq.ops.div import Div
from edgeq.ops.squared_difference import SquaredDifference

DIVISORS = np.array([[[[-128, -3, 5, 20, 90, 127]]]], np.int8)
IMAGE = activation((1, 3, 2, 6), 0.05, 1)


def case(
    cls: Any, name: str, inputs: tuple[TensorType | Tensor, ...], out: QParams, clamp: tuple[float, float] | None = None, **more: Any
) -> Case:
    return Case(f"{cls.kind()}_{name}", cls(clamp) if clamp else cls(), inputs, out, ("tflm",), **more)


# Divided by its own scale and the output's, every number but 0 saturates where the divisor is 0.
COARSE = QParams((0.05 / 0.031 / 140,), -9)
DIV = [
    *(case(Div, name, pair(s), COARSE) for name, s in SHAPES.items()),
    *(case(Div, f"constant{i}", (IMAGE, constant(DIVISORS, 0.02, zero_point=z)), QParams((s,), 7), tolerance=1.3)
      for i, (z, s) in enumerate(((0, 0.05), (-4, 0.2), (6, 0.011), (100, 3.0), (-127, 1e-5)))),
    case(Div, "constant_first", (constant(DIVISORS, 0.02), IMAGE), QParams((0.02 / 0.05 / 140,), -1)),
    case(Div, "relu", pair(SHAPES["same"]), COARSE, (0.0, math.inf)),
    case(Div, "relu6", pair(SHAPES["same"]), QParams((0.05 / 0.031 / 1000,), -128), (0.0, 6.0)),
    case(Div, "zeros", pair(SHAPES["same"]), QParams((0.5,), 11), tolerance=np.inf),
    case(Div, "tiny", pair(SHAPES["same"]), QParams((9e5,), 11), tolerance=np.inf),
]  # fmt: skip
SPREAD = QParams((0.4,), -100)
SQUARED = [
    *(case(SquaredDifference, name, pair(s), SPREAD) for name, s in SHAPES.items()),
    case(SquaredDifference, "constant", (IMAGE, constant(DIVISORS, 0.02, zero_point=-3)), SPREAD),
    case(SquaredDifference, "constant_first", (constant(DIVISORS, 0.02), IMAGE), SPREAD),
    case(SquaredDifference, "clamped", pair(SHAPES["same"]), SPREAD, (3.0, 6.0)),
    case(SquaredDifference, "fine", pair(SHAPES["same"]), QParams((0.01,), -128)),
    case(SquaredDifference, "coarse", pair(SHAPES["same"]), QParams((400.0,), 7)),
    case(SquaredDifference, "equal_scales", pair(SHAPES["same"], equal=True), SPREAD),
]
WORDS = [on_words(c, s) for c, s in ((SQUARED[0], 0.4), (SQUARED[1], 0.02), (SQUARED[-1], 1e-3))]
test_div = suite(DIV)
test_squared_difference = suite([*SQUARED, *WORDS])


def test_real_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4)).astype(np.float32), rng.normal(size=(2, 1, 4)).astype(np.float32)
    np.testing.assert_array_equal(Div().real(a, b), a / b)
    np.testing.assert_array_equal(Div((-0.5, 0.25)).real(a, b), np.clip(a / b, np.float32(-0.5), np.float32(0.25)))
    np.testing.assert_array_equal(SquaredDifference().real(a, b), (a - b) ** 2)
    zeros = Div((-9.0, 9.0)).real(np.float32([2, -2, 0]), np.zeros(3, np.float32))
    np.testing.assert_array_equal(zeros, np.float32([9, -9, 0]))


OPTIONS = {
    "div": ("DIV", ("DivOptions", {"fusedActivationFunction": 0})),
    "squared_difference": ("SQUARED_DIFFERENCE", ("SquaredDifferenceOptions", {})),
}


@pytest.mark.parametrize("cls", [Div, SquaredDifference])
def test_every_pair_equals_tensorflow_lite_micro(cls: Any) -> None:
    """Where no divisor is 0, for there TFLM aborts, and no quotient rounds to 0, for there it may shift by more bits than an int32 has."""
    rng = np.random.default_rng(4)
    for _ in range(12):
        sa, sb = np.exp(rng.uniform(-6, -1, 2)).tolist()
        so = sa / sb / math.exp(rng.uniform(-1, 4)) if cls is Div else (max(sa, sb) * 128) ** 2 / math.exp(rng.uniform(2, 6))
        za, zb, zo = rng.integers(-128, 128, 3).tolist()
        a, b = every_pair()
        if cls is Div:
            b = np.where(b == zb, zb + (1 if zb < 127 else -1), b).astype(np.int8)
        tensors = tuple(Tensor(n, activation((1, 65536), s, z)) for n, s, z in (("a", sa, za), ("b", sb, zb)))
        to = activation((1, 65536), so, zo)
        want = tflm(tflite_model(*OPTIONS[cls.kind()], tensors, to), [a[None], b[None]])
        params = cls().bind("tflm", "here", tensors, to)
        got = cls().reference(params, a, b)
        if cls is Div:
            none = np.abs((a - float(za)) * sa / ((b - float(zb)) * sb * so)) < 0.49999
            assert (got[none] == zo).all()
            got = np.where(none, want[0], got)
        np.testing.assert_array_equal(got, want[0], str((sa, sb, so, za, zb, zo)))


@pytest.mark.parametrize("cls", [Div, SquaredDifference])
def test_what_does_not_fit_is_refused(cls: Any) -> None:
    tensors = tuple(Tensor(n, activation((2,), 1.0)) for n in "ab")
    with pytest.raises(EdgeqError, match="rounding tflm alone"):
        cls().bind("single", "here", tensors, activation((2,), 1.0))
    with pytest.raises(EdgeqError, match=r"too fine|overflow|too large"):
        cls().bind("tflm", "here", tensors, activation((2,), 1e-9))
    with pytest.raises(EdgeqError, match="not computed in half precision"):
        cls().bind_half("here", tensors, activation((2,), 1.0))
    assert replace(cls(), clamp=(0.0, 1.0)) != cls()
