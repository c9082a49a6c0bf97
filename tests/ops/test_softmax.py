"""Softmax: depths, rows, scales from fine to so coarse that differences drop out; equal to TensorFlow Lite Micro."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from harness import Case, activation, on_words, suite, vectors
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Params, QParams, Tensor, TensorType
from edgeq.ops.softmax import Softmax

OUTPUT = QParams((1 / 256,), -128)
WORDS = QParams((2.0**-16,), -32768)


def case(name: str, shape: tuple[int, ...], scale: float, zero: int = 0, beta: float = 1.0) -> Case:
    return Case(name, Softmax(beta), (activation(shape, scale, zero),), OUTPUT, tolerance=1.1)


CASES = [
    *(case(f"depth{d}", (1, d), 0.08, d - 5) for d in (1, 2, 3, 10, 12, 33)),
    *(case(f"scale{i}", (1, 7), s) for i, s in enumerate((1e-6, 0.001, 0.03, 0.3, 1.0, 7.0, 31.0, 40.0))),
    case("rows", (2, 3, 5), 0.1, 9),
    case("beta", (1, 6), 0.1, beta=2.5),
    case("deep", (1, 700), 0.01),
    *(
        replace(case(f"words{d}", (2, d), step, 5), output=TensorType((2, d), DType.INT16, WORDS), tolerance=60.0)
        for d, step in ((1, 0.08), (10, 0.08), (11, 0.01))
    ),
]
CASES += [on_words(c, 2.0**-15, 60.0) for c in CASES if c.name in ("depth1", "depth10", "depth33", "scale3", "rows", "beta", "deep")]
test_softmax = suite(CASES)


def bound(shape: tuple[int, ...], scale: float, beta: float = 1.0) -> tuple[Softmax, Params]:
    op, x = Softmax(beta), activation(shape, scale)
    return op, op.bind("tflm", "s", (Tensor("x", x),), TensorType(shape, DType.INT8, OUTPUT))


def test_a_table_ends_where_it_no_longer_counts() -> None:
    """Whatever it is cut to, results are those of the whole table; of many elements it is kept whole."""
    rng = np.random.default_rng(0)
    for scale, most in ((0.01, 256), (0.08, 176), (0.3, 48), (5.0, 5)):
        (op, short), (_, whole) = bound((2, 20), scale), bound((100, 20), scale)
        assert len(short.exponentials) <= most and len(whole.exponentials) == 256 and short.last == len(short.exponentials) - 1
        x = rng.integers(-128, 128, (500, 2, 20)).astype(np.int8)
        np.testing.assert_array_equal(op.reference(short, x), op.reference(whole, x))


@pytest.mark.parametrize("scale", [0.0003, 0.02, 0.0847, 0.3, 1.7, 12.0])
def test_equals_tflm(scale: float) -> None:
    shape = (3, 12)
    x = activation(shape, scale, 4)
    model = tflite_model("SOFTMAX", ("SoftmaxOptions", {"beta": 1.0}), [Tensor("x", x)], TensorType(shape, DType.INT8, OUTPUT))
    data = vectors(f"softmax{scale}", x, 200)
    op, params = bound(shape, scale)
    np.testing.assert_array_equal(op.reference(params, data), tflm(model, [data]))


def test_other_output_scale_is_refused() -> None:
    with pytest.raises(EdgeqError, match="1/256"):
        Softmax().bind("tflm", "s", (Tensor("x", activation((4,), 0.1)),), activation((4,), 0.1))


def test_sums_that_could_overflow_are_refused() -> None:
    with pytest.raises(EdgeqError, match="overflow"):
        bound((1, 5000), 0.1)


def test_scale_too_fine_is_refused() -> None:
    with pytest.raises(EdgeqError, match="scale its input"):
        bound((1, 4), 1e-9)
