"""Pooling over windows and over whole images, and the reductions."""

from __future__ import annotations

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.windows import Window, window
from edgeq.ir import Tensor
from edgeq.ops import mathematics as maths
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.windows import Pads


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


@reads("MaxPool", integers=True)
def max_pool(call: Call) -> tuple[Tensor]:
    if len(call.node.output) > 1 and call.node.output[1]:
        raise EdgeqError("MaxPool with indices is not supported", fix="remove the output that holds the indices")
    x = call.x()
    at = window(call, x.type.shape[2:])
    pads = rounded_up(call, at, x.type.shape[2:])
    y = call.emit(MaxPool2d(at.kernel, at.stride, at.dilation, pads), call.nhwc(x))
    return (call.nchw(y, len(x.type.shape)),)


@reads("AveragePool")
def average_pool(call: Call) -> Tensor:
    x = call.x()
    at = window(call, x.type.shape[2:])
    if at.dilation != (1, 1):
        raise EdgeqError("AveragePool with dilation is not supported", fix="use a depthwise convolution")
    pads = rounded_up(call, at, x.type.shape[2:])
    counts = bool(call.integer("count_include_pad", 0)) and any(at.pads)
    if counts and pads != at.pads:
        raise EdgeqError("AveragePool with ceil_mode and count_include_pad is not supported", fix="use one of the two")
    y = call.emit(AveragePool2d(at.kernel, at.stride, pads, counts), call.nhwc(x))
    return call.nchw(y, len(x.type.shape))


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
