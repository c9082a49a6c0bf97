"""LSTM layers: a launch per time step, a thread per unit and vector."""

from typing import Any

import triton
import triton.language as tl

from edgeq.ops.lstm import REACH as FAR
from edgeq.ops.recurrent import WIDE as WIDE_BITS
from edgeq.ops.recurrent import _Recurrent
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.law import limit, saturate, scale_by_pot, sigmoid_q15, tanh_q15
from edgeq.run.gpu.kernels.recurrent import (
    copied,
    gate,
    lefts,
    out_stage,
    part,
    patterns,
    place,
    pre_activations,
    scales,
    sigmoid,
    tiles,
    to_state,
)
from edgeq.run.gpu.step import Step, Value

WIDE, REACH = tl.constexpr(WIDE_BITS), tl.constexpr(FAR)


@triton.jit
def next_cell(kept, new, BITS: tl.constexpr, SINGLE: tl.constexpr):
    """f c + i g with BITS fraction bits; `kept` has 15 more, `new` is Q0.30. In int32 (WIDE) nothing saturates."""
    if BITS == WIDE:
        c = ((kept + (1 << 14)) >> 15) + ((new + (1 << (29 - BITS))) >> (30 - BITS))
    else:
        c = saturate(saturate(scale_by_pot(kept, 15, SINGLE)) + saturate(scale_by_pot(new, 30 - BITS, SINGLE)))
    return c


@triton.jit
def cell_argument(c, BITS: tl.constexpr):
    """A cell state in units of 2^-12 / 3, for tanh. In int16 none lies beyond REACH."""
    c = 3 * limit(c, -REACH, REACH)
    return c << (12 - BITS) if BITS <= 12 else (c + (1 << (BITS - 13))) >> (BITS - 12)


