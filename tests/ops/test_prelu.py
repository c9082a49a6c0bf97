"""Prelu: int8 and float32 slopes, steep and negative ones; against the formula and TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, activation, constant, suite
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.ops.prelu import Prelu

X = activation((1, 5, 4, 7), 0.05, 13)
SLOPES = constant(np.array([0, 20, -20, 127, -128, 60, 3], np.int8), 0.01, zero_point=3)
FLOATS = Tensor("", TensorType((7,), DType.FLOAT32), np.array([0.25, 0, -0.5, 1, 1.7, 0.01, 30], np.float32))
CASES = [
    Case("image", Prelu(), (X, SLOPES), QParams((0.06,), -9)),
    Case("vector", Prelu(), (activation((2, 7), 0.05, -128), SLOPES), QParams((0.06,), -9)),
    Case("fine", Prelu(), (X, SLOPES), QParams((0.001,), 0)),
    Case("coarse", Prelu(), (X, SLOPES), QParams((90.0,), 4)),
    Case("float_slopes", Prelu(), (X, FLOATS), QParams((0.06,), -9), laws=("single",)),
]
test_prelu = suite(CASES)


def test_real_is_the_formula() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 7)).astype(np.float32)
    slope = np.linspace(-1, 2, 7, dtype=np.float32)
    np.testing.assert_allclose(Prelu().real(x, slope), np.maximum(x, 0) + slope * np.minimum(x, 0), rtol=1e-6)


def test_law_tflm_equals_tensorflow_lite_micro() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        sx, ss, so = np.exp(rng.uniform(-6, -1, 3)).tolist()
        zx, zs, zo = rng.integers(-128, 128, 3).tolist()
        x, out = activation((1, 9, 9, 32), sx, zx), activation((1, 9, 9, 32), so, zo)
        slope = constant(rng.integers(-128, 128, 32).astype(np.int8), ss, zero_point=zs)
        assert slope.data is not None
        wide = Tensor("slope", TensorType((1, 1, 32), DType.INT8, slope.type.q), slope.data.reshape(1, 1, 32))
        data = rng.integers(-128, 128, (2, 1, 9, 9, 32)).astype(np.int8)
        want = tflm(tflite_model("PRELU", None, [Tensor("x", x), wide], out), [data])
        params = Prelu().bind("tflm", "here", (Tensor("x", x), slope), out)
        np.testing.assert_array_equal(Prelu().reference(params, data), want)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(EdgeqError, match="one per channel"):
        Prelu().infer(X, TensorType((3,)))
    with pytest.raises(EdgeqError, match="one scale"):
        Prelu().bind("tflm", "here", (Tensor("x", X), FLOATS), X)
    with pytest.raises(EdgeqError, match="too fine"):
        Prelu().bind("single", "here", (Tensor("x", X), FLOATS), activation(X.shape, 1e-9))
    with pytest.raises(EdgeqError, match="overflow"):
        Prelu().bind("tflm", "here", (Tensor("x", X), SLOPES), activation(X.shape, 1e-9))
