"""LogSoftmax: depths, rows, scales from fine to coarse; better than the logarithm of a softmax in int8."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.ir import QParams, Tensor, TensorType
from edgeq.ops.log_softmax import LogSoftmax
from edgeq.ops.mathematics import Log
from edgeq.ops.softmax import Softmax


def case(name: str, shape: tuple[int, ...], scale: float, out: float, zero: int = 127) -> Case:
    return Case(name, LogSoftmax(), (activation(shape, scale, 3),), QParams((out,), zero), tolerance=1.05)


CASES = [
    *(case(f"depth{d}", (1, d), 0.06, 0.07) for d in (1, 2, 3, 10, 33)),
    *(case(f"scale{i}", (1, 7), s, o) for i, (s, o) in enumerate(((1e-4, 0.01), (0.01, 0.02), (0.3, 0.25), (7.0, 7.0)))),
    case("rows", (2, 3, 5), 0.1, 0.09, 100),
    case("deep", (1, 700), 0.05, 0.06),
]
test_log_softmax = suite(CASES)


def test_real_equals_the_formula() -> None:
    x = np.random.default_rng(1).normal(0, 3, (4, 9)).astype(np.float32)
    np.testing.assert_allclose(LogSoftmax().real(x), np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True)), rtol=1e-5, atol=1e-5)


def test_it_keeps_what_a_softmax_in_int8_loses() -> None:
    """At least 17 dB."""
    x = np.random.default_rng(2).integers(-128, 128, (400, 10)).astype(np.int8)
    t, out = activation((10,), 0.06), activation((10,), 16 / 255, 127)
    want = LogSoftmax().real((x * np.float32(0.06)).astype(np.float32))
    middle = activation((10,), 1 / 256, -128)

    def noise(y: np.ndarray) -> float:
        return float(np.square((y.astype(np.float64) - 127) * 16 / 255 - want).mean())

    own = noise(LogSoftmax().reference(LogSoftmax().bind("single", "l", (Tensor("x", t),), out), x))
    soft = Softmax().reference(Softmax().bind("single", "s", (Tensor("x", t),), middle), x)
    two = noise(Log().reference(Log().bind("single", "l", (Tensor("y", middle),), out), soft))
    assert 10 * np.log10(two / own) > 17


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(EdgeqError, match="overflow"):
        LogSoftmax().bind("single", "l", (Tensor("x", activation((1, 5000), 0.1)),), activation((1, 5000), 0.1))
    with pytest.raises(EdgeqError, match="too fine"):
        LogSoftmax().bind("single", "l", (Tensor("x", activation((1, 4), 40.0)),), activation((1, 4), 1e-6))
    with pytest.raises(EdgeqError, match="scalar"):
        LogSoftmax().infer(TensorType(()))
