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
def softmax_s8(x_ptr, exponentials_ptr, y_ptr, rows, depth, last, WIDTH: tl.constexpr, R: tl.constexpr, D: tl.constexpr):
    """exponentials int32 ``[last + 1]`` by the difference from the largest, Q0.31, farther ones as the last; results of WIDTH bits."""
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
        e = tl.load(exponentials_ptr + tl.minimum(largest[:, None] - x, last))
        total += tl.sum(tl.where(live, divide_by_pot(e, BITS), 0), axis=1)
    zeros = leading_zeros(tl.where(r < rows, total, 1))
    reciprocal = one_over_one_plus_x((total << zeros) - 2147483648)[:, None]
    exponent = BITS + 31 - WIDTH - zeros[:, None]
    for start in range(0, depth, D):
        k = start + tl.arange(0, D)
        live = (r < rows)[:, None] & (k < depth)[None, :]
        x = tl.load(x_ptr + r[:, None] * depth + k[None, :], mask=live, other=-128).to(tl.int32)
        e = tl.load(exponentials_ptr + tl.minimum(largest[:, None] - x, last)).to(tl.int64)
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


@kernel()
def normalise_f16(x_ptr, scale_ptr, bias_ptr, constants_ptr, y_ptr, rows, depth, BLOCK: tl.constexpr):
    """constants float32: 1 / depth, epsilon."""
    i = elements(BLOCK)
    live = i < rows
    x_ptr += i * depth
    y_ptr += i * depth
    factor, epsilon = tl.load(constants_ptr), tl.load(constants_ptr + 1)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(depth):
        total += tl.load(x_ptr + k, mask=live, other=0.0).to(tl.float32)
    mean = total * factor
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(depth):
        d = tl.load(x_ptr + k, mask=live, other=0.0).to(tl.float32) - mean
        total += d * d
    root = halves.reciprocal(tl.sqrt_rn(total * factor + epsilon))
    for k in range(depth):
        d = tl.load(x_ptr + k, mask=live, other=0.0).to(tl.float32) - mean
        tl.store(y_ptr + k, from_float(d * root * tl.load(scale_ptr + k) + tl.load(bias_ptr + k)), mask=live)


@kernel()
def normalise_s8(x_ptr, scale_ptr, bias_ptr, least_ptr, y_ptr, rows, depth, shift, fine, BLOCK: tl.constexpr):
    """scale and bias int32, least int64: of the square under the root."""
    i = elements(BLOCK)
    live = i < rows
    x_ptr += i * depth
    y_ptr += i * depth
    total, squares = tl.zeros((BLOCK,), tl.int64), tl.zeros((BLOCK,), tl.int64)
    for k in range(depth):
        x = tl.load(x_ptr + k, mask=live, other=0).to(tl.int64)
        total += x
        squares += x * x
    square = ((depth * squares - total * total) << (2 * fine)) + tl.load(least_ptr)
    high = square >> 32
    small = high == 0
    zeros = (leading_zeros(tl.where(small, square & 0xFFFFFFFF, high)) + tl.where(small, 32, 0)) & -2
    m = tl.where(zeros >= 32, square << tl.maximum(zeros - 32, 0), square >> tl.maximum(32 - zeros, 0))
    root = tl.zeros((BLOCK,), tl.int64)
    for n in range(16):
        following = root + (32768 >> n)
        root = tl.where(following * following <= m, following, root)
    root += tl.where(m - root * root > root, 1, 0)
    inverse, right = (2147483648 + (root >> 1)) // root, tl.maximum(31 - fine - (zeros >> 1), 0)
    nearest = (tl.full((BLOCK,), 1, tl.int64) << right) >> 1
    for k in range(depth):
        x = tl.load(x_ptr + k, mask=live, other=0).to(tl.int64)
        normal = ((depth * x - total) * inverse + nearest) >> right
        steps = ((normal * tl.load(scale_ptr + k)) >> 16) + tl.load(bias_ptr + k)
        tl.store(y_ptr + k, limit(steps >> shift, -128, 127).to(tl.int8), mask=live)


@computes("layer_norm")
def layer_norm(step: Step) -> tuple[Value, ...]:
    """Along the last axis."""
    x, p, y = step.operands[0], step.params, step.result()
    rows = x.total // p.depth
    block, grid = flat(step, rows)
    scale, bias = (step.table(n)[0] for n in ("scale", "bias"))
    if step.half:
        step.device.launch(normalise_f16, grid, x.data, scale, bias, step.table("constants")[0], y.data, rows, p.depth, BLOCK=block)
        return (y,)
    least = step.constant("least", lambda: np.array([(p.least_high << 30) + p.least_low], np.int64))
    step.device.launch(normalise_s8, grid, x.data, scale, bias, least, y.data, rows, p.depth, p.shift, p.fine, BLOCK=block)
    return (y,)


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
        step.device.launch(softmax_s8, grid, x.data, step.table("exponentials")[0], y.data, *sizes, step.params.last, WIDTH=width, R=r, D=d)
        return (y,)
    e = step.device.empty((x.total,), np.dtype(np.float32))
    step.device.launch(exponentials_f16, grid, x.data, step.table("beta")[0], e, *sizes, R=r, D=d)
    block, across = flat(step, rows)
    step.device.launch(softmax_f16, across, e, y.data, *sizes, BLOCK=block)
    return (y,)
