"""Convolutions, transposed ones and fully connected layers: a sum over k = (ky, kx, c) for every output.

int8 goes to the tensor cores, a tile of pixels times a tile of channels: sums are exact in int32 for up to 2^17 - 1 taps, whatever the
bytes. Halves are summed one k after the other in float32 (or in halves), each output by one thread.
"""

from typing import Any

import triton
import triton.language as tl

from edgeq.ops.transpose_conv2d import TransposeConv2d
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.halves import finish, plus_product
from edgeq.run.gpu.kernels.law import limit, rescale
from edgeq.run.gpu.step import Step, Value, unsupported

DEPTH = 64  # of a tile along k
MOST_TAPS = 2**17 - 1


def require_exact(step: Step, taps: int) -> None:
    """Refuse sums of int8 products that int32 may not hold.

    Raises:
        EdgeqError: there are too many.
    """
    if taps > MOST_TAPS:
        raise unsupported(step.node, f"with {taps} taps, whose sums int32 may not hold")


@triton.jit
def pixel(m, out_h, out_w):
    """Image, row and column of output pixel m."""
    return m // (out_h * out_w), m // out_w % out_h, m % out_w


@triton.jit
def tap(n, oy, ox, ky, kx, in_h, in_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, TRANSPOSED: tl.constexpr):
    """Position of the input pixel that output pixel (oy, ox) of image n meets at tap (ky, kx), and whether there is one."""
    if TRANSPOSED:
        y, x = oy + pad_top - ky * dilation_h, ox + pad_left - kx * dilation_w
        meets = (y >= 0) & (x >= 0) & (y % stride_h == 0) & (x % stride_w == 0)
        y, x = y // stride_h, x // stride_w
    else:
        y, x = oy * stride_h - pad_top + ky * dilation_h, ox * stride_w - pad_left + kx * dilation_w
        meets = (y >= 0) & (x >= 0)
    return (n * in_h + y).to(tl.int64) * in_w + x, meets & (y < in_h) & (x < in_w)


