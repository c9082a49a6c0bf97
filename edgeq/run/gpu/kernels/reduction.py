"""Sums, means and extrema along axes, softmax and layer normalization: a row after the other, in order."""

import numpy as np
import triton
import triton.language as tl

from edgeq.ops.reduce import _Reduction
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.softmax import SUM_BITS
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.convolution import rescaling
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.halves import from_float, of_order, order
from edgeq.run.gpu.kernels.law import divide_by_pot, doubling_high_mul, leading_zeros, limit, one_over_one_plus_x, rescale
from edgeq.run.gpu.step import Step, Value

BITS = tl.constexpr(SUM_BITS)
LOWEST, HIGHEST = tl.constexpr(-(2**31)), tl.constexpr(2**31 - 1)


@triton.jit
def first(i, size, in_size, kept_ptr, live):
    """Where the elements of result i begin; kept int32 ``[size]``."""
    return (i // size) * in_size + tl.load(kept_ptr + i % size, mask=live, other=0)


@kernel()
def mean_s8(
    x_ptr, kept_ptr, reduced_ptr, y_ptr, total, size, in_size, count, bias, multiplier, shift, left, out_offset, low, high,
    SINGLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """reduced int32 ``[count]``: offsets of the elements of one result."""
    i = elements(BLOCK)
    live = i < total
    at = first(i, size, in_size, kept_ptr, live)
    sums = tl.zeros((BLOCK,), tl.int32) + bias
    for k in range(count):
        sums += tl.load(x_ptr + at + tl.load(reduced_ptr + k), mask=live, other=0).to(tl.int32)
    y = limit(rescale(sums, multiplier, shift, left, SINGLE) + out_offset, low, high)
    tl.store(y_ptr + i, y.to(tl.int8), mask=live)


@kernel()
def mean_f16(x_ptr, kept_ptr, reduced_ptr, factor_ptr, y_ptr, total, size, in_size, count, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    at = first(i, size, in_size, kept_ptr, live)
    sums = tl.zeros((BLOCK,), tl.float32)
    for k in range(count):
        sums += tl.load(x_ptr + at + tl.load(reduced_ptr + k), mask=live, other=0.0).to(tl.float32)
    tl.store(y_ptr + i, from_float(sums * tl.load(factor_ptr)), mask=live)


@kernel()
def extreme(
    x_ptr, kept_ptr, reduced_ptr, y_ptr, total, size, in_size, count, LARGEST: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr
):
    """int8, or halves by their order."""
    i = elements(BLOCK)
    live = i < total
    at = first(i, size, in_size, kept_ptr, live)
    start: tl.constexpr = LOWEST if LARGEST else HIGHEST
    y = tl.full((BLOCK,), start, tl.int32)
    for k in range(count):
        x = tl.load(x_ptr + at + tl.load(reduced_ptr + k), mask=live, other=0)
        n = order(x) if HALF else x.to(tl.int32)
        y = tl.maximum(y, n) if LARGEST else tl.minimum(y, n)
    tl.store(y_ptr + i, of_order(y) if HALF else y.to(tl.int8), mask=live)


@kernel()
def softmax_s8(x_ptr, exponentials_ptr, y_ptr, rows, depth, WIDTH: tl.constexpr, R: tl.constexpr, D: tl.constexpr):
    """exponentials int32 ``[256]`` by the difference from the largest, Q0.31; results of WIDTH bits."""
    r = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    largest = tl.full((R,), -128, tl.int32)
    for start in range(0, depth, D):
        k = start + tl.arange(0, D)
        live = (r < rows)[:, None] & (k < depth)[None, :]
        x = tl.load(x_ptr + r[:, None] * depth + k[None, :], mask=live, other=-128).to(tl.int32)
        largest = tl.maximum(largest, tl.max(x, axis=1))
    total = tl.zeros((R,), tl.int64)
    for start in range(0, depth, D):
        k = start + tl.arange(0, D)
        live = (r < rows)[:, None] & (k < depth)[None, :]
        x = tl.load(x_ptr + r[:, None] * depth + k[None, :], mask=live, other=-128).to(tl.int32)
        e = tl.load(exponentials_ptr + largest[:, None] - x)
        total += tl.sum(tl.where(live, divide_by_pot(e, BITS), 0), axis=1)
    zeros = leading_zeros(tl.where(r < rows, total, 1))
    reciprocal = one_over_one_plus_x((total << zeros) - 2147483648)[:, None]
    exponent = BITS + 31 - WIDTH - zeros[:, None]
    for start in range(0, depth, D):
        k = start + tl.arange(0, D)
        live = (r < rows)[:, None] & (k < depth)[None, :]
        x = tl.load(x_ptr + r[:, None] * depth + k[None, :], mask=live, other=-128).to(tl.int32)
        e = tl.load(exponentials_ptr + largest[:, None] - x).to(tl.int64)
        y = divide_by_pot(doubling_high_mul(reciprocal, e), tl.minimum(exponent, 31))
        y = limit(tl.where(exponent <= 31, y, 0), 0, (1 << WIDTH) - 1) - (1 << (WIDTH - 1))
        tl.store(y_ptr + r[:, None] * depth + k[None, :], y.to(y_ptr.dtype.element_ty), mask=live)


@kernel()
def exponentials_f16(x_ptr, beta_ptr, e_ptr, rows, depth, R: tl.constexpr, D: tl.constexpr):
    """Halves to float32 exp((x - largest of the row) * beta)."""
    r = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    n = tl.full((R,), LOWEST, tl.int32)
    for start in range(0, depth, D):
        k = start + tl.arange(0, D)
        live = (r < rows)[:, None] & (k < depth)[None, :]
        x = tl.load(x_ptr + r[:, None] * depth + k[None, :], mask=live, other=0.0)
        n = tl.maximum(n, tl.max(tl.where(live, order(x), LOWEST), axis=1))
    largest = of_order(n).to(tl.float32)[:, None]
    for start in range(0, depth, D):
        k = start + tl.arange(0, D)
        live = (r < rows)[:, None] & (k < depth)[None, :]
        x = tl.load(x_ptr + r[:, None] * depth + k[None, :], mask=live, other=0.0).to(tl.float32)
        tl.store(e_ptr + r[:, None] * depth + k[None, :], halves.exp(halves.number((x - largest) * tl.load(beta_ptr))), mask=live)


@kernel()
def softmax_f16(e_ptr, y_ptr, rows, depth, BLOCK: tl.constexpr):
    """float32 exponentials, summed in order, to halves."""
    i = elements(BLOCK)
    live = i < rows
    e_ptr += i * depth
    y_ptr += i * depth
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(depth):
        total += tl.load(e_ptr + k, mask=live, other=0.0)
    factor = halves.reciprocal(total)
    for k in range(depth):
        tl.store(y_ptr + k, halves.from_float(tl.load(e_ptr + k, mask=live, other=0.0) * factor), mask=live)


@triton.jit
def number(x_ptr, live, zero, HALF: tl.constexpr):
    """Halves, or int8 less its zero point, in float32."""
    x = tl.load(x_ptr, mask=live, other=0)
    return x.to(tl.float32) if HALF else (x.to(tl.int32) - zero).to(tl.float32)


@kernel()
def normalise(
    x_ptr, scale_ptr, bias_ptr, constants_ptr, y_ptr, rows, depth, x_zero, zero, HALF: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Halves or int8; constants float32: 1 / depth, epsilon, and of int8 1 / the output's scale."""
    i = elements(BLOCK)
    live = i < rows
    x_ptr += i * depth
    y_ptr += i * depth
    factor, epsilon = tl.load(constants_ptr), tl.load(constants_ptr + 1)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(depth):
        total += number(x_ptr + k, live, x_zero, HALF)
    mean = total * factor
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(depth):
        d = number(x_ptr + k, live, x_zero, HALF) - mean
        total += d * d
    root = halves.reciprocal(tl.sqrt_rn(total * factor + epsilon))
    for k in range(depth):
        y = (number(x_ptr + k, live, x_zero, HALF) - mean) * root * tl.load(scale_ptr + k) + tl.load(bias_ptr + k)
        if HALF:
            tl.store(y_ptr + k, from_float(y), mask=live)
        else:
            steps = halves.round_float(y * tl.load(constants_ptr + 2), True)
            tl.store(y_ptr + k, limit(steps + zero, -128, 127).to(tl.int8), mask=live)


def reduced(step: Step) -> tuple[object, ...]:
    """Offsets of the results' first elements, offsets of one result's elements (in order), and the sizes."""
    op, shape = step.node.op, step.graph.type(step.node.inputs[0]).shape
    assert isinstance(op, _Reduction)
    numbers = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    kept = [i for i in range(len(shape)) if i not in op.axes]
    table = numbers.transpose(*kept, *op.axes).reshape(-1, int(np.prod([shape[a] for a in op.axes])))
    return step.constant("kept", lambda: table[:, 0]), step.constant("reduced", lambda: table[0]), numbers.size, table.shape[1]


@computes("mean", "reduce_max", "reduce_min")
def reduce(step: Step) -> tuple[Value, ...]:
    """A sum, a mean or an extremum along axes."""
    x, p, y = step.operands[0], step.params, step.result()
    kept, offsets, in_size, count = reduced(step)
    block, grid = flat(step, y.total)
    sizes = y.total, y.size, in_size, count
    if isinstance(step.node.op, ReduceMax):
        fixed = {"LARGEST": not isinstance(step.node.op, ReduceMin), "HALF": step.half, "BLOCK": block}
        step.device.launch(extreme, grid, x.data, kept, offsets, y.data, *sizes, **fixed)
    elif step.half:
        step.device.launch(mean_f16, grid, x.data, kept, offsets, step.table("factor")[0], y.data, *sizes, BLOCK=block)
    else:
        own = int(p.bias[0]), int(p.multiplier[0]), int(p.shift[0]), *rescaling(step)
        step.device.launch(mean_s8, grid, x.data, kept, offsets, y.data, *sizes, *own, SINGLE=step.single, BLOCK=block)
    return (y,)


@computes("softmax", on=("s8", "s8_s16", "f16"))
def softmax(step: Step) -> tuple[Value, ...]:
    """Along the last axis."""
    x, y, depth = step.operands[0], step.result(), step.params.depth
    rows = x.total // depth
    d = step.device.rows(depth, most=1024)
    r = step.device.rows(rows, 1, max(1, step.device.flat(x.total) // d))
    sizes, grid = (rows, depth), (triton.cdiv(rows, r),)
    if not step.half:
        width = 16 if "words" in step.params.scalars else 8
        step.device.launch(softmax_s8, grid, x.data, step.table("exponentials")[0], y.data, *sizes, WIDTH=width, R=r, D=d)
        return (y,)
    e = step.device.empty((x.total,), np.dtype(np.float32))
    step.device.launch(exponentials_f16, grid, x.data, step.table("beta")[0], e, *sizes, R=r, D=d)
    block, across = flat(step, rows)
    step.device.launch(softmax_f16, across, e, y.data, *sizes, BLOCK=block)
    return (y,)


@computes("layer_norm")
def layer_norm(step: Step) -> tuple[Value, ...]:
    """Along the last axis."""
    x, y = step.operands[0], step.result()
    rows = x.total // step.params.depth
    block, grid = flat(step, rows)
    tables = [step.table(n)[0] for n in ("scale", "bias", "constants")]
    zeros = (0, 0) if step.half else (step.params.x_zero, step.params.zero)
    step.device.launch(normalise, grid, x.data, *tables, y.data, rows, step.params.depth, *zeros, HALF=step.half, BLOCK=block)
    return (y,)
