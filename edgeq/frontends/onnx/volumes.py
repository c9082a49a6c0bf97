"""Convolutions with three spatial axes: as many images as the first axis has windows, whose channels are those of a window's slices."""

from __future__ import annotations

from collections.abc import Callable

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.registry import Result, tensor_of
from edgeq.frontends.onnx.values import Constant
from edgeq.frontends.onnx.windows import Window, part, window
from edgeq.ir import Tensor
from edgeq.ops.concat import Concat
from edgeq.ops.pad import Pad
from edgeq.ops.slice import Slice

Images = Callable[[Call], Result]  # the reader of the operator on images


def conv(call: Call, w: Constant, images: Images) -> Tensor:
    """A convolution of ``[N, C, D, H, W]`` with ``[O, C / groups, d, h, w]``."""
    x, groups = call.x(0), call.integer("group", 1)
    _, channels, depth, height, width = x.type.shape
    out, per_in, *kernel = w.array.shape
    if per_in * groups != channels:
        raise EdgeqError(f"weights {list(w.array.shape)} do not fit input {list(x.type.shape)} with {groups} group(s)")
    along, across = (part(call, None, axes) for axes in (slice(0, 1), slice(1, 3)))
    at = window(along, (depth,), tuple(kernel[:1]))
    if _is_point(window(across, (height, width), tuple(kernel[1:]))):
        return _planes(call, w, images)
    slices = _slices(call, x, at, groups)
    taps = w.transposed((0, 2, 1, 3, 4)).reshaped((out, kernel[0] * per_in, *kernel[1:]))
    return _volume(call, tensor_of(images(across.with_values([slices, taps, *call.values[2:]]))))


def conv_transpose(call: Call, w: Constant, images: Images) -> Tensor:
    """A transposed convolution of ``[N, C, D, H, W]`` with ``[C, O / groups, d, h, w]``, in which slices stay apart.

    Raises:
        EdgeqError: along the first axis it does more than a factor per slice.
    """
    x = call.x(0)
    along, across = (part(call, None, axes) for axes in (slice(0, 1), slice(1, 3)))
    at = window(along, x.type.shape[2:3], w.array.shape[2:3])
    if not _is_point(at) or any(along.integers("output_padding") or ()) or call.has("output_shape"):
        fix = "use a kernel and a stride of 1 along the first axis, and an upsampling before it"
        raise EdgeqError(f"{call.kind} along the first of three spatial axes is not supported", fix=fix)
    slices = _slices(call, x, at, 1)
    taps = w.reshaped((*w.array.shape[:2], *w.array.shape[3:]))
    return _volume(call, tensor_of(images(across.with_values([slices, taps, *call.values[2:]]))))


def _is_point(at: Window) -> bool:
    """Whether a window is one element, and every element has one."""
    return at.kernel == (1, 1) and at.stride == (1, 1) and not any(at.pads)


def _planes(call: Call, w: Constant, images: Images) -> Tensor:
    """A convolution along the first axis alone: height and width are one axis."""
    n, c, d, h, width = call.x(0).type.shape
    rows = call.reshape(call.x(0), (n, c, d, h * width), "planes")
    both = part(call, None, slice(0, 2))
    y = tensor_of(images(both.with_values([rows, w.reshaped((*w.array.shape[:3], 1)), *call.values[2:]])))
    return call.reshape(y, (*y.type.shape[:3], h, width), "volume")


def _slices(call: Call, x: Tensor, at: Window, groups: int) -> Tensor:
    """``[N D', d C, H, W]``: of each window along the first axis the channels of its slices, group by group."""
    n, c, depth, h, w = x.type.shape
    data = call.transpose(call.reshape(x, (n, groups, c // groups, depth, h * w), "groups"), (0, 3, 1, 2, 4), "slices")
    before, after = at.pads[1], at.pads[3]
    if before or after:
        data = call.emit(Pad(((0, 0), (before, after), *((0, 0),) * 3)), data, tag="padded")
    stride, dilation, kernel = at.stride[1], at.dilation[1], at.kernel[1]
    count = (depth + before + after - (kernel - 1) * dilation - 1) // stride + 1
    if count < 1:
        raise EdgeqError(f"a window of {call.kind} is larger than its input", why=f"{depth} slices")
    size = (n, count, *data.type.shape[2:])
    if count != data.type.shape[1] or stride > 1 or kernel > 1:
        steps = (1, stride, 1, 1, 1)
        taps = [call.emit(Slice((0, k * dilation, 0, 0, 0), size, steps), data, tag=f"tap{k}") for k in range(kernel)]
        data = call.emit(Concat(3), *taps, tag="taps") if kernel > 1 else taps[0]
    return call.reshape(data, (n * count, c * kernel, h, w), "images")


def _volume(call: Call, y: Tensor) -> Tensor:
    """``[N D', O, H', W']`` as ``[N, O, D', H', W']``."""
    n = call.x(0).type.shape[0]
    y = call.reshape(y, (n, y.type.shape[0] // n, *y.type.shape[1:]), "volume")
    return call.transpose(y, (0, 2, 1, 3, 4), "channels_first")
