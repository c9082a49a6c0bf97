"""Logarithm of the softmax along the last axis: a row after the other, in order."""

import triton.language as tl

from edgeq.ops.log_softmax import BETWEEN, ONE, PARTS
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.halves import from_float, of_order, order
from edgeq.run.gpu.kernels.law import leading_zeros, limit
from edgeq.run.gpu.step import Step, Value

LOWEST = tl.constexpr(-(2**31))
OCTAVES, REST, BITS = tl.constexpr(31 - ONE), tl.constexpr(31 - PARTS - BETWEEN), tl.constexpr(BETWEEN)
MASK, NEAREST = tl.constexpr((1 << BETWEEN) - 1), tl.constexpr(1 << BETWEEN - 1)


@kernel()
def log_softmax_s8(
    x_ptr, exponentials_ptr, logarithms_ptr, y_ptr, rows, depth, scale, octave, start, shift, BLOCK: tl.constexpr
):  # fmt: skip
    """exponentials int32 ``[256]`` by the difference from the largest, logarithms int32 by part of an octave."""
    i = elements(BLOCK)
    live = i < rows
    x_ptr += i * depth
    y_ptr += i * depth
    largest = tl.full((BLOCK,), -128, tl.int32)
    for k in range(depth):
        largest = tl.maximum(largest, tl.load(x_ptr + k, mask=live, other=-128).to(tl.int32))
    total = tl.zeros((BLOCK,), tl.int64)
    for k in range(depth):
        below = tl.where(live, largest - tl.load(x_ptr + k, mask=live, other=-128).to(tl.int32), 0)
        total += tl.load(exponentials_ptr + below).to(tl.int64)
    zeros = leading_zeros(total)
    digits = ((total << zeros) - 2147483648) >> REST
    low, high = tl.load(logarithms_ptr + (digits >> BITS)), tl.load(logarithms_ptr + (digits >> BITS) + 1)
    between = ((high - low).to(tl.int64) * (digits & MASK) + NEAREST) >> BITS
    first = start - (octave * (OCTAVES - zeros) + low + between)
    for k in range(depth):
        below = largest - tl.load(x_ptr + k, mask=live, other=-128).to(tl.int32)
        tl.store(y_ptr + k, limit((first - scale * below) >> shift, -128, 127).to(tl.int8), mask=live)


@kernel()
def log_softmax_f16(x_ptr, y_ptr, rows, depth, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < rows
    x_ptr += i * depth
    y_ptr += i * depth
    n = tl.full((BLOCK,), LOWEST, tl.int32)
    for k in range(depth):
        n = tl.maximum(n, order(tl.load(x_ptr + k, mask=live, other=0.0)))
    largest = of_order(n).to(tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for k in range(depth):
        total += halves.exp(halves.number(tl.load(x_ptr + k, mask=live, other=0.0).to(tl.float32) - largest))
    logarithm = halves.log(total)
    for k in range(depth):
        below = tl.load(x_ptr + k, mask=live, other=0.0).to(tl.float32) - largest
        tl.store(y_ptr + k, from_float(below - logarithm), mask=live)


@computes("log_softmax")
def log_softmax(step: Step) -> tuple[Value, ...]:
    """Along the last axis."""
    x, p, y = step.operands[0], step.params, step.result()
    rows = x.total // p.depth
    block, grid = flat(step, rows)
    if step.half:
        step.device.launch(log_softmax_f16, grid, x.data, y.data, rows, p.depth, BLOCK=block)
        return (y,)
    tables = (step.table(n)[0] for n in ("exponentials", "logarithms"))
    step.device.launch(log_softmax_s8, grid, x.data, *tables, y.data, rows, p.depth, p.scale, p.octave, p.start, p.shift, BLOCK=block)
    return (y,)
