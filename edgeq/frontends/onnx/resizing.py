"""Resize and its forerunner Upsample."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.contraction import MAX_BASIS, coefficients
from edgeq.frontends.onnx.linear import dense
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant
from edgeq.ir import DType, Tensor
from edgeq.ops.resize import ResizeBilinear, ResizeNearest, Rounding
from edgeq.ops.windows import Pair

COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn")
ROUNDINGS: dict[str, Rounding] = {
    "round_prefer_floor": "round_prefer_floor", "round_prefer_ceil": "round_prefer_ceil", "floor": "floor", "ceil": "ceil",
}  # fmt: skip


@reads("Resize", "Upsample", integers=True)
def resize(call: Call) -> Tensor:
    x = call.x()
    try:
        return _resized(call, x)
    except EdgeqError as e:
        if x.type.dtype is not DType.FLOAT32 or call.kind == "Upsample" or call.version < 11:
            raise
        return _by_axes(call, x, e)


def _resized(call: Call, x: Tensor) -> Tensor:
    """By the operators that resize images."""
    shape = x.type.shape
    size, scales = _target(call, shape)
    mode = call.choice("mode", "nearest", ("nearest", "linear"))
    if call.integer("antialias", 0) and any(s < 1 for s in scales):
        raise EdgeqError("Resize with antialiasing is not supported", fix="use average pooling")
    changed = [a for a in range(len(shape)) if size[a] != shape[a]]
    if not changed:
        return x
    channels_last = len(shape) == 4 and set(changed) <= {1, 2} and 1 in changed
    spatial = (1, 2) if channels_last else tuple(range(2, len(shape)))
    if not set(changed) <= set(spatial) or len(shape) not in (3, 4):
        raise EdgeqError(f"Resize of axes {changed} of {list(shape)} is not supported", why="one or two spatial axes are")
    old, new, by = [shape[a] for a in spatial], [size[a] for a in spatial], [scales[a] for a in spatial]
    if len(spatial) == 1:
        old, new, by = [1, *old], [1, *new], [1.0, *by]
    op = _operator(call, mode, (old[0], old[1]), (new[0], new[1]), (by[0], by[1]))
    return call.emit(op, x) if channels_last else call.nchw(call.emit(op, call.nhwc(x)), len(shape))


def _by_axes(call: Call, x: Tensor, refused: EdgeqError) -> Tensor:
    """Any other mode as a product with its coefficients along each axis, since all modes work axis by axis."""
    for attribute in call.node.attribute:
        call.has(attribute.name)
    rank = len(x.type.shape)
    listed = tuple(call.normal_axis(a, rank) for a in call.integers("axes") or range(rank))
    given = [call.data(i, "a parameter") for i in (1, 2, 3)]
    roi, scales, sizes = (v if v is not None and v.size else None for v in given)  # an empty one is left out
    if call.text("keep_aspect_ratio_policy", "stretch") != "stretch" and sizes is not None:
        ratios = [int(s) / x.type.shape[a] for s, a in zip(sizes.ravel(), listed, strict=True)]
        ratio = min(ratios) if call.text("keep_aspect_ratio_policy", "") == "not_larger" else max(ratios)
        scales, sizes = None, np.array([int(x.type.shape[a] * ratio + 0.5) for a in listed], np.int64)
    extra = call.number("extrapolation_value", 0.0)
    if call.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" and extra:
        raise EdgeqError("Resize with an extrapolation value is not supported", fix="extrapolate by 0")
    for i, axis in enumerate(listed):
        part = [None if v is None else np.ravel(v)[[i]] for v in (scales, sizes)]
        region = None if roi is None or roi.size != 2 * len(listed) else np.ravel(roi)[[i, i + len(listed)]]
        n = x.type.shape[axis]
        kept = part[0] is not None and float(part[0][0]) == 1 and region is None
        if kept or (part[1] is not None and int(part[1][0]) == n and region is None):
            continue
        if (part[0] is None) == (part[1] is None) or (part[0] is not None and not 0 < float(part[0][0]) * n < MAX_BASIS):
            raise refused
        if part[1] is not None and not 0 < int(part[1][0]) < MAX_BASIS:
            raise refused
        inner = call.with_values([x, None, None, None])
        matrix = coefficients(inner, n, [np.zeros(n, np.float32), region, *part], ("axes", "keep_aspect_ratio_policy"))[0]
        name = f"{call.output}.axis{axis}"
        x = call.with_axis_last(x, axis, lambda t, m=matrix, b=name: dense(call, t, Constant(b, m), None, f"{b}.bias"))  # type: ignore[misc]
    return x


def _operator(call: Call, mode: str, old: Pair, new: Pair, scales: tuple[float, float]) -> ResizeNearest | ResizeBilinear:
    """The operator with its coordinate mode."""
    older = call.kind == "Upsample" or call.version < 11
    coordinates = "asymmetric" if older else call.choice("coordinate_transformation_mode", "half_pixel", COORDINATES)
    exact = all(n * s == m for n, m, s in zip(old, new, scales, strict=True))
    if coordinates == "half_pixel_symmetric" and not exact:
        raise EdgeqError("Resize with half_pixel_symmetric by a factor that is not exact is not supported", fix="use half_pixel")
    if coordinates == "align_corners" and not exact:
        raise EdgeqError("Resize with align_corners by a factor that is not exact is not supported", fix="give sizes, not scales")
    if coordinates == "tf_half_pixel_for_nn" and mode != "nearest":
        raise EdgeqError("Resize with tf_half_pixel_for_nn needs nearest mode")
    aligned = coordinates == "align_corners"
    half = coordinates in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
    given = None if exact or aligned else scales
    one = coordinates == "pytorch_half_pixel"
    if mode == "linear":
        return ResizeBilinear(new, aligned, half, given, one)
    name = "floor" if older else call.choice("nearest_mode", "round_prefer_floor", tuple(ROUNDINGS))
    if coordinates == "tf_half_pixel_for_nn":  # (i + 0.5) / scale, rounded down
        if not exact:
            raise EdgeqError("Resize with tf_half_pixel_for_nn by a factor that is not exact is not supported", fix="use half_pixel")
        return ResizeNearest(new, False, True, given, False, "tflite")
    return ResizeNearest(new, aligned, half, given, one, ROUNDINGS[name])


def _target(call: Call, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Per axis the output's length and the scale."""
    if call.kind == "Upsample" or call.version < 11:
        found, sizes = (call.data(1, "the scales") if call.value(1) is not None else np.array(call.numbers("scales"))), None
    else:
        found, sizes = call.data(2, "the scales"), call.vector(3, "the sizes")
    axes = tuple(call.normal_axis(a, len(shape)) for a in call.integers("axes") or range(len(shape)))
    if sizes:
        call.choice("keep_aspect_ratio_policy", "stretch", ("stretch",))
        if len(sizes) != len(axes) or min(sizes) < 1:
            raise EdgeqError("the sizes of Resize do not fit its input")
        size = list(shape)
        for axis, n in zip(axes, sizes, strict=True):
            size[axis] = n
        return tuple(size), tuple(m / n for m, n in zip(size, shape, strict=True))
    if found is None or found.size != len(axes) or not np.isfinite(found).all() or (found <= 0).any() or (found > 1e6).any():
        raise EdgeqError("the scales of Resize do not fit its input")
    scales = [1.0] * len(shape)
    for axis, s in zip(axes, found.ravel(), strict=True):
        scales[axis] = float(s)
    return tuple(math.floor(n * s) for n, s in zip(shape, scales, strict=True)), tuple(scales)
