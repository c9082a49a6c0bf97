"""Pooling over windows, and bilinear resizing, element by element."""

import triton
import triton.language as tl

from edgeq import half
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.convolution import pixel, tap
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.halves import finish, from_float, of_order, order
from edgeq.run.gpu.kernels.law import limit, rescale
from edgeq.run.gpu.step import Step, Value

LOWEST = tl.constexpr(half.ORDER_MIN)


@triton.jit
def span(start, size, COUNT: tl.constexpr):
    """How many of the COUNT places from `start` on lie in [0, size)."""
    return (tl.minimum(start + COUNT, size) - tl.maximum(start, 0)).to(tl.int32)


@kernel()
def average_pool_s8(
    x_ptr, multiplier_ptr, shift_ptr, y_ptr, total, channels, in_h, in_w, out_h, out_w, stride_h, stride_w, pad_top, pad_left,
    in_zero, least, left, out_offset, low, high,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, INCLUDE_PAD: tl.constexpr, SINGLE: tl.constexpr, UP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """multiplier and shift by divisor, from `least` on (law ``single``)."""
    i = elements(BLOCK)
    live = i < total
    channel = i % channels
    image, oy, ox = pixel(i // channels, out_h, out_w)
    sums = tl.zeros((BLOCK,), tl.int32)
    for t in range(KERNEL_H * KERNEL_W):
        at, inside = tap(image, oy, ox, t // KERNEL_W, t % KERNEL_W, in_h, in_w, stride_h, stride_w, 1, 1, pad_top, pad_left, False)
        sums += tl.load(x_ptr + at * channels + channel, mask=inside & live, other=0).to(tl.int32)
    taps = span(oy * stride_h - pad_top, in_h, KERNEL_H) * span(ox * stride_w - pad_left, in_w, KERNEL_W)
    divisor = taps * 0 + KERNEL_H * KERNEL_W if INCLUDE_PAD else taps
    if SINGLE:
        at = divisor - least
        multiplier, shift = tl.load(multiplier_ptr + at, mask=live, other=0), tl.load(shift_ptr + at, mask=live, other=1)
        y = rescale(sums - taps * in_zero, multiplier, shift, left, True) + out_offset
    else:
        sums += (divisor - taps) * in_zero
        divisor = tl.where(live, divisor, 1)
        if UP:
            y = (sums + 128 * divisor + divisor // 2) // divisor - 128
        else:
            quotient = (tl.abs(sums) + divisor // 2) // divisor
            y = tl.where(sums < 0, -quotient, quotient)
    tl.store(y_ptr + i, limit(y, low, high).to(tl.int8), mask=live)


@kernel()
def average_pool_f16(
    x_ptr, factors_ptr, y_ptr, total, channels, in_h, in_w, out_h, out_w, stride_h, stride_w, pad_top, pad_left, least, low, high,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, INCLUDE_PAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """factors float32: reciprocals of the divisors, from `least` on."""
    i = elements(BLOCK)
    live = i < total
    channel = i % channels
    image, oy, ox = pixel(i // channels, out_h, out_w)
    sums = tl.zeros((BLOCK,), tl.float32)
    for t in range(KERNEL_H * KERNEL_W):
        at, inside = tap(image, oy, ox, t // KERNEL_W, t % KERNEL_W, in_h, in_w, stride_h, stride_w, 1, 1, pad_top, pad_left, False)
        sums += tl.load(x_ptr + at * channels + channel, mask=inside & live, other=0.0).to(tl.float32)
    taps = span(oy * stride_h - pad_top, in_h, KERNEL_H) * span(ox * stride_w - pad_left, in_w, KERNEL_W)
    divisor = taps * 0 + KERNEL_H * KERNEL_W if INCLUDE_PAD else taps
    factor = tl.load(factors_ptr + divisor - least, mask=live, other=0.0)
    tl.store(y_ptr + i, finish(sums * factor, low, high), mask=live)


@kernel()
def max_pool(
    x_ptr, y_ptr, total, channels, in_h, in_w, out_h, out_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, low, high,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """int8, or halves by their order."""
    i = elements(BLOCK)
    live = i < total
    channel = i % channels
    image, oy, ox = pixel(i // channels, out_h, out_w)
    lowest: tl.constexpr = LOWEST if HALF else -128
    y = tl.full((BLOCK,), lowest, tl.int32)
    for t in range(KERNEL_H * KERNEL_W):
        ky, kx = t // KERNEL_W, t % KERNEL_W
        at, inside = tap(image, oy, ox, ky, kx, in_h, in_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, False)
        x = tl.load(x_ptr + at * channels + channel, mask=inside & live, other=0)
        n = order(x) if HALF else x.to(tl.int32)
        y = tl.where(inside, tl.maximum(y, n), y)
    y = limit(y, low, high)
    tl.store(y_ptr + i, of_order(y) if HALF else y.to(tl.int8), mask=live)


@triton.jit
def corner(
    x_ptr, image, rows_ptr, columns_ptr, oy, ox, in_h, in_w, channels, channel, live,
    ROW: tl.constexpr, COLUMN: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One of the four elements that meet in a result."""
    y, x = tl.load(rows_ptr + oy * WIDTH + ROW).to(tl.int64), tl.load(columns_ptr + ox * WIDTH + COLUMN).to(tl.int64)
    return tl.load(x_ptr + ((image * in_h + y) * in_w + x) * channels + channel, mask=live, other=0)


@kernel()
def resize_s8(
    x_ptr, rows_ptr, columns_ptr, y_ptr, total, channels, in_h, in_w, out_h, out_w, bits, SINGLE: tl.constexpr, BLOCK: tl.constexpr
):
    """rows and columns int16 ``[out, first second weight]``."""
    i = elements(BLOCK)
    live = i < total
    channel = i % channels
    image, oy, ox = pixel(i // channels, out_h, out_w)
    one = 1 << tl.cast(bits, tl.int64)
    v, h = tl.load(rows_ptr + oy * 3 + 2).to(tl.int64), tl.load(columns_ptr + ox * 3 + 2).to(tl.int64)
    y = tl.zeros((BLOCK,), tl.int64)
    for r in tl.static_range(2):
        for c in tl.static_range(2):
            q = corner(x_ptr, image, rows_ptr, columns_ptr, oy, ox, in_h, in_w, channels, channel, live, r, c, 3).to(tl.int64)
            y += q * (v if r else one - v) * (h if c else one - h)
    nearest = (one * one) >> 1
    shift = 2 * tl.cast(bits, tl.int64)
    if SINGLE:
        y = (y + nearest) >> shift
    else:
        rounded = (tl.abs(y) + nearest) >> shift
        y = tl.where(y < 0, -rounded, rounded)
    tl.store(y_ptr + i, y.to(tl.int8), mask=live)


@kernel()
def resize_f16(
    x_ptr, rows_ptr, columns_ptr, row_weights_ptr, column_weights_ptr, y_ptr, total, channels, in_h, in_w, out_h, out_w,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """rows and columns int16 ``[out, first second]``, their weights float32; along a row first."""
    i = elements(BLOCK)
    live = i < total
    channel = i % channels
    image, oy, ox = pixel(i // channels, out_h, out_w)
    y = tl.zeros((BLOCK,), tl.float32)
    for r in tl.static_range(2):
        first = corner(x_ptr, image, rows_ptr, columns_ptr, oy, ox, in_h, in_w, channels, channel, live, r, 0, 2).to(tl.float32)
        second = corner(x_ptr, image, rows_ptr, columns_ptr, oy, ox, in_h, in_w, channels, channel, live, r, 1, 2).to(tl.float32)
        row = first * tl.load(column_weights_ptr + ox * 2) + second * tl.load(column_weights_ptr + ox * 2 + 1)
        row = row * tl.load(row_weights_ptr + oy * 2 + r)
        y = y + row if r else row
    tl.store(y_ptr + i, from_float(y), mask=live)


PLACE = ("channels", "in_h", "in_w", "out_h", "out_w")
STRIDES, PADS = ("stride_h", "stride_w"), ("pad_top", "pad_left")


@computes("average_pool2d")
def average_pool(step: Step) -> tuple[Value, ...]:
    """The mean of each window."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    g = [p.scalars[n] for n in (*PLACE, *STRIDES, *PADS)]
    fixed = {"KERNEL_H": p.kernel_h, "KERNEL_W": p.kernel_w, "INCLUDE_PAD": bool(p.include_pad), "BLOCK": block}
    if step.half:
        arguments = x.data, step.table("factors")[0], y.data, y.total, *g, p.least, *step.limits()
        step.device.launch(average_pool_f16, grid, *arguments, **fixed)
        return (y,)
    tables = [step.table(n)[0] for n in ("multiplier", "shift")] if step.single else [None, None]
    rest = p.in_zero, p.least, p.left, p.scalars.get("out_offset", 0), p.act_min, p.act_max
    fixed |= {"SINGLE": step.single, "UP": "up" in p.scalars}
    step.device.launch(average_pool_s8, grid, x.data, *tables, y.data, y.total, *g, *rest, **fixed)
    return (y,)


@computes("max_pool2d")
def largest(step: Step) -> tuple[Value, ...]:
    """The largest value of each window."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    g = [p.scalars[n] for n in (*PLACE, *STRIDES, "dilation_h", "dilation_w", *PADS)]
    limits = step.limits() if step.half else (p.act_min, p.act_max)
    fixed = {"KERNEL_H": p.kernel_h, "KERNEL_W": p.kernel_w, "HALF": step.half, "BLOCK": block}
    step.device.launch(max_pool, grid, x.data, y.data, y.total, *g, *limits, **fixed)
    return (y,)


@computes("resize_bilinear")
def resize(step: Step) -> tuple[Value, ...]:
    """Interpolated between the four nearest."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    tables = [step.table(n)[0] for n in ("rows", "columns", *(("row_weights", "column_weights") if step.half else ()))]
    g = [p.scalars[n] for n in PLACE]
    if step.half:
        step.device.launch(resize_f16, grid, x.data, *tables, y.data, y.total, *g, BLOCK=block)
    else:
        step.device.launch(resize_s8, grid, x.data, *tables, y.data, y.total, *g, p.bits, SINGLE=step.single, BLOCK=block)
    return (y,)
