"""Concat: every axis, uneven parts, constants, inputs in other scales; against numpy and TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, activation, constant, suite
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.ops.concat import Concat


def x(*shape: int, scale: float = 0.1, zero: int = -7) -> TensorType:
    return activation(shape, scale, zero)


FIXED = constant(np.arange(24, dtype=np.int8).reshape(2, 3, 4), 0.1, zero_point=-7)
CASES = [
    Case("first", Concat(0), (x(2, 3, 4), x(1, 3, 4))),
    Case("middle", Concat(1), (x(2, 3, 4), x(2, 5, 4), x(2, 1, 4))),
    Case("last", Concat(2), (x(2, 3, 4), x(2, 3, 1))),
    Case("one", Concat(2), (x(2, 3, 4),)),
    Case("vectors", Concat(0), (x(5), x(7))),
    Case("nine", Concat(3), tuple(x(1, 3, 3, n) for n in range(1, 10))),
    Case("constant_first", Concat(1), (FIXED, x(2, 5, 4))),
    Case("constant_last", Concat(2), (x(2, 3, 2), FIXED)),
    Case("wide", Concat(1), tuple(activation((2, n, 4), 0.001, 0, DType.INT16) for n in (3, 1))),
    Case("int32", Concat(1), tuple(activation((2, n, 4), 2.0**-16, 0, DType.INT32) for n in (3, 1)), tolerance=128.0),
    Case("float32", Concat(1), tuple(TensorType((2, n, 4), DType.FLOAT32) for n in (3, 1))),
    Case("rescaled", Concat(2), (x(2, 3, 4), x(2, 3, 3, scale=0.07, zero=90)), QParams((0.12,), 3)),
    Case("one_rescaled", Concat(1), (x(2, 3, 4), FIXED, x(2, 3, 4, scale=0.03)), QParams((0.1,), -7)),
    Case("saturated", Concat(0), (x(3, 4), x(2, 4, scale=4.0)), QParams((0.1,), -7)),
]
test_concat = suite(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_real_equals_numpy(case: Case) -> None:
    rng = np.random.default_rng(0)
    assert isinstance(case.op, Concat)
    parts = [np.float32(i.data) if isinstance(i, Tensor) else rng.normal(size=(2, *i.shape)).astype(np.float32) for i in case.inputs]
    for v, got in enumerate(case.op.real(*parts)):
        single = [p if isinstance(i, Tensor) else p[v] for i, p in zip(case.inputs, parts, strict=True)]
        np.testing.assert_array_equal(got, np.concatenate(single, axis=case.op.axis))


@pytest.mark.parametrize("case", [c for c in CASES if c.output is None and c.types[0].dtype is DType.INT8], ids=lambda c: c.name)
def test_law_tflm_equals_tensorflow_lite_micro(case: Case) -> None:
    assert isinstance(case.op, Concat)
    rng = np.random.default_rng(1)
    tensors = [Tensor(f"x{n}", i.type, i.data) if isinstance(i, Tensor) else Tensor(f"x{n}", i) for n, i in enumerate(case.inputs)]
    arrays = [t.data if t.data is not None else rng.integers(-128, 128, (2, *t.type.shape)).astype(np.int8) for t in tensors]
    model = tflite_model("CONCATENATION", ("ConcatenationOptions", {"axis": case.op.axis}), tensors, case.output_type)
    want = tflm(model, [a for a, t in zip(arrays, tensors, strict=True) if t.data is None])
    params = case.op.bind("tflm", "here", tuple(tensors), case.output_type)
    np.testing.assert_array_equal(case.op.reference(params, *arrays), want)


def test_what_does_not_fit_is_refused() -> None:
    for types in ((x(2, 3), x(2, 3, 4)), (x(2, 3, 4), x(2, 4, 4)), (), (x(2),)):
        with pytest.raises(EdgeqError):
            Concat(2).infer(*types)
    wide = TensorType((2,), DType.INT32)
    with pytest.raises(EdgeqError, match="types"):
        Concat(0).bind("single", "here", (Tensor("a", x(2)), Tensor("b", wide)), x(4))
    with pytest.raises(EdgeqError, match="scales"):
        s16 = [activation((2,), s, 0, DType.INT16) for s in (0.1, 0.2)]
        Concat(0).bind("single", "here", tuple(Tensor("", t) for t in s16), s16[0])
