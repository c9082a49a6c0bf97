"""Mean, ReduceSum, ReduceMax, ReduceMin: axes in all positions, kept or not; equal to TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, activation, constant, on_words, suite, vectors
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import QParams, Tensor, TensorType
from edgeq.ops.mean import Mean
from edgeq.ops.reduce import loops
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.reduce_sum import ReduceSum

SHAPES = {
    "space": ((1, 5, 4, 7), (1, 2), False), "kept": ((2, 5, 4, 3), (1, 2), True),
    "last": ((3, 11), (1,), False), "first": ((9, 2, 3), (0,), True),
    "wide": ((2, 3, 65), (1,), False), "strided": ((33, 7), (1,), False),
    "alternating": ((3, 2, 4, 5), (0, 2), False), "inner": ((3, 2, 4, 5), (1, 3), True),
    "all": ((2, 3, 5), (0, 1, 2), False), "none": ((4, 1, 3), (1,), False),
}  # fmt: skip
CASES = [
    *(Case(f"mean_{n}", Mean(axes, keep), (activation(s, 0.05, -11),), QParams((0.031,), 3)) for n, (s, axes, keep) in SHAPES.items()),
    *(Case(f"sum_{n}", ReduceSum(axes, keep), (activation(s, 0.05, 4),), QParams((0.9,), -5)) for n, (s, axes, keep) in SHAPES.items()),
    Case("mean_fine", Mean((1,)), (activation((2, 3, 4), 0.05, 3),), QParams((0.002,), 1)),
]
SELECTING = [
    *(Case(f"max_{n}", ReduceMax(axes, keep), (activation(s, 0.05, -4),), tolerance=0.01) for n, (s, axes, keep) in SHAPES.items()),
    *(Case(f"min_{n}", ReduceMin(axes, keep), (activation(s, 0.05, 7),), tolerance=0.01) for n, (s, axes, keep) in SHAPES.items()),
]
CASES += [on_words(c) for c in CASES if c.name.startswith("mean")][:6] + [on_words(c) for c in CASES if c.name.startswith("sum")][:3]
test_mean_and_sum = suite(CASES)
test_max_and_min = suite(SELECTING)


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 3), (1, 1, 1)])
@pytest.mark.parametrize("mask", range(1, 8))
def test_loops_visit_every_element_once(shape: tuple[int, ...], mask: int) -> None:
    axes = tuple(i for i in range(len(shape)) if mask >> i & 1)
    scalars, table = loops(shape, axes)
    offsets = np.zeros(1, np.int64)
    for count, stride in table:
        offsets = (offsets[:, None] + np.arange(count) * stride).ravel()
    x = np.arange(np.prod(shape))
    kept = int(np.prod(table[: scalars["kept"], 0]))
    np.testing.assert_array_equal(x[offsets].reshape(kept, -1).sum(1), x.reshape(shape).sum(axes).ravel())


@pytest.mark.parametrize(("op", "builtin"), [(Mean, "MEAN"), (ReduceSum, "SUM"), (ReduceMax, "REDUCE_MAX")])
@pytest.mark.parametrize("axes", [(1, 2), (1,), (3,), (2, 3)])
def test_equals_tflm(op: type[Mean] | type[ReduceMax], builtin: str, axes: tuple[int, ...]) -> None:
    x = activation((1, 6, 5, 7), 0.0471, 9)
    node = op(axes, True)
    output = node.infer(x)
    if op is not ReduceMax:
        output = TensorType(output.shape, output.dtype, QParams((0.0313 if op is Mean else 0.41,), -4))
    indices = Tensor("axes", constant(np.array(axes, np.int32), None).type, np.array(axes, np.int32))
    model = tflite_model(builtin, ("ReducerOptions", {"keepDims": True}), [Tensor("x", x), indices], output)
    data = vectors("reduce", x, 200)
    np.testing.assert_array_equal(node.reference(node.bind("tflm", "r", (Tensor("x", x),), output), data), tflm(model, [data]))


def test_sums_that_could_overflow_are_refused() -> None:
    x = activation((2**24,), 0.1, -128)
    with pytest.raises(EdgeqError, match="overflow"):
        ReduceSum((0,)).bind("single", "r", (Tensor("x", x),), activation((), 0.1))


@pytest.mark.parametrize("axes", [(), (1, 0), (0, 0), (-1,), (2,)])
def test_axes_that_do_not_fit_are_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(EdgeqError, match="axes"):
        Mean(axes).infer(activation((2, 3), 0.1))
