"""Windows that slide: every axis, one new row and several, every type."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Tensor, TensorType
from edgeq.ops.slide import Slide


def x(*shape: int) -> TensorType:
    return activation(shape, 0.1, -7)


CASES = [
    Case("first", Slide(0), (x(1, 7), x(3, 7))),
    Case("rows", Slide(1), (x(1, 2, 3, 4), x(1, 5, 3, 4))),
    Case("columns", Slide(2), (x(1, 3, 2, 5), x(1, 3, 7, 5))),
    Case("last", Slide(2), (x(2, 3, 1), x(2, 3, 4))),
    Case("long", Slide(1), (x(1, 1, 1, 40), x(1, 9, 1, 40))),
    Case("more_than_half", Slide(0), (x(5, 4), x(6, 4))),
    Case("wide", Slide(0), tuple(activation((n, 5), 0.001, 0, DType.INT16) for n in (1, 4))),
    Case("int32", Slide(1), tuple(activation((2, n, 3), 2.0**-16, 0, DType.INT32) for n in (2, 5)), tolerance=128.0),
    Case("real", Slide(1), (TensorType((2, 1, 3)), TensorType((2, 4, 3)))),
]
test_slide = suite(CASES)


def test_real_is_the_rows_in_their_order() -> None:
    new, before = np.arange(8.0).reshape(2, 1, 4), -np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(Slide(0).real(new, before), np.concatenate([before[:, 1:], new], 1))


def test_what_does_not_fit_is_refused() -> None:
    for shapes in (((3, 4), (3, 4)), ((1, 4), (3, 5)), ((1, 4), (3, 4, 1))):
        with pytest.raises(EdgeqError, match="does not slide"):
            Slide(0).infer(*(x(*s) for s in shapes))
    other = activation((3, 4), 0.2, 0)
    with pytest.raises(EdgeqError, match="another type"):
        Slide(0).bind("single", "here", (Tensor("x", x(1, 4)), Tensor("w", other)), other)
