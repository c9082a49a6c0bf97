"""GRU layers: two launches per time step, the gates r and z and then the state, whose candidate may need r of all units."""

from typing import Any

import numpy as np
import triton.language as tl

from edgeq.ops.gru import STATE_BITS
from edgeq.ops.recurrent import _Recurrent
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.law import saturate, sigmoid_q15, tanh_q15
from edgeq.run.gpu.kernels.recurrent import (
    accumulate,
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

HALF, RIGHT = tl.constexpr(1 << (STATE_BITS - 16)), tl.constexpr(STATE_BITS - 15)  # from the scale of h to Q0.15


@kernel()
def gru_gates_s8(
    x_ptr, h_ptr, r_ptr, z_ptr, x_w_ptr, x_stage_ptr, h_w_ptr, h_stage_ptr, table_ptr, vectors, units, in_c,
    x_pattern, x_vector, x_start, h_pattern, h_vector, h_start,
    x_w_pattern, x_stage_pattern, h_w_pattern, h_stage_pattern, x_left, h_left, zero,
    LINEAR: tl.constexpr, WORDS: tl.constexpr, SINGLE: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """z int32 in Q0.15; r likewise where the reset scales the state's product (LINEAR), else the state that it leaves, int8."""
    p, v, u, known, live = place(M, N, vectors, units)
    x_at, h_at = p * x_pattern + v * x_vector + x_start, p * h_pattern + v * h_vector + h_start
    x_w_ptr += p * x_w_pattern
    h_w_ptr += p * h_w_pattern
    x_stage_ptr += p * x_stage_pattern
    h_stage_ptr += p * h_stage_pattern
    rows = 3 * units
    gates: tl.constexpr = 3 if LINEAR else 2  # rows of h's weights per unit: those of the candidate lie apart
    there = known[:, None] & live[None, :]
    at = (p * vectors + v)[:, None] * units + u[None, :]
    r = pre_activations(x_ptr, x_at, known, x_w_ptr, x_stage_ptr, u * 3, live, rows, in_c, x_left, WORDS, SINGLE, M, N, K)
    r += pre_activations(h_ptr, h_at, known, h_w_ptr, h_stage_ptr, u * gates, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
    z = pre_activations(x_ptr, x_at, known, x_w_ptr, x_stage_ptr, u * 3 + 1, live, rows, in_c, x_left, WORDS, SINGLE, M, N, K)
    z += pre_activations(h_ptr, h_at, known, h_w_ptr, h_stage_ptr, u * gates + 1, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
    r = sigmoid_q15(table_ptr, 3 * saturate(r))
    tl.store(z_ptr + at, sigmoid_q15(table_ptr, 3 * saturate(z)).to(tl.int32), mask=there)
    if LINEAR:
        tl.store(r_ptr + at, r.to(tl.int32), mask=there)
    else:
        h = tl.load(h_ptr + h_at[:, None] + u[None, :], mask=there, other=0).to(tl.int64) - zero
        tl.store(r_ptr + at, (((r * h + (1 << 14)) >> 15) + zero).to(r_ptr.dtype.element_ty), mask=there)


@kernel()
def gru_state_s8(
    x_ptr, h_ptr, r_ptr, z_ptr, y_ptr, x_w_ptr, x_stage_ptr, h_w_ptr, h_stage_ptr, table_ptr, vectors, units, in_c,
    x_pattern, x_vector, x_start, h_pattern, h_vector, h_start, y_pattern, y_vector, y_start,
    x_w_pattern, x_stage_pattern, h_w_pattern, h_stage_pattern, x_left, h_left, state_multiplier, whole,
    out_multiplier, out_shift, out_left, out_offset, low, high,
    LINEAR: tl.constexpr, WORDS: tl.constexpr, SINGLE: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    p, v, u, known, live = place(M, N, vectors, units)
    x_at, h_at = p * x_pattern + v * x_vector + x_start, p * h_pattern + v * h_vector + h_start
    x_w_ptr += p * x_w_pattern
    h_w_ptr += p * h_w_pattern
    x_stage_ptr += p * x_stage_pattern
    h_stage_ptr += p * h_stage_pattern
    rows = 3 * units
    there = known[:, None] & live[None, :]
    row = (p * vectors + v) * units
    at = row[:, None] + u[None, :]
    if LINEAR:
        n = pre_activations(h_ptr, h_at, known, h_w_ptr, h_stage_ptr, u * 3 + 2, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
        n = (tl.load(r_ptr + at, mask=there, other=0).to(tl.int64) * n + (1 << 14)) >> 15
    else:
        n = pre_activations(r_ptr, row, known, h_w_ptr, h_stage_ptr, u + 2 * units, live, rows, units, h_left, WORDS, SINGLE, M, N, K)
    n += pre_activations(x_ptr, x_at, known, x_w_ptr, x_stage_ptr, u * 3 + 2, live, rows, in_c, x_left, WORDS, SINGLE, M, N, K)
    n = (tanh_q15(table_ptr, 3 * saturate(n)) + (1 << whole >> 1)) >> whole
    z = tl.load(z_ptr + at, mask=there, other=0).to(tl.int64)
    h = tl.load(h_ptr + h_at[:, None] + u[None, :], mask=there, other=0).to(tl.int64) - out_offset
    h = saturate((h * state_multiplier + HALF) >> RIGHT)
    y = to_state(z * h + (32768 - z) * n, out_multiplier, out_shift, out_left, out_offset, low, high, WORDS, SINGLE)
    tl.store(y_ptr + (p * y_pattern + v * y_vector + y_start)[:, None] + u[None, :], y.to(y_ptr.dtype.element_ty), mask=there)


@kernel()
def gru_gates_f16(
    x_ptr, h_ptr, r_ptr, z_ptr, x_w_ptr, bias_ptr, h_w_ptr, x_scale_ptr, h_scale_ptr, vectors, units, in_c,
    x_pattern, x_vector, x_start, h_pattern, h_vector, h_start, x_w_pattern, bias_pattern, h_w_pattern,
    LINEAR: tl.constexpr, SUMS: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """z float32; r likewise where LINEAR, else r h in half precision. Weights ``[P, gates r z n * units, K]``."""
    p, v, u, known, live = place(M, N, vectors, units)
    x_at, h_at = p * x_pattern + v * x_vector + x_start, p * h_pattern + v * h_vector + h_start
    x_w_ptr += p * x_w_pattern
    h_w_ptr += p * h_w_pattern
    bias_ptr += p * bias_pattern
    there = known[:, None] & live[None, :]
    at = (p * vectors + v)[:, None] * units + u[None, :]
    r = gate(bias_ptr, x_ptr, x_at, x_w_ptr, x_scale_ptr, h_ptr, h_at, h_w_ptr, h_scale_ptr, known, u, live, in_c, units, SUMS, M, N)
    u_z = u + units
    z = gate(bias_ptr, x_ptr, x_at, x_w_ptr, x_scale_ptr, h_ptr, h_at, h_w_ptr, h_scale_ptr, known, u_z, live, in_c, units, SUMS, M, N)
    r = halves.sigmoid(r)
    tl.store(z_ptr + at, halves.sigmoid(z), mask=there)
    if LINEAR:
        tl.store(r_ptr + at, r, mask=there)
    else:
        h = tl.load(h_ptr + h_at[:, None] + u[None, :], mask=there, other=0.0).to(tl.float32)
        tl.store(r_ptr + at, halves.from_float(r * h), mask=there)


@kernel()
def gru_state_f16(
    x_ptr, h_ptr, r_ptr, z_ptr, y_ptr, x_w_ptr, bias_ptr, h_w_ptr, h_bias_ptr, x_scale_ptr, h_scale_ptr,
    vectors, units, in_c,
    x_pattern, x_vector, x_start, h_pattern, h_vector, h_start, y_pattern, y_vector, y_start,
    x_w_pattern, bias_pattern, h_w_pattern, h_bias_pattern, LINEAR: tl.constexpr, SUMS: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    p, v, u, known, live = place(M, N, vectors, units)
    x_at, h_at = p * x_pattern + v * x_vector + x_start, p * h_pattern + v * h_vector + h_start
    x_w_ptr += p * x_w_pattern
    h_w_ptr += p * h_w_pattern
    there = known[:, None] & live[None, :]
    row = (p * vectors + v) * units
    at = row[:, None] + u[None, :]
    zeros = tl.zeros((M, N), tl.float32)
    n = zeros + tl.load(bias_ptr + p * bias_pattern + 2 * units + u, mask=live, other=0.0)[None, :]
    n = accumulate(n, x_ptr, x_at, known, x_w_ptr, x_scale_ptr, u + 2 * units, live, in_c, SUMS)
    if LINEAR:
        own = zeros + tl.load(h_bias_ptr + p * h_bias_pattern + u, mask=live, other=0.0)[None, :]
        own = accumulate(own, h_ptr, h_at, known, h_w_ptr, h_scale_ptr, u + 2 * units, live, units, SUMS)
        n = n + tl.load(r_ptr + at, mask=there, other=0.0) * own
    else:
        n = accumulate(n, r_ptr, row, known, h_w_ptr, h_scale_ptr, u + 2 * units, live, units, SUMS)
    n = halves.tanh(n)
    z = tl.load(z_ptr + at, mask=there, other=0.0)
    h = tl.load(h_ptr + h_at[:, None] + u[None, :], mask=there, other=0.0).to(tl.float32)
    y = halves.from_float((1.0 - z) * n + z * h)
    tl.store(y_ptr + (p * y_pattern + v * y_vector + y_start)[:, None] + u[None, :], y, mask=there)


@computes("gru", on=("s8", "s16", "f16", "f16_w8", "f16_w8_r16", "f16_a16"))
def gru(step: Step) -> tuple[Value, ...]:
    """A layer along time."""
    x, h = step.operands
    p, op = step.params, step.node.op
    assert isinstance(op, _Recurrent)
    y = step.result(patterns=patterns(step))
    linear = bool(p.linear_before_reset)
    wide, narrow = (np.float32, np.float16) if step.half else (np.int32, step.graph.type(step.node.inputs[0]).dtype.numpy)
    room = (y.patterns, y.vectors, p.units)
    r, z = step.device.empty(room, np.dtype(wide if linear else narrow)), step.device.empty(room, np.dtype(wide))
    (x_part, x_steps), (h_part, h_steps) = part(step, "x"), part(step, "h")
    grid, fixed = tiles(step, y)
    fixed["LINEAR"] = linear
    sizes = y.vectors, p.units, p.in_c
    table = None if step.half else sigmoid(step)
    before: tuple[Any, int] = h, 0
    for t in op.order(p.steps):
        state, start = before
        read = *x.steps, t * p.in_c, *state.steps, start
        written = y.vectors * y.size, y.size, op.row(t, p.steps) * p.units
        if step.half:
            gates = x.data, state.data, r, z, *x_part, h_part[0], *scales(step), *sizes, *read, *x_steps, h_steps[0]
            step.device.launch(gru_gates_f16, grid, *gates, **fixed)
            rest = *x_part, *h_part, *scales(step), *sizes, *read, *written, *x_steps, *h_steps
            step.device.launch(gru_state_f16, grid, x.data, state.data, r, z, y.data, *rest, **fixed)
        else:
            tables, shares = (*x_part, *h_part, table), (*x_steps, *h_steps, *lefts(step))
            step.device.launch(gru_gates_s8, grid, x.data, state.data, r, z, *tables, *sizes, *read, *shares, p.out_offset, **fixed)
            rest = *tables, *sizes, *read, *written, *shares, p.state_multiplier, p.whole_bits, *out_stage(step)
            step.device.launch(gru_state_s8, grid, x.data, state.data, r, z, y.data, *rest, **fixed)
        before = y, op.row(t, p.steps) * p.units
    return (y,)