@kernel()
def conv_s8(
    x_ptr, w_ptr, stage_ptr, y_ptr, pixels, x_pattern, w_pattern, stage_pattern, in_h, in_w, out_h, out_w, out_c, stride_h, stride_w,
    dilation_h, dilation_w, pad_top, pad_left, in_zero, w_zero, left, out_offset, low, high, GROUPS: tl.constexpr, IN_C: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, SINGLE: tl.constexpr, TRANSPOSED: tl.constexpr, ASYMMETRIC: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """x ``[P, pixels, GROUPS * IN_C]``, w ``[P, out_c, KERNEL_H, KERNEL_W, IN_C]``, stage ``[P, bias multiplier shift, out_c]``."""
    p = tl.program_id(2).to(tl.int64)
    each = out_c // GROUPS
    tiles = tl.cdiv(each, N)
    group, tile = tl.program_id(1) // tiles, tl.program_id(1) % tiles
    m = tl.program_id(0) * M + tl.arange(0, M)
    own = tile * N + tl.arange(0, N)
    channel = group * each + own
    image, oy, ox = pixel(m, out_h, out_w)
    depth: tl.constexpr = KERNEL_H * KERNEL_W * IN_C
    total = tl.zeros((M, N), tl.int32)
    weights = tl.zeros((N,), tl.int32)
    inputs = tl.zeros((M,), tl.int32)
    for start in range(0, depth, K):
        k = start + tl.arange(0, K)
        ky, kx, c = k // (KERNEL_W * IN_C), k // IN_C % KERNEL_W, k % IN_C
        at, inside = tap(
            image[:, None], oy[:, None], ox[:, None], ky[None, :], kx[None, :], in_h, in_w, stride_h, stride_w, dilation_h, dilation_w,
            pad_top, pad_left, TRANSPOSED,
        )  # fmt: skip
        inside = inside & (m < pixels)[:, None] & (k < depth)[None, :]
        a = tl.load(x_ptr + p * x_pattern + at * (GROUPS * IN_C) + group * IN_C + c[None, :], mask=inside, other=0)
        a = tl.where(inside, a, in_zero).to(tl.int8)
        known = (k < depth)[:, None] & (own < each)[None, :]
        b = tl.load(w_ptr + p * w_pattern + channel.to(tl.int64)[None, :] * depth + k[:, None], mask=known, other=0)
        total = tl.dot(a, b, total, out_dtype=tl.int32)
        if ASYMMETRIC:
            inputs += tl.sum(tl.where((k < depth)[None, :], a.to(tl.int32), 0), axis=1)
        if TRANSPOSED:
            weights += tl.sum(b.to(tl.int32), axis=0)
    live = own < each
    stage = stage_ptr + p * stage_pattern + channel
    sums = total.to(tl.int64) + tl.load(stage, mask=live, other=0).to(tl.int64)[None, :]
    if TRANSPOSED:  # the bias of the others has the zero point folded in
        sums -= weights.to(tl.int64)[None, :] * in_zero
    if ASYMMETRIC:
        sums -= inputs.to(tl.int64)[:, None] * w_zero
    multiplier, shift = tl.load(stage + out_c, mask=live, other=0), tl.load(stage + 2 * out_c, mask=live, other=1)
    y = limit(rescale(sums, multiplier[None, :], shift[None, :], left, SINGLE) + out_offset, low, high)
    to = y_ptr + (p * pixels + m.to(tl.int64))[:, None] * out_c + channel[None, :]
    tl.store(to, y.to(tl.int8), mask=(m < pixels)[:, None] & live[None, :])


@kernel()
def conv_f16(
    x_ptr, w_ptr, stage_ptr, y_ptr, pixels, x_pattern, w_pattern, stage_pattern, in_h, in_w, out_h, out_w, out_c, stride_h, stride_w,
    dilation_h, dilation_w, pad_top, pad_left, low, high, GROUPS: tl.constexpr, IN_C: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, SCALED: tl.constexpr, SUMS: tl.constexpr, TRANSPOSED: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Halves; w ``[P, KERNEL_H, KERNEL_W, IN_C, out_c]`` halves or (SCALED) int8, stage ``[P, bias (scale), out_c]``."""
    p = tl.program_id(2).to(tl.int64)
    each = out_c // GROUPS
    tiles = tl.cdiv(each, N)
    group, tile = tl.program_id(1) // tiles, tl.program_id(1) % tiles
    m = tl.program_id(0) * M + tl.arange(0, M)
    own = tile * N + tl.arange(0, N)
    channel = group * each + own
    live = own < each
    image, oy, ox = pixel(m, out_h, out_w)
    bias = tl.load(stage_ptr + p * stage_pattern + channel, mask=live, other=0.0)
    total = tl.zeros((M, N), tl.float32)
    if not SCALED:
        total += bias[None, :]
    for t in range(KERNEL_H * KERNEL_W):
        ky, kx = t // KERNEL_W, t % KERNEL_W
        at, inside = tap(image, oy, ox, ky, kx, in_h, in_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, TRANSPOSED)
        inside = inside & (m < pixels)
        a_ptr = x_ptr + p * x_pattern + at * (GROUPS * IN_C) + group * IN_C
        b_ptr = w_ptr + p * w_pattern + t * IN_C * out_c + channel
        for c in range(IN_C):
            a = tl.load(a_ptr + c, mask=inside, other=0.0).to(tl.float32)
            b = tl.load(b_ptr + c * out_c, mask=live, other=0).to(tl.float32)
            total = plus_product(total, a[:, None], b[None, :], SUMS)
    if SCALED:
        scale = tl.load(stage_ptr + p * stage_pattern + out_c + channel, mask=live, other=0.0)
        total = total * scale[None, :] + bias[None, :]
    to = y_ptr + (p * pixels + m.to(tl.int64))[:, None] * out_c + channel[None, :]
    tl.store(to, finish(total, low, high), mask=(m < pixels)[:, None] & live[None, :])


@kernel()
def depthwise_s8(
    x_ptr, w_ptr, stage_ptr, y_ptr, outputs, x_pattern, w_pattern, stage_pattern, in_h, in_w, out_h, out_w, out_c, stride_h, stride_w,
    dilation_h, dilation_w, pad_top, pad_left, in_zero, w_zero, left, out_offset, low, high, MULTIPLE: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, SINGLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Elementwise over ``[pixels, out_c]``; w ``[P, KERNEL_H, KERNEL_W, out_c]``, stage as in conv_s8."""
    p = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = i < outputs
    channel = i % out_c
    image, oy, ox = pixel(i // out_c, out_h, out_w)
    in_c = out_c // MULTIPLE
    total = tl.zeros((BLOCK,), tl.int32)
    for t in range(KERNEL_H * KERNEL_W):
        ky, kx = t // KERNEL_W, t % KERNEL_W
        at, inside = tap(image, oy, ox, ky, kx, in_h, in_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, False)
        a = tl.load(x_ptr + p * x_pattern + at * in_c + channel // MULTIPLE, mask=inside & live, other=0).to(tl.int32)
        b = tl.load(w_ptr + p * w_pattern + t * out_c + channel, mask=live, other=0).to(tl.int32)
        total += tl.where(inside, a, in_zero) * (b - w_zero)
    stage = stage_ptr + p * stage_pattern + channel
    sums = total.to(tl.int64) + tl.load(stage, mask=live, other=0).to(tl.int64)
    multiplier, shift = tl.load(stage + out_c, mask=live, other=0), tl.load(stage + 2 * out_c, mask=live, other=1)
    y = limit(rescale(sums, multiplier, shift, left, SINGLE) + out_offset, low, high)
    tl.store(y_ptr + p * outputs + i, y.to(tl.int8), mask=live)


@kernel()
def depthwise_f16(
    x_ptr, w_ptr, stage_ptr, y_ptr, outputs, x_pattern, w_pattern, stage_pattern, in_h, in_w, out_h, out_w, out_c, stride_h, stride_w,
    dilation_h, dilation_w, pad_top, pad_left, low, high, MULTIPLE: tl.constexpr,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Halves; w ``[P, KERNEL_H, KERNEL_W, out_c]``, stage float32 ``[P, bias, out_c]``."""
    p = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = i < outputs
    channel = i % out_c
    image, oy, ox = pixel(i // out_c, out_h, out_w)
    in_c = out_c // MULTIPLE
    total = tl.load(stage_ptr + p * stage_pattern + channel, mask=live, other=0.0)
    for t in range(KERNEL_H * KERNEL_W):
        ky, kx = t // KERNEL_W, t % KERNEL_W
        at, inside = tap(image, oy, ox, ky, kx, in_h, in_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, False)
        a = tl.load(x_ptr + p * x_pattern + at * in_c + channel // MULTIPLE, mask=inside & live, other=0.0).to(tl.float32)
        b = tl.load(w_ptr + p * w_pattern + t * out_c + channel, mask=live, other=0).to(tl.float32)
        total += a * b
    tl.store(y_ptr + p * outputs + i, finish(total, low, high), mask=live)


PLACE = ("in_h", "in_w", "out_h", "out_w", "out_c", "stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top", "pad_left")
POINT = {
    "in_h": 1, "in_w": 1, "out_h": 1, "out_w": 1, "kernel_h": 1, "kernel_w": 1, "stride_h": 1, "stride_w": 1,
    "dilation_h": 1, "dilation_w": 1, "pad_top": 0, "pad_left": 0, "groups": 1, "in_zero": 0,
}  # fmt: skip


def rescaling(step: Step) -> tuple[int, ...]:
    """What follows an accumulator, but for its tables."""
    p = step.params
    return p.left, p.out_offset, p.act_min, p.act_max


@computes("conv2d", "fully_connected", on=("s8", "s8_wz", "f16", "f16_w8", "f16_a16"))
@computes("transpose_conv2d")
def convolution(step: Step) -> tuple[Value, ...]:
    """A convolution; a fully connected layer is one of 1x1 pixels."""
    x = step.operands[0]
    g: dict[str, Any] = {**POINT, **step.params.scalars}
    weights, transposed, depth = step.array("weights"), isinstance(step.node.op, TransposeConv2d), step.array("weights")[0, 0].size
    scaled = "scale" in step.params.tables
    names = ("weights", "bias", *(("scale",) if scaled else () if step.half else ("multiplier", "shift")))
    y = step.result(patterns=step.patterns(*names))
    each, pixels = g["out_c"] // g["groups"], y.total // y.patterns // g["out_c"]
    m, n = step.device.rows(pixels), step.device.rows(each, most=64)
    grid = (triton.cdiv(pixels, m), triton.cdiv(each, n) * g["groups"], y.patterns)
    stage, stage_step = step.stacked(*names[1:])
    fixed = {"GROUPS": g["groups"], "IN_C": g["in_c"] // g["groups"], "KERNEL_H": g["kernel_h"], "KERNEL_W": g["kernel_w"]}
    fixed |= {"TRANSPOSED": transposed, "M": m, "N": n}
    by_k = step.constant("weights by k", lambda: weights.reshape(len(weights), g["out_c"], depth).swapaxes(1, 2)) if step.half else None
    sizes = pixels, x.steps[0], weights[0].size if len(weights) > 1 else 0, stage_step, *(g[name] for name in PLACE)
    arguments = x.data, by_k if step.half else step.table("weights")[0], stage, y.data, *sizes
    if step.half:
        step.device.launch(conv_f16, grid, *arguments, *step.limits(), **fixed, SCALED=scaled, SUMS=step.sums)
        return (y,)
    require_exact(step, depth)
    k = step.device.rows(depth, 32, DEPTH if step.device.kind != "interpreter" else 1024)
    w_zero = g.get("w_zero", 0)
    fixed |= {"SINGLE": step.single, "K": k, "ASYMMETRIC": w_zero != 0}
    step.device.launch(conv_s8, grid, *arguments, g["in_zero"], w_zero, *rescaling(step), **fixed)
    return (y,)


@computes("depthwise_conv2d", on=("s8", "s8_wz", "f16"))
def depthwise(step: Step) -> tuple[Value, ...]:
    """A depthwise convolution."""
    x, p = step.operands[0], step.params
    names = ("weights", "bias") if step.half else ("weights", "bias", "multiplier", "shift")
    y = step.result(patterns=step.patterns(*names))
    weights, stage = step.table("weights"), step.stacked(*names[1:])
    out_c, outputs = step.params.weights.shape[3], y.total // y.patterns
    g = {**p.scalars, "out_c": out_c}
    block = step.device.flat(outputs)
    grid = (triton.cdiv(outputs, block), y.patterns)
    arguments = x.data, weights[0], stage[0], y.data, outputs, x.steps[0], weights[1], stage[1], *(g[name] for name in PLACE)
    fixed = {"MULTIPLE": p.multiple, "KERNEL_H": p.kernel_h, "KERNEL_W": p.kernel_w, "BLOCK": block}
    if step.half:
        step.device.launch(depthwise_f16, grid, *arguments, *step.limits(), **fixed)
    else:
        step.device.launch(depthwise_s8, grid, *arguments, p.in_zero, g.get("w_zero", 0), *rescaling(step), **fixed, SINGLE=step.single)
    return (y,)
