"""Pad: every mode on inner and outer axes, against numpy and TensorFlow Lite Micro."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness import Case, activation, on_words, suite
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import DType, Tensor, TensorType
from edgeq.ops.pad import Pad

IMAGE = activation((1, 5, 4, 3), 0.1, -7)
ROUND = ((0, 0), (1, 2), (3, 0), (0, 0))
CASES = [
    Case("image", Pad(ROUND), (IMAGE,)),
    Case("value", Pad(ROUND, 1.26), (IMAGE,)),
    Case("infinite", Pad(ROUND, -math.inf), (IMAGE,)),
    Case("nothing", Pad(((0, 0),) * 4), (IMAGE,)),
    Case("channels", Pad(((0, 0), (0, 0), (0, 0), (2, 1))), (IMAGE,)),
    Case("all_axes", Pad(((1, 0), (1, 2), (0, 3), (2, 1))), (IMAGE,)),
    Case("one_channel", Pad(((0, 0), (1, 1), (1, 1), (0, 0))), (activation((1, 5, 4, 1), 0.1, 9),)),
    Case("grown_axis", Pad(((0, 0), (2, 3))), (activation((6, 1), 0.1, 9),)),
    Case("vector", Pad(((3, 4),)), (activation((6,), 0.1, 9),)),
    Case("reflect", Pad(ROUND, mode="reflect"), (IMAGE,)),
    Case("reflect_channels", Pad(((0, 0), (4, 4), (0, 0), (2, 2)), mode="reflect"), (IMAGE,)),
    Case("wrap", Pad(ROUND, mode="wrap"), (IMAGE,)),
    Case("wrap_twice", Pad(((0, 0), (5, 9)), mode="wrap"), (TensorType((2, 4)),)),
    Case("reflect_real", Pad(((0, 0), (2, 1)), mode="reflect"), (TensorType((2, 4)),)),
    Case("reflect_wide", Pad(((0, 0), (2, 1)), mode="reflect"), (activation((2, 4), 0.001, 0, DType.INT16),)),
    Case("reflect_int32", Pad(((0, 0), (2, 1)), mode="reflect"), (activation((2, 4), 2.0**-16, 0, DType.INT32),), tolerance=128.0),
    Case("zeros_real", Pad(((0, 0), (2, 1))), (TensorType((2, 4)),)),
    Case("edge", Pad(ROUND, mode="edge"), (IMAGE,)),
    Case("edge_far", Pad(((2, 0), (9, 1), (0, 0), (5, 1)), mode="edge"), (IMAGE,)),
]
CASES += [on_words(c) for c in CASES[:5]]
test_pad = suite(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_real_equals_numpy(case: Case) -> None:
    assert isinstance(case.op, Pad)
    data = np.random.default_rng(0).normal(size=(2, *case.types[0].shape)).astype(np.float32)
    more = {"constant_values": case.op.value or 0} if case.op.mode == "constant" else {}
    want = np.stack([np.pad(v, case.op.pads, mode=case.op.mode, **more) for v in data])
    np.testing.assert_array_equal(case.op.real(data), want)


def tflite_can(case: Case) -> bool:
    assert isinstance(case.op, Pad)
    return case.types[0].dtype is DType.INT8 and case.op.mode not in ("edge", "wrap") and case.op.value != -math.inf


@pytest.mark.parametrize("case", [c for c in CASES if tflite_can(c)], ids=lambda c: c.name)
def test_law_tflm_equals_tensorflow_lite_micro(case: Case) -> None:
    op, x = case.op, case.types[0]
    assert isinstance(op, Pad)
    pads = np.array(op.pads, np.int32)
    more = [Tensor("pads", TensorType(pads.shape, DType.INT32), pads)]
    if op.mode == "reflect":
        builtin, options = "MIRROR_PAD", ("MirrorPadOptions", {"mode": 0})
    elif op.value is None:
        builtin, options = "PAD", ("PadOptions", {})
    else:
        builtin, options = "PADV2", ("PadV2Options", {})
        stored = np.rint([op.value / x.scale + x.zero_point]).astype(np.int8)
        more.append(Tensor("value", TensorType((1,), DType.INT8, x.q), stored))
    data = np.random.default_rng(1).integers(-128, 128, (2, *x.shape)).astype(np.int8)
    want = tflm(tflite_model(builtin, options, [Tensor("x", x), *more], case.output_type), [data])  # type: ignore[arg-type]
    params = op.bind("tflm", "here", (Tensor("x", x),), case.output_type)
    np.testing.assert_array_equal(op.reference(params, data), want)


@pytest.mark.parametrize(
    "op",
    [
        Pad(((0, 0),)), Pad(((0, 0), (0, -1), (0, 0), (0, 0))), Pad(ROUND, math.nan), Pad(ROUND, mode="around"),  # type: ignore[arg-type]
        Pad(((0, 0), (5, 0), (0, 0), (0, 0)), mode="reflect"), Pad(((0, 0), (2**30, 0), (0, 0), (0, 0))),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: Pad) -> None:
    with pytest.raises(EdgeqError):
        op.infer(IMAGE)


def test_real_numbers_are_padded_with_zeros_alone() -> None:
    x, y = TensorType((2,)), TensorType((4,))
    with pytest.raises(EdgeqError, match="only zeros are"):
        Pad(((1, 1),), 0.5).bind("single", "here", (Tensor("x", x),), y)
