"""The gates of an LSTM whose products are layers of their own: a thread per unit and vector."""

from typing import Any

import triton
import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.law import limit, saturate, sigmoid_q15, tanh_q15
from edgeq.run.gpu.kernels.lstm import cell_argument, next_cell
from edgeq.run.gpu.kernels.recurrent import copied, sigmoid
from edgeq.run.gpu.step import Step, Value


@triton.jit
def places(x_pattern, x_vector, h_pattern, h_vector, bias_pattern, vectors, units, total, BLOCK: tl.constexpr):
    """Unit, flat place, where the first gate lies in x, h and bias, and which are alive."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row, j = at // units, at % units
    p, v = row // vectors, row % vectors
    return at, p * x_pattern + v * x_vector + j, p * h_pattern + v * h_vector + j, p * bias_pattern + j, at < total


@kernel()
def lstm_cell_s16(
    x_ptr, h_ptr, c_ptr, y_ptr, bias_ptr, table_ptr, x_pattern, x_vector, h_pattern, h_vector, bias_pattern, vectors, units, total,
    CELL_BITS: tl.constexpr, CELL_CLIP: tl.constexpr, SINGLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """c int16 or int32 ``[P, V, units]`` in place, h goes to y."""
    at, x_at, h_at, b_at, live = places(x_pattern, x_vector, h_pattern, h_vector, bias_pattern, vectors, units, total, BLOCK)
    i = integer_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, 0, live)
    f = integer_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, units, live)
    g = integer_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, 2 * units, live)
    o = integer_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, 3 * units, live)
    c = tl.load(c_ptr + at, mask=live, other=0).to(tl.int64)
    new = sigmoid_q15(table_ptr, i) * tanh_q15(table_ptr, g)
    c = next_cell(sigmoid_q15(table_ptr, f) * c, new, CELL_BITS, SINGLE)
    if CELL_CLIP:
        c = limit(c, -CELL_CLIP, CELL_CLIP)
    tl.store(c_ptr + at, c.to(c_ptr.dtype.element_ty), mask=live)
    product = sigmoid_q15(table_ptr, o) * tanh_q15(table_ptr, cell_argument(c, CELL_BITS))
    tl.store(y_ptr + at, ((product + (1 << 14)) >> 15).to(y_ptr.dtype.element_ty), mask=live)


@triton.jit
def integer_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, start, live):
    """A pre-activation in units of 2^-12 / 3."""
    total = tl.load(x_ptr + x_at + start, mask=live, other=0).to(tl.int64) + tl.load(h_ptr + h_at + start, mask=live, other=0)
    return 3 * saturate(total + tl.load(bias_ptr + b_at + start, mask=live, other=0))


@kernel()
def lstm_cell_f16(
    x_ptr, h_ptr, c_ptr, y_ptr, bias_ptr, x_pattern, x_vector, h_pattern, h_vector, bias_pattern, vectors, units, total,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The same on halves."""
    at, x_at, h_at, b_at, live = places(x_pattern, x_vector, h_pattern, h_vector, bias_pattern, vectors, units, total, BLOCK)
    i = half_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, 0, live)
    f = half_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, units, live)
    g = half_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, 2 * units, live)
    o = half_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, 3 * units, live)
    c = tl.load(c_ptr + at, mask=live, other=0.0).to(tl.float32)
    c = halves.from_float(halves.sigmoid(f) * c + halves.sigmoid(i) * halves.tanh(g))
    tl.store(c_ptr + at, c, mask=live)
    tl.store(y_ptr + at, halves.from_float(halves.sigmoid(o) * halves.tanh(c.to(tl.float32))), mask=live)


@triton.jit
def half_gate(x_ptr, h_ptr, bias_ptr, x_at, h_at, b_at, start, live):
    """A pre-activation, float32."""
    x = tl.load(x_ptr + x_at + start, mask=live, other=0.0).to(tl.float32)
    h = tl.load(h_ptr + h_at + start, mask=live, other=0.0).to(tl.float32)
    return x + h + tl.load(bias_ptr + b_at + start, mask=live, other=0.0)


@computes("lstm_cell", on=("s16", "f16"))
def lstm_cell(step: Step) -> tuple[Value, ...]:
    """One step of a cell."""
    x, h, c = step.operands
    p = step.params
    bias, per_bias = step.table("bias")
    y = step.result(patterns=step.patterns("bias"))
    c = copied(step, c, y.patterns, y.vectors)
    total = y.patterns * y.vectors * p.units
    block = step.device.rows(total, most=256)
    moving: tuple[Any, ...] = *x.steps, *h.steps, per_bias, y.vectors, p.units, total
    grid = (triton.cdiv(total, block),)
    if step.half:
        step.device.launch(lstm_cell_f16, grid, x.data, h.data, c.data, y.data, bias, *moving, BLOCK=block)
    else:
        cell = {"CELL_BITS": p.cell_bits, "CELL_CLIP": p.cell_clip, "SINGLE": step.single}
        step.device.launch(lstm_cell_s16, grid, x.data, h.data, c.data, y.data, bias, sigmoid(step), *moving, BLOCK=block, **cell)
    return y, c
