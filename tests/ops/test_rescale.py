"""Rescale: between int8, int16 and int32, ratios from tiny to large, zero points; against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Tensor, TensorType
from edgeq.ops.rescale import Rescale

SHAPE = (1, 5, 13)
RATIOS = (1.0, 0.3, 1 / 256, 1e-6, 1.7, 40.0, 2.0**7)
INTEGERS = [
    (DType.INT8, DType.INT8),
    (DType.INT8, DType.INT16),
    (DType.INT8, DType.INT32),
    (DType.INT16, DType.INT16),
    (DType.INT16, DType.INT8),
    (DType.INT16, DType.INT32),
]
NARROWED = [(DType.INT32, DType.INT8), (DType.INT32, DType.INT16)]  # fmt: skip


def zero(dtype: DType, q: int) -> int:
    return q if dtype is DType.INT8 else 0


def case(name: str, x: DType, y: DType, ratio: float, in_zero: int, out_zero: int) -> Case:
    return Case(name, Rescale(), (activation(SHAPE, 0.05, in_zero, x),), activation(SHAPE, 0.05 / ratio, out_zero, y))


CASES = [
    *(case(f"{x.value}_{y.value}_{i}", x, y, r, zero(x, 9 - i), zero(y, 7 * i)) for x, y in INTEGERS for i, r in enumerate(RATIOS)),
    *(case(f"ends_{x.value}_{y.value}", x, y, 0.9, zero(x, -128), zero(y, 127)) for x, y in INTEGERS),
    *(case(f"{x.value}_{y.value}_{i}", x, y, r, 0, zero(y, 7)) for x, y in NARROWED for i, r in enumerate((0.3, 2.0**-16, 1e-6))),
    case("words_with_zeros", DType.INT16, DType.INT16, 0.7, 300, -20000),
    case("wide_with_zeros", DType.INT16, DType.INT32, 100.0, -300, 5000),
]
test_rescale = suite(CASES)


@pytest.mark.parametrize(("x", "y", "ratio", "in_zero", "out_zero"), [
    (DType.INT8, DType.INT32, 2.0**22, -128, 0), (DType.INT16, DType.INT32, 30000.0, 0, 0), (DType.INT16, DType.INT32, 30000.0, 100, 0),
    (DType.INT8, DType.INT32, 1.0, 0, 2**31 - 1), (DType.INT8, DType.INT8, 2.0**22, -128, 127),
    (DType.INT16, DType.INT16, 16383.0, 200, -32768), (DType.INT32, DType.INT16, 0.99999, 0, 0),
])  # fmt: skip
def test_the_largest_ratios_are_exact_or_refused(x: DType, y: DType, ratio: float, in_zero: int, out_zero: int) -> None:
    """Nothing that C keeps in int32 leaves it."""
    stored, given = activation((1, 3), 0.05, in_zero, x), np.array([[x_min(x), 0, -x_min(x) - 1]])
    try:
        params = Rescale().bind("tflm", "here", (Tensor("x", stored),), activation((1, 3), 0.05 / ratio, out_zero, y))
    except EdgeqError as error:
        assert "overflow" in str(error)
        return
    half, left = 2**31, max(-params.shift, 0)
    for q in (given - in_zero).ravel().tolist():
        assert y is not DType.INT32 or abs(q << left) < half // 2, "what eq_requantize_tflm limits"
        limits = 0 if y is DType.INT32 else 2 ** (8 * y.bytes)  # what eq_clamp takes differences with
        assert abs((q << left) * Fraction(params.multiplier, half)) + abs(out_zero) + limits < half


def x_min(dtype: DType) -> int:
    return int(np.iinfo(dtype.numpy).min)


@pytest.mark.parametrize(("x", "y"), INTEGERS, ids=lambda d: d.value)
def test_each_value_is_the_nearest(x: DType, y: DType) -> None:
    """Up to the half a step that the second rounding may add."""
    rng = np.random.default_rng(2)
    values = rng.integers(x_min(x), -x_min(x), (1, 400)).astype(x.numpy)
    for _ in range(10):
        ratio = float(np.exp(rng.uniform(-6, 4)))
        stored, out = activation((1, 400), 0.05, zero(x, 11), x), activation((1, 400), 0.05 / ratio, zero(y, -5), y)
        got = Rescale().reference(Rescale().bind("tflm", "here", (Tensor("x", stored),), out), values)
        exact = Fraction(float(np.float32(stored.scale))) / Fraction(float(np.float32(out.scale)))
        ends = np.iinfo(y.numpy)
        for q, found in zip(values[0].tolist(), got[0].tolist(), strict=True):
            want = min(max((q - stored.zero_point) * exact + out.zero_point, ends.min), ends.max)
            assert abs(found - want) <= Fraction(1) + abs(want) / 2**24


def test_what_does_not_fit_is_refused() -> None:
    x, y = activation((2,), 0.1), activation((2,), 0.2, 0, DType.INT16)
    for law, a, b in (
        ("single", TensorType((2,)), y),
        ("tflm", TensorType((2,)), y),
        ("tflm", x, TensorType((2,))),
        ("tflm", activation((2,), 0.1, 0, DType.INT32), activation((2,), 0.2, 0, DType.INT32)),
    ):
        with pytest.raises(EdgeqError, match="not rescaled"):
            Rescale().bind(law, "here", (Tensor("x", a),), b)
