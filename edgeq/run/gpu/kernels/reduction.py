"""Sums, means and extrema along axes, softmax and layer normalization: a row after the other, in order."""

import numpy as np
import triton
import triton.language as tl

from edgeq.ops.reduce import _Reduction
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
def softmax_s8(x_ptr, exponentials_ptr, y_ptr, rows, depth, BLOCK: tl.constexpr):
    """exponentials int32 ``[256]`` by the difference from the largest, Q0.31."""
    i = elements(BLOCK)
    live = i < rows
    x_ptr += i * depth
    y_ptr += i * depth
    largest = tl.full((BLOCK,), -128, tl.int32)
    for k in range(depth):
        largest = tl.maximum(largest, tl.load(x_ptr + k, mask=live, other=-128).to(tl.int32))
    total = tl.zeros((BLOCK,), tl.int64)
    for k in range(depth):
        e = tl.load(exponentials_ptr + largest - tl.load(x_ptr + k, mask=live, other=-128).to(tl.int32))
        total += divide_by_pot(e, BITS)
    zeros = leading_zeros(total)
    reciprocal = one_over_one_plus_x((total << zeros) - 2147483648)
    exponent = BITS + 31 - 8 - zeros
    for k in range(depth):
        e = tl.load(exponentials_ptr + largest - tl.load(x_ptr + k, mask=live, other=-128).to(tl.int32))
        y = divide_by_pot(doubling_high_mul(reciprocal, e.to(tl.int64)), tl.minimum(exponent, 31))
        y = limit(tl.where(exponent <= 31, y, 0), 0, 255) - 128
        tl.store(y_ptr + k, y.to(tl.int8), mask=live)


@kernel()
def softmax_f16(x_ptr, beta_ptr, y_ptr, rows, depth, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < rows
    x_ptr += i * depth
    y_ptr += i * depth
    beta = tl.load(beta_ptr)
    n = tl.full((BLOCK,), LOWEST, tl.int32)
    for k in range(depth):
        n = tl.maximum(n, order(tl.load(x_ptr + k, mask=live, other=0.0)))
    largest = of_order(n).to(tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(depth):
        total += halves.exp((tl.load(x_ptr + k, mask=live, other=0.0).to(tl.float32) - largest) * beta)
    factor = halves.reciprocal(total)
    for k in range(depth):
        e = halves.exp((tl.load(x_ptr + k, mask=live, other=0.0).to(tl.float32) - largest) * beta)
        tl.store(y_ptr + k, from_float(e * factor), mask=live)


@kernel()
def layer_norm_f16(x_ptr, scale_ptr, bias_ptr, constants_ptr, y_ptr, rows, depth, BLOCK: tl.constexpr):
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


def reduced(step: Step) -> tuple[object, ...]:
    """Offsets of the results' first elements, offsets of one result's elements (in order), and the sizes."""
    op, shape = step.node.op, step.graph.type(step.node.inputs[0]).shape
    assert isinstance(op, _Reduction)
    numbers = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    kept = [i for i in range(len(shape)) if i not in op.axes]
    table = numbers.transpose(*kept, *op.axes).reshape(-1, int(np.prod([shape[a] for a in op.axes])))
    return step.device.send(table[:, 0]), step.device.send(table[0]), numbers.size, table.shape[1]


@computes("mean", "reduce_max", "reduce_min")
def reduce(step: Step) -> tuple[Value, ...]:
    """A sum, a mean or an extremum along axes."""
    x, p, y = step.operands[0], step.params, step.result()
    kept, offsets, in_size, count = reduced(step)
    block, grid = flat(step, y.total)
    sizes = y.total, y.size, in_size, count
    kind = step.node.op.kernel_op()
    if kind != "mean":
        fixed = {"LARGEST": kind == "reduce_max", "HALF": step.half, "BLOCK": block}
        step.device.launch(extreme, grid, x.data, kept, offsets, y.data, *sizes, **fixed)
    elif step.half:
        step.device.launch(mean_f16, grid, x.data, kept, offsets, step.table("factor")[0], y.data, *sizes, BLOCK=block)
    else:
        own = int(p.bias[0]), int(p.multiplier[0]), int(p.shift[0]), *rescaling(step)
        step.device.launch(mean_s8, grid, x.data, kept, offsets, y.data, *sizes, *own, SINGLE=step.single, BLOCK=block)
    return (y,)


@computes("softmax")
def softmax(step: Step) -> tuple[Value, ...]:
    """Along the last axis."""
    x, y = step.operands[0], step.result()
    rows = x.total // step.params.depth
    block, grid = flat(step, rows)
    own, table = (softmax_f16, "beta") if step.half else (softmax_s8, "exponentials")
    step.device.launch(own, grid, x.data, step.table(table)[0], y.data, rows, step.params.depth, BLOCK=block)
    return (y,)


@computes("layer_norm")
def layer_norm(step: Step) -> tuple[Value, ...]:
    """Along the last axis."""
    x, y = step.operands[0], step.result()
    rows = x.total // step.params.depth
    block, grid = flat(step, rows)
    tables = [step.table(n)[0] for n in ("scale", "bias", "constants")]
    step.device.launch(layer_norm_f16, grid, x.data, *tables, y.data, rows, step.params.depth, BLOCK=block)
    return (y,)