@kernel()
def lstm_s8(
    x_ptr, h_ptr, c_ptr, y_ptr, x_w_ptr, x_stage_ptr, h_w_ptr, h_stage_ptr, table_ptr, vectors, units, in_c,
    x_pattern, x_vector, x_start, h_pattern, h_vector, h_start, y_pattern, y_vector, y_start,
    x_w_pattern, x_stage_pattern, h_w_pattern, h_stage_pattern, x_left, h_left,
    out_multiplier, out_shift, out_left, out_offset, low, high,
    CELL_BITS: tl.constexpr, CELL_CLIP: tl.constexpr, WORDS: tl.constexpr, SINGLE: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """One step: weights ``[P, units * gates i f g o, K]``; c int16 or int32 ``[P, V, units]`` in place, h goes to y."""
    p, v, u, known, live = place(M, N, vectors, units)
    x_at, h_at = p * x_pattern + v * x_vector + x_start, p * h_pattern + v * h_vector + h_start
    x_w_ptr += p * x_w_pattern
    h_w_ptr += p * h_w_pattern
    x_stage_ptr += p * x_stage_pattern
    h_stage_ptr += p * h_stage_pattern
    rows = 4 * units
    there = known[:, None] & live[None, :]
    c_at = c_ptr + (p * vectors + v)[:, None] * units + u[None, :]
    c = tl.load(c_at, mask=there, other=0).to(tl.int64)
    i = pre_activations(x_ptr, x_at, known, x_w_ptr, x_stage_ptr, u * 4, live, rows, in_c, x_left, WORDS, SINGLE, M, N, K)
    i += pre_activations(h_ptr, h_at, known, h_w_ptr, h_stage_ptr, u * 4, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
    g = pre_activations(x_ptr, x_at, known, x_w_ptr, x_stage_ptr, u * 4 + 2, live, rows, in_c, x_left, WORDS, SINGLE, M, N, K)
    g += pre_activations(h_ptr, h_at, known, h_w_ptr, h_stage_ptr, u * 4 + 2, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
    new = sigmoid_q15(table_ptr, 3 * saturate(i)) * tanh_q15(table_ptr, 3 * saturate(g))
    f = pre_activations(x_ptr, x_at, known, x_w_ptr, x_stage_ptr, u * 4 + 1, live, rows, in_c, x_left, WORDS, SINGLE, M, N, K)
    f += pre_activations(h_ptr, h_at, known, h_w_ptr, h_stage_ptr, u * 4 + 1, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
    c = next_cell(sigmoid_q15(table_ptr, 3 * saturate(f)) * c, new, CELL_BITS, SINGLE)
    if CELL_CLIP:
        c = limit(c, -CELL_CLIP, CELL_CLIP)
    tl.store(c_at, c.to(c_ptr.dtype.element_ty), mask=there)
    o = pre_activations(x_ptr, x_at, known, x_w_ptr, x_stage_ptr, u * 4 + 3, live, rows, in_c, x_left, WORDS, SINGLE, M, N, K)
    o += pre_activations(h_ptr, h_at, known, h_w_ptr, h_stage_ptr, u * 4 + 3, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
    product = sigmoid_q15(table_ptr, 3 * saturate(o)) * tanh_q15(table_ptr, cell_argument(c, CELL_BITS))
    y = to_state(product, out_multiplier, out_shift, out_left, out_offset, low, high, WORDS, SINGLE)
    tl.store(y_ptr + (p * y_pattern + v * y_vector + y_start)[:, None] + u[None, :], y.to(y_ptr.dtype.element_ty), mask=there)


@kernel()
def lstm_f16(
    x_ptr, h_ptr, c_ptr, y_ptr, x_w_ptr, bias_ptr, h_w_ptr, x_scale_ptr, h_scale_ptr, vectors, units, in_c,
    x_pattern, x_vector, x_start, h_pattern, h_vector, h_start, y_pattern, y_vector, y_start,
    x_w_pattern, bias_pattern, h_w_pattern, LOW: tl.constexpr, HIGH: tl.constexpr, SUMS: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """One step on halves; scales float32 ``[units * gates]``, of int8 weights."""
    p, v, u, known, live = place(M, N, vectors, units)
    x_at, h_at = p * x_pattern + v * x_vector + x_start, p * h_pattern + v * h_vector + h_start
    x_w_ptr += p * x_w_pattern
    h_w_ptr += p * h_w_pattern
    bias_ptr += p * bias_pattern
    there, row = known[:, None] & live[None, :], u * 4
    i = gate(bias_ptr, x_ptr, x_at, x_w_ptr, x_scale_ptr, h_ptr, h_at, h_w_ptr, h_scale_ptr, known, row, live, in_c, units, SUMS, M, N)
    f = gate(bias_ptr, x_ptr, x_at, x_w_ptr, x_scale_ptr, h_ptr, h_at, h_w_ptr, h_scale_ptr, known, row + 1, live, in_c, units, SUMS, M, N)
    g = gate(bias_ptr, x_ptr, x_at, x_w_ptr, x_scale_ptr, h_ptr, h_at, h_w_ptr, h_scale_ptr, known, row + 2, live, in_c, units, SUMS, M, N)
    o = gate(bias_ptr, x_ptr, x_at, x_w_ptr, x_scale_ptr, h_ptr, h_at, h_w_ptr, h_scale_ptr, known, row + 3, live, in_c, units, SUMS, M, N)
    c_at = c_ptr + (p * vectors + v)[:, None] * units + u[None, :]
    c = tl.load(c_at, mask=there, other=0.0).to(tl.float32)
    c = halves.between_orders(halves.from_float(halves.sigmoid(f) * c + halves.sigmoid(i) * halves.tanh(g)), LOW, HIGH)
    tl.store(c_at, c, mask=there)
    y = halves.from_float(halves.sigmoid(o) * halves.tanh(c.to(tl.float32)))
    tl.store(y_ptr + (p * y_pattern + v * y_vector + y_start)[:, None] + u[None, :], y, mask=there)


@computes("lstm", on=("s8", "s16", "f16", "f16_w8", "f16_w8_r16", "f16_a16"))
def lstm(step: Step) -> tuple[Value, ...]:
    """A layer along time."""
    x, h, c = step.operands
    p, op = step.params, step.node.op
    assert isinstance(op, _Recurrent)
    y = step.result(patterns=patterns(step))
    c = copied(step, c, y.patterns, y.vectors)
    (x_part, x_steps), (h_part, h_steps) = part(step, "x"), part(step, "h")
    grid, fixed = tiles(step, y)
    table = None if step.half else sigmoid(step)
    before: tuple[Any, int] = h, 0
    for t in op.order(p.steps):
        state, start = before
        moving = *x.steps, t * p.in_c, *state.steps, start, y.vectors * y.size, y.size, op.row(t, p.steps) * p.units
        tensors, sizes = (x.data, state.data, c.data, y.data, *x_part, h_part[0]), (y.vectors, p.units, p.in_c)
        if step.half:
            limits = {"LOW": p.act_min, "HIGH": p.act_max}
            step.device.launch(lstm_f16, grid, *tensors, *scales(step), *sizes, *moving, *x_steps, h_steps[0], **limits, **fixed)
        else:
            own = *x_steps, *h_steps, *lefts(step), *out_stage(step)
            cell = {"CELL_BITS": p.cell_bits, "CELL_CLIP": p.cell_clip}
            step.device.launch(lstm_s8, grid, *tensors, h_part[1], table, *sizes, *moving, *own, **cell, **fixed)
        before = y, op.row(t, p.steps) * p.units
    return y, c
