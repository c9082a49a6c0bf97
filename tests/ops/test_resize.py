"""Resizing: TFLite's modes byte for byte against TensorFlow Lite Micro, ONNX's modes against onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from harness import Case, activation, suite
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Tensor, TensorType
from edgeq.ops.resize import ResizeBilinear, ResizeNearest

SIZES = [((3, 5), (6, 10)), ((3, 5), (7, 8)), ((8, 6), (4, 3)), ((7, 9), (3, 4)), ((4, 4), (1, 1)), ((1, 1), (3, 2)), ((5, 6), (5, 6))]
MODES: list[dict[str, bool]] = [{}, {"half_pixel_centers": True}, {"align_corners": True}]


def image(h: int, w: int, channels: int = 3) -> TensorType:
    return activation((1, h, w, channels), 0.1, -7)


def cases(cls: Any, **more: Any) -> list[Case]:
    return [
        Case(f"{h}x{w}_{size[0]}x{size[1]}_{''.join(mode) or 'asymmetric'}", cls(size, **mode, **more), (image(h, w),))
        for ((h, w), size), mode in itertools.product(SIZES, MODES)
    ]


NEAREST = cases(ResizeNearest)
BILINEAR = cases(ResizeBilinear)
test_resize_nearest = suite(
    [
        *NEAREST,
        Case("batch", ResizeNearest((4, 4)), (activation((2, 2, 3, 4), 0.1),)),
        Case("real", ResizeNearest((4, 6)), (TensorType((1, 2, 3, 2)),)),
        Case("wide", ResizeNearest((4, 6)), (activation((1, 2, 3, 2), 0.001, 0, DType.INT16),)),
        Case("int32", ResizeNearest((4, 6)), (activation((1, 2, 3, 2), 2.0**-16, 0, DType.INT32),), tolerance=128.0),
    ]
)
test_resize_bilinear = suite(
    [
        *BILINEAR,
        Case("batch", ResizeBilinear((4, 4)), (activation((2, 2, 3, 4), 0.1),)),
        Case("scales", ResizeBilinear((7, 8), half_pixel_centers=True, scales=(1.5, 1.7)), (image(5, 5),)),
        Case("one_reads_zero", ResizeBilinear((1, 8), half_pixel_centers=True, one_reads_zero=True), (image(5, 5),)),
    ]
)


@pytest.mark.parametrize("case", [*NEAREST, *BILINEAR], ids=lambda c: f"{c.op.kind()}-{c.name}")
def test_law_tflm_equals_tensorflow_lite_micro(case: Case) -> None:
    op: Any = case.op
    kind = "BILINEAR" if isinstance(op, ResizeBilinear) else "NEAREST_NEIGHBOR"
    options = {"alignCorners": op.align_corners, "halfPixelCenters": op.half_pixel_centers}
    size = Tensor("size", TensorType((2,), DType.INT32), np.array(op.size, np.int32))
    name = "ResizeBilinearOptions" if kind == "BILINEAR" else "ResizeNearestNeighborOptions"
    model = tflite_model(f"RESIZE_{kind}", (name, options), [Tensor("x", case.types[0]), size], case.output_type)
    data = np.random.default_rng(1).integers(-128, 128, (4, *case.types[0].shape)).astype(np.int8)
    params = op.bind("tflm", "here", (Tensor("x", case.types[0]),), case.output_type)
    np.testing.assert_array_equal(op.reference(params, data), tflm(model, [data]))


def onnxruntime(x: Array, out: tuple[int, int], scales: tuple[float, float] | None, **attributes: str) -> Array:
    """ONNX Resize of ``[N, H, W, C]``."""
    session = pytest.importorskip("onnxruntime")
    helper, n = onnx.helper, x.transpose(0, 3, 1, 2)
    shape = [*n.shape[:2], *out]
    names = ["x", "", "scales"] if scales else ["x", "", "", "sizes"]
    given = np.array([1, 1, *scales], np.float32) if scales else np.array(shape, np.int64)
    node = helper.make_node("Resize", names, ["y"], **attributes)
    value = helper.make_tensor_value_info
    constants = [onnx.numpy_helper.from_array(given, names[-1])]
    graph = helper.make_graph([node], "g", [value("x", 1, n.shape)], [value("y", 1, shape)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    (y,) = session.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": n})
    return np.asarray(y).transpose(0, 2, 3, 1)


ONNX_MODES: dict[str, dict[str, bool]] = {
    "asymmetric": {}, "half_pixel": {"half_pixel_centers": True}, "align_corners": {"align_corners": True},
    "pytorch_half_pixel": {"half_pixel_centers": True, "one_reads_zero": True},
}  # fmt: skip


def check_onnx(op: Op, x: Array, out: tuple[int, int], scales: tuple[float, float] | None, **attributes: str) -> None:
    want = onnxruntime(x, out, scales, **attributes)
    np.testing.assert_allclose(op.real(x[None])[0], want, atol=2e-5, err_msg=str(op))


@pytest.mark.parametrize("mode", ONNX_MODES)
def test_real_bilinear_equals_onnxruntime(mode: str) -> None:
    rng = np.random.default_rng(2)
    for (h, w), out in SIZES:
        x = rng.normal(size=(1, h, w, 2)).astype(np.float32)
        check_onnx(ResizeBilinear(out, **ONNX_MODES[mode]), x, out, None, mode="linear", coordinate_transformation_mode=mode)


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("mode", ONNX_MODES)
def test_real_nearest_equals_onnxruntime(mode: str, rounding: Any) -> None:
    rng = np.random.default_rng(3)
    for (h, w), out in SIZES:
        x = rng.normal(size=(1, h, w, 2)).astype(np.float32)
        op = ResizeNearest(out, **ONNX_MODES[mode], rounding=rounding)
        check_onnx(op, x, out, None, mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding)


@pytest.mark.parametrize("cls", [ResizeNearest, ResizeBilinear])
def test_scales_that_are_not_the_ratio_of_the_lengths(cls: Any) -> None:
    x = np.random.default_rng(4).normal(size=(1, 5, 7, 2)).astype(np.float32)
    for mode in ("asymmetric", "half_pixel"):
        scales, out = (1.5, 0.6), (7, 4)
        rounding = {"rounding": "round_prefer_floor"} if cls is ResizeNearest else {}
        kind = {"mode": "nearest", "nearest_mode": "round_prefer_floor"} if cls is ResizeNearest else {"mode": "linear"}
        op = cls(out, **ONNX_MODES[mode], scales=scales, **rounding)
        check_onnx(op, x, out, scales, coordinate_transformation_mode=mode, **kind)


@pytest.mark.parametrize(
    ("op", "x"),
    [
        (ResizeNearest((0, 3)), image(4, 4)), (ResizeNearest((3, 3)), activation((4, 4), 0.1)), (ResizeBilinear((40000, 1)), image(4, 4)),
        (ResizeBilinear((3, 3), True, True), image(4, 4)), (ResizeBilinear((3, 3), scales=(0.0, 1.0)), image(4, 4)),
        (ResizeNearest((32767, 32767)), image(4, 4)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: Op, x: TensorType) -> None:
    with pytest.raises(EdgeqError):
        op.infer(x)
