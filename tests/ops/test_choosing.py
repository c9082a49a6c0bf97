"""What .tflite files alone have on integers: ArgMax, Comparison, Selection, CumSum, L2 normalization and TFLM's log-softmax."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from harness import Case as AnyCase
from harness import _Bench, _check_equal, activation, constant, suite
from installed import need_emulator, uncounted
from test_elementwise import SHAPES, pair

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.half import LAW
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.ops.arg_max import ArgMax
from edgeq.ops.comparison import FUNCTIONS, Comparison
from edgeq.ops.cum_sum import CumSum
from edgeq.ops.fixed_log_softmax import FixedLogSoftmax
from edgeq.ops.inverse_sqrt import inverse_sqrt
from edgeq.ops.l2_normalization import L2Normalization
from edgeq.ops.sample import Sample
from edgeq.ops.selection import Selection
from edgeq.run import run

Case = functools.partial(AnyCase, gpu=False)
IMAGE, WIDE = activation((2, 5, 7), 0.05, 3), activation((2, 5, 7), 0.001, 0, DType.INT16)
TRUTH = TensorType((2, 5, 7), DType.INT8)
test_arg_max = suite([
    *(Case(f"axis{a}_{int(low)}", ArgMax(a, low), (IMAGE,), laws=("tflm",)) for a in range(3) for low in (False, True)),
    Case("words", ArgMax(1), (WIDE,), laws=("tflm",)), Case("one", ArgMax(0), (activation((1, 3), 0.1),), laws=("tflm",)),
])  # fmt: skip

NAMES = dict(zip(FUNCTIONS, ("eq", "ne", "gt", "ge", "lt", "le"), strict=True))
test_comparison = suite([
    *(Case(n, Comparison(function=f), pair(SHAPES["same"]), laws=("tflm",), tolerance=np.inf) for f, n in NAMES.items()),
    *(Case(f"gt_{n}", Comparison(function=">"), pair(s), laws=("tflm",), tolerance=np.inf) for n, s in SHAPES.items() if n != "same"),
])  # fmt: skip
test_selection = suite([
    Case("bytes", Selection(), (TRUTH, IMAGE, IMAGE), laws=("tflm",)), Case("words", Selection(), (TRUTH, WIDE, WIDE), laws=("tflm",)),
    Case("numbers", Selection(), (TRUTH, *[TensorType((2, 5, 7), DType.INT32)] * 2), laws=("tflm",)),
    Case("constant", Selection(), (TRUTH, IMAGE, constant(np.full((2, 5, 7), 9, np.int8), 0.05, zero_point=3)), laws=("tflm",)),
])  # fmt: skip
test_cum_sum = suite([
    Case(f"axis{a}_{int(e)}{int(r)}", CumSum(a, e, r), (activation((2, 5, 7), 0.05),), QParams((0.2,), -3), ("tflm",), 1.3)
    for a, e, r in ((0, False, False), (1, True, False), (1, False, True), (2, True, True))
])  # fmt: skip
UNIT = QParams((1 / 128,), 0)
test_l2_normalization = suite([
    Case(f"depth{d}", L2Normalization(), (activation((3, d), 0.05, z),), UNIT, ("tflm",))
    for d, z in ((1, 0), (2, 5), (40, -128), (300, 127))
])  # fmt: skip
SIXTEENTHS = QParams((1 / 16,), 127)
test_fixed_log_softmax = suite([
    Case(f"depth{d}_{i}", FixedLogSoftmax(), (activation((3, d), s, 3),), SIXTEENTHS, ("tflm",))
    for i, (d, s) in enumerate(((1, 0.1), (2, 0.05), (10, 0.6), (90, 0.002), (700, 0.1)))
])  # fmt: skip


@pytest.mark.parametrize("chip", ["host", "cortex-m4", "cortex-m55", "riscv"])
def test_zeros_of_both_signs_are_equal(chip: str, tmp_path: Path) -> None:
    """As in IEEE 754, ONNX and PyTorch: the first of them is the largest or smallest, and each can be drawn."""
    need_emulator(chip)
    row, number = TensorType((4,), DType.FLOAT16), TensorType((1,), DType.INT32)
    cases = [AnyCase(n, op, (row, *more), TensorType((), DType.INT32), laws=(LAW,)) for n, op, more in (
        ("largest", ArgMax(0), ()), ("smallest", ArgMax(0, True), ()), ("drawn", Sample(1), (number,)))]  # fmt: skip
    bench = _Bench(cases, LAW)
    rows = np.array([[-0.0, 0, -0.0, 0], [0, -0.0, 0, -0.0], [-1, -0.0, 0, -2], [1, 0, -0.0, 3], [-6e-8, -0.0, 0, 6e-8]], np.float16)
    bench.data |= {f"{c.name}_x0": np.resize(rows, bench.data[f"{c.name}_x0"].shape) for c in cases}
    bench.data["drawn_x1"] = 31 * np.arange(len(bench.data["drawn_x1"]), dtype=np.int32)[:, None]
    few, expected = bench.first(20)
    assert expected.outputs["largest_y"][:5].tolist() == [0, 0, 1, 3, 3]
    assert expected.outputs["smallest_y"][:5].tolist() == [0, 0, 3, 1, 0]
    drawn = expected.outputs["drawn_y"].reshape(-1, 5).T
    assert all(len(set(d)) > 1 for d in drawn[:3]) and set(drawn[2]) == {1, 2} and set(drawn[3:].ravel()) == {3}
    _check_equal(expected, run(bench.folder(bench.program(chip), tmp_path / "m"), uncounted(chip), few, steps=True))


def test_logarithms_are_those_of_real_numbers() -> None:
    a = np.concatenate([np.arange(1 << 19, (1 << 19) + 50), np.geomspace(1 << 19, 2**31 - 1, 4000).astype(np.int64)])
    np.testing.assert_allclose(numerics.log_from_one(a, 12) / 2**26, np.log(a / 2**19), atol=2e-5)


def test_a_row_of_zeros_has_no_length() -> None:
    t, out = activation((1, 4), 0.1, 9), activation((1, 4), 1 / 128)
    op = L2Normalization()
    assert not op.reference(op.bind("tflm", "l", (Tensor("x", t),), out), np.full((1, 1, 4), 9, np.int8)).any()
    assert inverse_sqrt(0) == (numerics.INT32_MAX, 0)


@pytest.mark.parametrize("op", [L2Normalization(), FixedLogSoftmax(), CumSum(0)])
def test_scales_and_laws_are_checked(op: object) -> None:
    x = (Tensor("x", activation((1, 4), 0.1)),)
    with pytest.raises(EdgeqError, match="rounding tflm alone"):
        op.bind("single", "here", x, activation((1, 4), 0.1))  # type: ignore[attr-defined]
    with pytest.raises(EdgeqError, match="scale"):
        op.bind("tflm", "here", x, activation((1, 4), 1e-9))  # type: ignore[attr-defined]
