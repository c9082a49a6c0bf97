"""Pooling over windows and over whole images, and the reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.windows import Window, part, window
from edgeq.ir import Array, Tensor
from edgeq.ops import mathematics as maths
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.windows import Pads, Pair


def rounded_up(call: Call, at: Window, size: tuple[int, ...]) -> Pads:
    """Pads that make room for ceil_mode's last windows; windows that would start in the end padding do not exist."""
    if not call.integer("ceil_mode", 0):
        return at.pads
    size = size if len(size) == 2 else (1, *size)
    pads = list(at.pads)
    for axis in (0, 1):
        begin, end = at.pads[axis], at.pads[axis + 2]
        extent = (at.kernel[axis] - 1) * at.dilation[axis] + 1
        count = -(-(size[axis] + begin + end - extent) // at.stride[axis]) + 1
        if (count - 1) * at.stride[axis] >= size[axis] + begin:
            count -= 1
        pads[axis + 2] = max(end, (count - 1) * at.stride[axis] + extent - size[axis] - begin)
    return (pads[0], pads[1], pads[2], pads[3])


def _split(call: Call) -> Call | None:
    """Three spatial axes are pooled as two and then the first: the call for the last two; None where there are fewer.

    An extreme of extremes is one, and a mean over a box is the mean of means, whatever of it lies in the padding.
    """
    x = call.x()
    if len(x.type.shape) != 5:
        return None
    n, c, d, h, w = x.type.shape
    return part(call, call.reshape(x, (n, c * d, h, w), "slices"), slice(1, 3))


def _in_turns(call: Call, inner: Call, pool: Callable[[Call], Tensor]) -> Tensor:
    n, c, d = call.x().type.shape[:3]
    y = pool(inner)
    h, w = y.type.shape[2:]
    columns = call.reshape(y, (n, c, d, h * w), "columns")
    depth = part(call, call.reshape(call.transpose(columns, (0, 1, 3, 2), "depth_last"), (n, c * h * w, d), "depth"), slice(0, 1))
    y = pool(depth)
    y = call.reshape(y, (n, c, h * w, y.type.shape[2]), "planes")
    return call.reshape(call.transpose(y, (0, 1, 3, 2), "depth_first"), (n, c, y.type.shape[3], h, w), "volume")


@reads("MaxPool", integers=True)
def max_pool(call: Call) -> tuple[Tensor]:
    """The reader refuses the indices where something reads them."""
    return (_max_pool(call),)


def _max_pool(call: Call) -> Tensor:
    inner = _split(call)
    if inner is not None:
        return _in_turns(call, inner, _max_pool)
    x = call.x()
    at = window(call, x.type.shape[2:])
    pads = rounded_up(call, at, x.type.shape[2:])
    y = call.emit(MaxPool2d(at.kernel, at.stride, at.dilation, pads), call.nhwc(x))
    return call.nchw(y, len(x.type.shape))


@reads("AveragePool")
def average_pool(call: Call) -> Tensor:
    return _average_pool(call)


def _average_pool(call: Call) -> Tensor:
    inner = _split(call)
    if inner is not None:
        return _in_turns(call, inner, _average_pool)
    x = call.x()
    at = window(call, x.type.shape[2:])
    pads = rounded_up(call, at, x.type.shape[2:])
    counts = bool(call.integer("count_include_pad", 0)) and any(at.pads)
    if at.dilation != (1, 1) or (counts and pads != at.pads):
        size = x.type.shape[2:] if at.rank == 2 else (1, *x.type.shape[2:])
        inside = _inside(at, pads, (size[0], size[1]), counts)
        return _window_sums(call, x, at, pads, (1 / inside).astype(np.float32))
    y = call.emit(AveragePool2d(at.kernel, at.stride, pads, counts), call.nhwc(x))
    return call.nchw(y, len(x.type.shape))


def _inside(at: Window, pads: Pads, size: Pair, padding: bool) -> Array:
    """``[rows, columns]``: how many elements each window averages: those of the image, and those of its padding where they count."""
    found = []
    for axis in (0, 1):
        begin, end = pads[axis], pads[axis + 2]
        extent = (at.kernel[axis] - 1) * at.dilation[axis] + 1
        count = (size[axis] + begin + end - extent) // at.stride[axis] + 1
        places = np.arange(count)[:, None] * at.stride[axis] - begin + np.arange(at.kernel[axis]) * at.dilation[axis]
        low, high = (-at.pads[axis], size[axis] + at.pads[axis + 2]) if padding else (0, size[axis])
        found.append(((places >= low) & (places < high)).sum(1))
    inside = np.outer(found[0], found[1])
    if inside.min() < 1:
        raise EdgeqError("a window lies in the padding alone")
    return inside


def _window_sums(call: Call, x: Tensor, at: Window, pads: Pads, factors: Array | None) -> Tensor:
    """Sums over windows, times a factor per place."""
    channels = x.type.shape[1]
    ones = call.builder.constant(f"{call.output}.ones", np.ones((1, *at.kernel, channels), np.float32))
    none = call.builder.constant(f"{call.output}.none", np.zeros(channels, np.float32))
    y = call.emit(DepthwiseConv2d(at.stride, at.dilation, pads), call.nhwc(x), ones, none, tag="sums")
    if factors is not None:
        y = call.emit(Mul(), y, call.builder.constant(f"{call.output}.inverse", factors.reshape(1, *factors.shape, 1)), tag="means")
    return call.nchw(y, len(x.type.shape))


@reads("LpPool")
def lp_pool(call: Call) -> Tensor:
    x, p = call.x(), call.integer("p", 2)
    at = window(call, x.type.shape[2:])
    pads = rounded_up(call, at, x.type.shape[2:])
    if p < 1:
        raise EdgeqError(f"LpPool with p {p} has no meaning")
    size: Tensor = call.emit(maths.Square() if p == 2 else maths.Abs(), x, tag="size")
    if p > 2:
        size = call.emit(maths.Pow(float(p)), size, tag="power")
    y = _window_sums(call, size, at, pads, None)
    return y if p == 1 else call.emit(maths.Sqrt() if p == 2 else maths.Pow(1 / p), y, tag="root")


@reads("GlobalAveragePool", "GlobalMaxPool")
def global_pool(call: Call) -> Tensor:
    x = call.x()
    axes = tuple(range(2, len(x.type.shape)))
    if not axes:
        raise EdgeqError(f"{call.kind} of an input without spatial axes", why=f"{x.type}")
    return call.emit(Mean(axes, True) if call.kind == "GlobalAveragePool" else ReduceMax(axes, True), x)


REDUCTIONS = {
    "ReduceMean": Mean, "ReduceSum": ReduceSum, "ReduceMax": ReduceMax, "ReduceMin": ReduceMin,
    "ReduceL1": ReduceSum, "ReduceL2": ReduceSum, "ReduceSumSquare": ReduceSum, "ReduceLogSum": ReduceSum, "ReduceLogSumExp": ReduceSum,
}  # fmt: skip
BEFORE = {"ReduceL1": maths.Abs(), "ReduceL2": maths.Square(), "ReduceSumSquare": maths.Square(), "ReduceLogSumExp": maths.Exp()}
AFTER = {"ReduceL2": maths.Sqrt(), "ReduceLogSum": maths.Log(), "ReduceLogSumExp": maths.Log()}


@reads(*REDUCTIONS)
def reduce(call: Call) -> Tensor:
    x = call.x()
    rank = len(x.type.shape)
    listed, keepdims = call.parameter("axes", 1), bool(call.integer("keepdims", 1))
    if call.integer("noop_with_empty_axes", 0) and not listed:
        axes: tuple[int, ...] = ()
    else:
        axes = tuple(sorted({call.normal_axis(a, rank) for a in listed})) if listed else tuple(range(rank))
    if call.kind in BEFORE:
        x = call.emit(BEFORE[call.kind], x, tag="each" if axes else "")
    if axes:
        x = call.emit(REDUCTIONS[call.kind](axes, keepdims), x)
    return call.emit(AFTER[call.kind], x, tag="root") if call.kind in AFTER else x
