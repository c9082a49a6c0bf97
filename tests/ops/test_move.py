"""Operators that move data: every shape of loop the copy kernel can have, against numpy and TensorFlow Lite Micro."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from harness import Case, activation, suite
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Params, Tensor, TensorType
from edgeq.ops.gather import Gather
from edgeq.ops.loops import strides
from edgeq.ops.move import copy_params
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.transpose import Transpose


def x(*shape: int) -> TensorType:
    return activation(shape, 0.1, -7)


CASES = [
    *(Case(f"t{''.join(map(str, p))}", Transpose(p), (x(2, 3, 4),)) for p in itertools.permutations(range(3))),
    Case("to_nhwc", Transpose((0, 2, 3, 1)), (x(1, 3, 5, 7),)),
    Case("rank_5", Transpose((4, 0, 3, 1, 2)), (x(2, 3, 4, 2, 3),)),
    Case("rank_6", Transpose((5, 3, 4, 0, 2, 1)), (x(2, 3, 1, 4, 2, 3),)),
    Case("part", Slice((0, 1, 2), (2, 2, 3), (1, 1, 1)), (x(2, 4, 6),)),
    Case("rows", Slice((0, 1, 0), (2, 2, 6), (1, 2, 1)), (x(2, 4, 6),)),
    Case("columns", Slice((0, 1), (5, 3), (1, 2)), (x(5, 7),)),
    Case("backwards", Slice((1, 3, 5), (2, 4, 6), (-1, -1, -1)), (x(2, 4, 6),)),
    Case("mixed", Slice((1, 0, 5), (1, 2, 2), (1, 3, -3)), (x(2, 4, 6),)),
    Case("one", Slice((3,), (1,), (1,)), (x(9),)),
    Case("whole", Slice((0, 0), (5, 7), (1, 1)), (x(5, 7),)),
    Case("swap_channels", Gather((2, 1, 0), (3,), 3), (x(1, 4, 4, 3),)),
    Case("uneven", Gather((2, 0, 3, 3, 1), (5,), 1), (x(2, 4, 3),)),
    Case("uneven_last", Gather((2, 0, 3, 3, -4), (5,), 2), (x(2, 3, 4),)),
    Case("uneven_first", Gather((1, 0, 0, 3), (2, 2), 0), (x(4, 2, 3),)),
    Case("scalar_index", Gather((2,), (), 1), (x(2, 4, 3),)),
    Case("repeated", Gather((0, 0, 1, 1, 2, 2), (6,), 1), (x(2, 3, 4),)),
    Case("every_second_twice", Gather((0, 0, 2, 2), (4,), 1), (x(2, 3, 4),)),
    Case("same", Gather((1, 1, 1), (3,), 1), (x(2, 3, 4),)),
    Case("real_transposed", Transpose((1, 2, 0)), (TensorType((2, 3, 4)),)),
    Case("real_backwards", Slice((1, 2), (2, 3), (-1, -1)), (TensorType((2, 3)),)),
    Case("real_gathered", Gather((2, 0, 3, 3, 1), (5,), 1), (TensorType((2, 4, 3)),)),
    Case("wide_transposed", Transpose((1, 2, 0)), (activation((2, 3, 4), 0.001, 0, DType.INT16),)),
    Case("wide_reshaped", Reshape((4, 1, 6)), (activation((2, 3, 4), 0.001, 0, DType.INT16),)),
    Case("int32_transposed", Transpose((1, 2, 0)), (activation((2, 3, 4), 2.0**-16, 0, DType.INT32),), tolerance=128.0),
    Case("int32_reshaped", Reshape((4, 1, 6)), (activation((2, 3, 4), 2.0**-16, 0, DType.INT32),), tolerance=128.0),
    Case("reshaped", Reshape((4, 1, 6)), (x(2, 3, 4),)),
    Case("real_reshaped", Reshape((4, 1, 6)), (TensorType((2, 3, 4)),)),
]
test_move = suite(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_real_equals_numpy(case: Case) -> None:
    data = np.arange(3 * case.types[0].size, dtype=np.float32).reshape(3, *case.types[0].shape)
    op = case.op
    if isinstance(op, Transpose):
        want = np.stack([np.transpose(v, op.perm) for v in data])
    elif isinstance(op, Slice):
        ends = [b + n * s for b, n, s in zip(op.begin, op.size, op.stride, strict=True)]
        parts = tuple(slice(b, None if e < 0 else e, s) for b, e, s in zip(op.begin, ends, op.stride, strict=True))
        want = data[(slice(None), *parts)]
    elif isinstance(op, Reshape):
        want = np.stack([np.reshape(v, op.shape) for v in data])
    else:
        assert isinstance(op, Gather)
        want = np.stack([np.take(v, np.reshape(op.indices, op.index_shape).astype(int), axis=op.axis) for v in data])
    np.testing.assert_array_equal(op.real(data), want)


def positions(params: Params) -> list[int]:
    """Where the copy kernel reads, in the order in which it writes."""
    at = np.array([params.start])
    for k, (length, second) in enumerate(params.loops.tolist()):
        mapped = params.mapped >> k & 1
        at = (at[:, None] + (params.map[second : second + length] if mapped else np.arange(length) * second)).ravel()
    return at.tolist()


def test_loops_read_where_the_indices_say() -> None:
    rng = np.random.default_rng(8)
    for _ in range(400):
        shape = tuple(rng.integers(1, 5, rng.integers(1, 7)).tolist())
        offsets = []
        for axis in rng.permutation(len(shape)).tolist():
            n, step = shape[axis], int(rng.choice([-1, 1]))
            kinds = [np.arange(n)[::step], np.repeat(np.arange(n), 2), rng.integers(0, n, rng.integers(1, 6)), np.arange(n)[::2]]
            offsets.append(kinds[rng.integers(len(kinds))] * strides(shape)[axis])
        want = [sum(rows) for rows in itertools.product(*(o.tolist() for o in offsets))]
        params = copy_params("single", offsets)
        assert positions(params) == want
        assert len(params.loops) == params.axes
        assert params.unit == int(len(want) == 1 or (not params.mapped >> (params.axes - 1) & 1 and params.loops[-1][1] == 1))


def ints(name: str, values: Array) -> Tensor:
    data = np.asarray(values, np.int32)
    return Tensor(name, TensorType(data.shape, DType.INT32), data)


def compare(builtin: str, options: tuple[str, dict[str, object]] | None, case: Case, *more: Tensor) -> None:
    data = np.random.default_rng(1).integers(-128, 128, (2, *case.types[0].shape)).astype(np.int8)
    want = tflm(tflite_model(builtin, options, [Tensor("x", case.types[0]), *more], case.output_type), [data])
    params = case.op.bind("tflm", "here", (Tensor("x", case.types[0]),), case.output_type)
    np.testing.assert_array_equal(case.op.reference(params, data), want)


def tflite_can(case: Case) -> bool:
    op, x = case.op, case.types[0]
    negative = isinstance(op, Gather) and (not op.index_shape or min(op.indices) < 0)
    return x.dtype is DType.INT8 and len(x.shape) <= 4 and not negative


@pytest.mark.parametrize("case", [c for c in CASES if tflite_can(c)], ids=lambda c: c.name)
def test_law_tflm_equals_tensorflow_lite_micro(case: Case) -> None:
    op = case.op
    if isinstance(op, Transpose):
        compare("TRANSPOSE", ("TransposeOptions", {}), case, ints("perm", op.perm))
    elif isinstance(op, Slice):
        ends = [b + n * s for b, n, s in zip(op.begin, op.size, op.stride, strict=True)]
        mask = sum(1 << i for i, e in enumerate(ends) if e < 0)
        options = ("StridedSliceOptions", {"endMask": mask})
        compare("STRIDED_SLICE", options, case, ints("begin", op.begin), ints("end", ends), ints("strides", op.stride))
    elif isinstance(op, Reshape):
        compare("RESHAPE", ("ReshapeOptions", {"newShape": op.shape}), case, ints("shape", op.shape))
    else:
        assert isinstance(op, Gather)
        compare("GATHER", ("GatherOptions", {"axis": op.axis}), case, ints("i", np.reshape(op.indices, op.index_shape)))


@pytest.mark.parametrize(
    "op",
    [
        Transpose((0, 0, 1)), Transpose((0, 1)), Slice((0, 0, 0), (2, 4, 7), (1, 1, 1)), Slice((0, 4, 0), (2, 1, 6), (1, 1, 1)),
        Slice((0, 1, 0), (2, 3, 6), (1, -1, 1)), Slice((0, 0), (2, 4), (1, 1)), Slice((0, 0, 0), (2, 4, 6), (1, 1, 0)),
        Gather((4,), (1,), 1), Gather((-5,), (1,), 1), Gather((0,), (2,), 1), Gather((0,), (1,), 3),
        Gather((0,) * 65536, (65536,), 1),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: Slice) -> None:
    wide = isinstance(op, Gather) and len(op.indices) == 65536
    with pytest.raises(EdgeqError):
        op.infer(x(2, 4, 6) if not wide else x(200, 4, 200))


def test_data_keeps_its_scale() -> None:
    for op, output, fault in (
        (Transpose((1, 0)), activation((3, 2), 0.2, -7), "one scale"),
        (Reshape((6,)), activation((6,), 0.1, -6), "one scale"),
        (Transpose((1, 0)), TensorType((3, 2)), "only moved"),
        (Transpose((1, 0)), TensorType((3, 2), DType.INT8), "only moved"),
    ):
        with pytest.raises(EdgeqError, match=fault):
            op.bind("single", "here", (Tensor("x", x(2, 3)),), output)
