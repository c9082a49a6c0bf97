"""Sums, products, quotients, squared differences, extrema and PReLU, element by element, with broadcasting."""

from typing import Any

import numpy as np
import triton
import triton.language as tl

from edgeq.ops.add import LEFT_SHIFT
from edgeq.ops.squared_difference import LEFT
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.convolution import rescaling
from edgeq.run.gpu.kernels.halves import finish, from_float, of_order, order
from edgeq.run.gpu.kernels.law import divide_by_pot, doubling_high_mul, leading_zeros, limit, requantize_tflm, rescale
from edgeq.run.gpu.step import Step, Value

FRACTION, RAISED = tl.constexpr(LEFT_SHIFT[1]), tl.constexpr(LEFT[1])


@triton.jit
def elements(BLOCK: tl.constexpr):
    """The flat places of this program."""
    return tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def operand(i, size, vectors, pattern, vector, map_ptr, MAPPED: tl.constexpr):
    """Where an operand holds its element for flat place i of a result ``[P, vectors, size]``."""
    e, row = i % size, i // size
    at = tl.load(map_ptr + e).to(tl.int64) if MAPPED else e
    return (row // vectors) * pattern + (row % vectors) * vector + at


@kernel()
def add_s8(
    a_ptr, b_ptr, y_ptr, a_map_ptr, b_map_ptr, total, size, vectors, a_pattern, a_vector, b_pattern, b_vector,
    a_multiplier, b_multiplier, a_zero, b_zero, a_shift, b_shift, sign, offset, multiplier, shift, out_zero, low, high,
    SINGLE: tl.constexpr, A_MAPPED: tl.constexpr, B_MAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    a = tl.load(a_ptr + operand(i, size, vectors, a_pattern, a_vector, a_map_ptr, A_MAPPED), mask=live, other=0).to(tl.int64)
    b = tl.load(b_ptr + operand(i, size, vectors, b_pattern, b_vector, b_map_ptr, B_MAPPED), mask=live, other=0).to(tl.int64)
    if SINGLE:
        y = (a * a_multiplier + b * b_multiplier + offset) >> tl.cast(shift, tl.int64)
    else:
        scaled_a = requantize_tflm((a - a_zero) << FRACTION, a_multiplier, a_shift)
        scaled_b = requantize_tflm((b - b_zero) << FRACTION, b_multiplier, b_shift)
        y = requantize_tflm(scaled_a + sign * scaled_b, multiplier, shift)
    tl.store(y_ptr + i, limit(y + out_zero, low, high).to(tl.int8), mask=live)


@kernel()
def mul_s8(
    a_ptr, b_ptr, y_ptr, a_map_ptr, b_map_ptr, total, size, vectors, a_pattern, a_vector, b_pattern, b_vector,
    a_zero, b_zero, multiplier, shift, left, out_offset, low, high,
    SINGLE: tl.constexpr, A_MAPPED: tl.constexpr, B_MAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    a = tl.load(a_ptr + operand(i, size, vectors, a_pattern, a_vector, a_map_ptr, A_MAPPED), mask=live, other=0).to(tl.int64)
    b = tl.load(b_ptr + operand(i, size, vectors, b_pattern, b_vector, b_map_ptr, B_MAPPED), mask=live, other=0).to(tl.int64)
    y = rescale((a - a_zero) * (b - b_zero), multiplier, shift, left, SINGLE) + out_offset
    tl.store(y_ptr + i, limit(y, low, high).to(tl.int8), mask=live)


@kernel()
def div_s8(
    a_ptr, b_ptr, y_ptr, a_map_ptr, b_map_ptr, total, size, vectors, a_pattern, a_vector, b_pattern, b_vector,
    inverse_ptr, over_ptr, a_zero, b_zero, multiplier, more, offset, low, high,
    A_MAPPED: tl.constexpr, B_MAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """inverse int32 and over int8 ``[256]``, by the magnitude of the divisor."""
    i = elements(BLOCK)
    live = i < total
    a = tl.load(a_ptr + operand(i, size, vectors, a_pattern, a_vector, a_map_ptr, A_MAPPED), mask=live, other=0).to(tl.int64) - a_zero
    b = tl.load(b_ptr + operand(i, size, vectors, b_pattern, b_vector, b_map_ptr, B_MAPPED), mask=live, other=0).to(tl.int64) - b_zero
    a, b = tl.where(b < 0, -a, a), tl.abs(b)
    spare = leading_zeros(2 * (a ^ (a >> 63)) + 1)
    quotient = doubling_high_mul(a << spare, tl.load(inverse_ptr + b))
    right = more + tl.load(over_ptr + b).to(tl.int64) + spare
    y = divide_by_pot(doubling_high_mul(quotient, multiplier), right) + offset
    tl.store(y_ptr + i, limit(y, low, high).to(tl.int8), mask=live)


@kernel()
def squared_difference_s8(
    a_ptr, b_ptr, y_ptr, a_map_ptr, b_map_ptr, total, size, vectors, a_pattern, a_vector, b_pattern, b_vector,
    a_zero, b_zero, a_multiplier, a_right, b_multiplier, b_right, multiplier, right, offset, low, high,
    A_MAPPED: tl.constexpr, B_MAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    a = tl.load(a_ptr + operand(i, size, vectors, a_pattern, a_vector, a_map_ptr, A_MAPPED), mask=live, other=0).to(tl.int64)
    b = tl.load(b_ptr + operand(i, size, vectors, b_pattern, b_vector, b_map_ptr, B_MAPPED), mask=live, other=0).to(tl.int64)
    difference = requantize_tflm((a - a_zero) << RAISED, a_multiplier, a_right)
    difference -= requantize_tflm((b - b_zero) << RAISED, b_multiplier, b_right)
    y = requantize_tflm(difference * difference, multiplier, right) + offset
    tl.store(y_ptr + i, limit(y, low, high).to(tl.int8), mask=live)


@kernel()
def extremum_s8(
    a_ptr, b_ptr, y_ptr, a_map_ptr, b_map_ptr, total, size, vectors, a_pattern, a_vector, b_pattern, b_vector,
    a_values_ptr, b_values_ptr, low, high,
    RESCALED: tl.constexpr, LARGEST: tl.constexpr, A_MAPPED: tl.constexpr, B_MAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    a = tl.load(a_ptr + operand(i, size, vectors, a_pattern, a_vector, a_map_ptr, A_MAPPED), mask=live, other=0).to(tl.int32)
    b = tl.load(b_ptr + operand(i, size, vectors, b_pattern, b_vector, b_map_ptr, B_MAPPED), mask=live, other=0).to(tl.int32)
    if RESCALED:
        a = tl.load(a_values_ptr + a + 128).to(tl.int32)
        b = tl.load(b_values_ptr + b + 128).to(tl.int32)
    y = tl.maximum(a, b) if LARGEST else tl.minimum(a, b)
    tl.store(y_ptr + i, limit(y, low, high).to(tl.int8), mask=live)


@kernel()
def binary_f16(
    a_ptr, b_ptr, y_ptr, a_map_ptr, b_map_ptr, total, size, vectors, a_pattern, a_vector, b_pattern, b_vector, low, high,
    OPERATOR: tl.constexpr, A_MAPPED: tl.constexpr, B_MAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Halves; OPERATOR is add, sub, mul, max or min."""
    i = elements(BLOCK)
    live = i < total
    a = tl.load(a_ptr + operand(i, size, vectors, a_pattern, a_vector, a_map_ptr, A_MAPPED), mask=live, other=0.0)
    b = tl.load(b_ptr + operand(i, size, vectors, b_pattern, b_vector, b_map_ptr, B_MAPPED), mask=live, other=0.0)
    if OPERATOR == "max" or OPERATOR == "min":
        n = tl.maximum(order(a), order(b)) if OPERATOR == "max" else tl.minimum(order(a), order(b))
        y = of_order(limit(n, low, high))
    else:
        a, b = a.to(tl.float32), b.to(tl.float32)
        y = finish(a + b if OPERATOR == "add" else a - b if OPERATOR == "sub" else a * b, low, high)
    tl.store(y_ptr + i, y, mask=live)


@kernel()
def prelu_s8(
    x_ptr, slopes_ptr, y_ptr, total, channels, in_zero, out_zero, multiplier, shift, slope_multiplier, slope_shift,
    SINGLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    x = tl.load(x_ptr + i, mask=live, other=0).to(tl.int64) - in_zero
    slope = tl.load(slopes_ptr + i % channels).to(tl.int64)
    if SINGLE:
        s = tl.cast(shift, tl.int64)
        y = (x * tl.where(x >= 0, multiplier, slope) + ((x * 0 + 1) << (s - 1))) >> s
    else:
        y = tl.where(x >= 0, requantize_tflm(x, multiplier, shift), requantize_tflm(x * slope, slope_multiplier, slope_shift))
    tl.store(y_ptr + i, limit(y + out_zero, -128, 127).to(tl.int8), mask=live)


@kernel()
def prelu_f16(x_ptr, slopes_ptr, y_ptr, total, channels, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    x = tl.load(x_ptr + i, mask=live, other=0.0).to(tl.float32)
    slope = tl.load(slopes_ptr + i % channels).to(tl.float32)
    tl.store(y_ptr + i, from_float(tl.where(x > 0.0, x, slope * x)), mask=live)


def flat(step: Step, total: int) -> tuple[int, tuple[int]]:
    """The block and the grid of a kernel that goes element by element."""
    block = step.device.flat(total)
    return block, (triton.cdiv(total, block),)


def spread(step: Step, position: int) -> Any:
    """Which element of an operand each element of the result reads, on the device; None where it is its own."""
    own, whole = step.graph.type(step.node.inputs[position]).shape, step.graph.type(step.node.outputs[0]).shape
    numbers = np.arange(int(np.prod(own)), dtype=np.int32).reshape(own)
    return None if own == whole else step.constant(f"map {position}", lambda: np.broadcast_to(numbers, whole).ravel())


def both(step: Step, kernel_: object, y: Value, *scalars: int | object, **fixed: object) -> tuple[Value, ...]:
    """Launch a kernel of two operands."""
    a, b = step.operands
    maps = [spread(step, 0), spread(step, 1)]
    block, grid = flat(step, y.total)
    step.device.launch(
        kernel_, grid, a.data, b.data, y.data, *maps, y.total, y.size, y.vectors, *a.steps, *b.steps, *scalars,
        A_MAPPED=maps[0] is not None, B_MAPPED=maps[1] is not None, BLOCK=block, **fixed,
    )  # fmt: skip
    return (y,)


@computes("add")
def add(step: Step) -> tuple[Value, ...]:
    """A sum or a difference."""
    p, y = step.params, step.result()
    if step.half:
        return both(step, binary_f16, y, *step.limits(), OPERATOR="add" if p.sign > 0 else "sub")
    last = p.out_zero, p.act_min, p.act_max
    if step.single:
        return both(step, add_s8, y, p.a_multiplier, p.b_multiplier, 0, 0, 0, 0, 1, p.offset, 0, p.shift, *last, SINGLE=True)
    multipliers = (p.a_high << 11) + p.a_low, (p.b_high << 11) + p.b_low
    inputs = *multipliers, p.a_zero, p.b_zero, p.a_shift, p.b_shift
    return both(step, add_s8, y, *inputs, p.sign, 0, p.multiplier, p.shift, *last, SINGLE=False)


@computes("mul")
def mul(step: Step) -> tuple[Value, ...]:
    """A product."""
    p, y = step.params, step.result()
    if step.half:
        return both(step, binary_f16, y, *step.limits(), OPERATOR="mul")
    return both(step, mul_s8, y, p.a_zero, p.b_zero, p.multiplier, p.shift, *rescaling(step), SINGLE=step.single)


@computes("div", on=("s8",))
def div(step: Step) -> tuple[Value, ...]:
    """A quotient."""
    p, tables = step.params, [step.table(n)[0] for n in ("inverse", "over")]
    return both(step, div_s8, step.result(), *tables, p.a_zero, p.b_zero, p.multiplier, p.right, p.out_offset, p.act_min, p.act_max)


@computes("squared_difference", on=("s8",))
def squared_difference(step: Step) -> tuple[Value, ...]:
    """The square of a difference."""
    p = step.params
    scales = p.a_multiplier, p.a_right, p.b_multiplier, p.b_right, p.y_multiplier, p.y_right
    return both(step, squared_difference_s8, step.result(), p.a_zero, p.b_zero, *scales, p.out_offset, p.act_min, p.act_max)


@computes("extremum")
def extremum(step: Step) -> tuple[Value, ...]:
    """The larger or the smaller of two."""
    p, y = step.params, step.result()
    if step.half:
        return both(step, binary_f16, y, *step.limits(), OPERATOR="max" if p.largest else "min")
    tables = [step.table(n)[0] for n in ("a_values", "b_values")] if p.rescaled else [None, None]
    return both(step, extremum_s8, y, *tables, p.act_min, p.act_max, RESCALED=bool(p.rescaled), LARGEST=bool(p.largest))


@computes("prelu")
def prelu(step: Step) -> tuple[Value, ...]:
    """x where positive, else its channel's slope times x."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, x.total)
    arguments = x.data, step.table("slopes")[0], y.data, x.total, p.channels
    if step.half:
        step.device.launch(prelu_f16, grid, *arguments, BLOCK=block)
        return (y,)
    slope = (0, 0) if step.single else (p.slope_multiplier, p.slope_shift)
    step.device.launch(prelu_s8, grid, *arguments, p.in_zero, p.out_zero, p.multiplier, p.shift, *slope, SINGLE=step.single, BLOCK=block)
    return (y,)
