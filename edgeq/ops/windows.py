"""Sliding windows: output sizes, explicit padding and the patch view that convolution and pooling share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, TensorType
from edgeq.ops.traits import Rows, Shape, Sliding

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, left, bottom, right


def same_pads(size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    """TensorFlow's SAME padding, the odd element at the bottom and right."""
    total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
    return (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)


def output_size(size: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> Pair:
    """Rows and columns of windows that fit.

    Raises:
        EdgeqError: the window is larger than the padded input, or an attribute is out of range.
    """
    if min(*kernel, *stride, *dilation) < 1 or min(pads) < 0:
        raise EdgeqError(f"kernel {kernel}, stride {stride}, dilation {dilation}, pads {pads}: out of range")
    h = (size[0] + pads[0] + pads[2] - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
    w = (size[1] + pads[1] + pads[3] - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1
    if h < 1 or w < 1:
        raise EdgeqError(f"window {kernel} with dilation {dilation} does not fit input {size} padded by {pads}")
    return h, w


def geometry(x: TensorType, w: TensorType, output: TensorType, stride: Pair, dilation: Pair, pads: Pads) -> dict[str, int | str]:
    """The scalars of a convolution's kernels that say where its windows lie; `w` is ``[..., kernel_h, kernel_w, ...]`` on axes 1 and 2."""
    batches, in_h, in_w, in_c = x.shape
    return {
        "batches": batches, "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": output.shape[1], "out_w": output.shape[2],
        "kernel_h": w.shape[1], "kernel_w": w.shape[2], "stride_h": stride[0], "stride_w": stride[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1], "pad_top": pads[0], "pad_left": pads[1],
    }  # fmt: skip


def taps_inside(size: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> Array:
    """int64 ``[out_h, out_w]``: how many taps of each window lie inside the input.

    Raises:
        EdgeqError: some window lies in the padding alone.
    """
    out = output_size(size, kernel, stride, dilation, pads)
    counts = []
    for axis in (0, 1):
        at = np.arange(out[axis])[:, None] * stride[axis] - pads[axis] + np.arange(kernel[axis])[None] * dilation[axis]
        counts.append(((at >= 0) & (at < size[axis])).sum(1))
    inside: Array = np.outer(*counts)
    if inside.min() == 0:
        raise EdgeqError(f"a window {kernel} of input {size} lies in the padding {pads} alone")
    return inside


def pad(x: Array, pads: Pads, fill: float) -> Array:
    """``[N, H, W, C]`` with `fill` around it; `x` itself where nothing is added."""
    if not any(pads):
        return x
    top, left, bottom, right = pads
    n, h, w, c = x.shape
    padded = np.full((n, top + h + bottom, left + w + right, c), fill, x.dtype)
    padded[:, top : top + h, left : left + w] = x
    return padded


def taps(x: Array, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads, fill: float) -> Iterator[tuple[int, int, Array]]:
    """For each tap (ky, kx) the view ``[N, out_h, out_w, C]`` of what it meets in ``[N, H, W, C]`` padded with `fill`."""
    h, w = output_size((x.shape[1], x.shape[2]), kernel, stride, dilation, pads)
    x = pad(x, pads, fill)
    for ky in range(kernel[0]):
        y0 = ky * dilation[0]
        for kx in range(kernel[1]):
            x0 = kx * dilation[1]
            yield ky, kx, x[:, y0 : y0 + (h - 1) * stride[0] + 1 : stride[0], x0 : x0 + (w - 1) * stride[1] + 1 : stride[1]]


def patches(x: Array, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads, fill: float) -> Array:
    """A view ``[N, out_h, out_w, kernel_h, kernel_w, C]`` of ``[N, H, W, C]`` padded with `fill`."""
    h, w = output_size((x.shape[1], x.shape[2]), kernel, stride, dilation, pads)
    x = pad(x, pads, fill)
    n, sy, sx, c = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], h, w, *kernel, x.shape[3]),
        (n, sy * stride[0], sx * stride[1], sy * dilation[0], sx * dilation[1], c),
        writeable=False,
    )


def window_rows(op: Any, shapes: Sequence[Shape]) -> Rows:
    """The rows that a convolution or pooling reads."""
    return _window(op, shapes, 0)


def window_firsts(op: Any, shapes: Sequence[Shape], output: Shape) -> list[Array]:
    """Of the input of a convolution or pooling, of which results are pixels."""
    starts = []
    for side in (0, 1):
        rows = _window(op, shapes, side)
        starts.append(np.arange(output[1 + side]) * rows.step - rows.before)
    return [pixels_on(starts[0], starts[1], shapes[0])]


def pixels_on(rows: Array, columns: Array, shape: Shape) -> Array:
    """The first element of ``[N, H, W, C]`` that a pixel or one behind it reads, by the first row and column that each row and column of
    pixels reads; those in padding are moved inside."""
    n, h, w, c = shape
    inside = np.clip(rows, 0, h - 1)[:, None] * w + np.clip(columns, 0, w - 1)
    first = (np.arange(n)[:, None] * h * w + inside.reshape(1, -1)).reshape(-1) * c
    return np.asarray(np.minimum.accumulate(first[::-1])[::-1])


def _window(op: Any, shapes: Sequence[Shape], side: int) -> Rows:
    """The rows (side 0) or columns (1) that a convolution or pooling reads."""
    length = op.kernel[side] if hasattr(op, "kernel") else shapes[1][1 + side]
    dilation = getattr(op, "dilation", (1, 1))[side]
    return Rows(op.stride[side], op.pads[side], (length - 1) * dilation + 1)


def window_slides(op: Any, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """A convolution or pooling along rows or columns; inputs of the batch are computed each for itself."""
    if axis == 3:
        return None
    if axis == 0:
        return Sliding(axis, lambda *rows: op)
    found = _window(op, shapes, axis - 1)
    single = shapes[0][axis] + op.pads[axis - 1] + op.pads[axis + 1] - found.extent < found.step
    step = 1 if single else found.step  # of one row any step is right: the next one comes with the next row of the input

    def of(_: int, before: int, after: int) -> Any:
        pads, stride = list(op.pads), list(op.stride)
        pads[axis - 1], pads[axis + 1], stride[axis - 1] = before, after, step
        return replace(op, pads=tuple(pads), stride=tuple(stride))

    return Sliding(axis, of, step, found.before, found.extent)
