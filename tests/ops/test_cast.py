"""Cast between float32 and float16."""

from __future__ import annotations

import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Tensor, TensorType
from edgeq.ops.cast import Cast

REAL, HALF = TensorType((2, 5, 7)), TensorType((2, 5, 7), DType.FLOAT16)
test_cast = suite([Case("to_half", Cast(), (REAL,), HALF, laws=("single",)), Case("to_float", Cast(), (HALF,), REAL, laws=("single",))])


def test_int8_is_not_cast() -> None:
    with pytest.raises(EdgeqError, match="is not cast"):
        Cast().bind("single", "here", (Tensor("x", activation((3,), 1.0)),), TensorType((3,)))
