"""Layers on int16 with int8 weights: the two bytes of an input apart on the tensor cores, sums in 64 bits, one rounding."""

import triton
import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.convolution import DEPTH, require_exact
from edgeq.run.gpu.kernels.law import limit, power_of_two, saturate
from edgeq.run.gpu.step import Step, Value


@triton.jit
def results_s16(
    x_ptr, at, known, w_ptr, stage_ptr, row, live, rows, depth, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr
):  # fmt: skip
    """int16 rows at `at` times weight rows `row` ``[M, N]``, rescaled, saturated to int16; stage ``[bias multiplier shift, rows]``; int64.

    An input is 256 times its upper byte, signed, plus its lower byte less 128, plus 128.
    """
    upper, lower = tl.zeros((M, N), tl.int32), tl.zeros((M, N), tl.int32)
    weights = tl.zeros((N,), tl.int32)
    for start in range(0, depth, K):
        k = start + tl.arange(0, K)
        a = tl.load(x_ptr + at[:, None] + k[None, :], mask=known[:, None] & (k < depth)[None, :], other=0).to(tl.int32)
        b = tl.load(w_ptr + row[None, :] * depth + k[:, None], mask=live[None, :] & (k < depth)[:, None], other=0)
        upper = tl.dot((a >> 8).to(tl.int8), b, upper, out_dtype=tl.int32)
        lower = tl.dot(((a & 255) - 128).to(tl.int8), b, lower, out_dtype=tl.int32)
        weights += tl.sum(b.to(tl.int32), axis=0)
    stage_ptr += row
    others = weights.to(tl.int64) * 128 + tl.load(stage_ptr, mask=live, other=0)
    sums = (upper.to(tl.int64) << 8) + lower + others[None, :]
    multiplier, shift = tl.load(stage_ptr + rows, mask=live, other=0), tl.load(stage_ptr + 2 * rows, mask=live, other=1)
    n = shift.to(tl.int64)
    return saturate((sums * multiplier[None, :] + power_of_two(n - 1)[None, :]) >> n[None, :])


@kernel()
def dense_s16(
    x_ptr, w_ptr, stage_ptr, y_ptr, rows, out_c, depth, x_pattern, w_pattern, stage_pattern, low, high,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """x ``[P, rows, depth]``, w ``[P, out_c, depth]``, stage ``[P, bias multiplier shift, out_c]``."""
    p = tl.program_id(2).to(tl.int64)
    m, n = tl.program_id(0).to(tl.int64) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    known, live = m < rows, n < out_c
    x_ptr += p * x_pattern
    w_ptr += p * w_pattern
    y = results_s16(x_ptr, m * depth, known, w_ptr, stage_ptr + p * stage_pattern, n, live, out_c, depth, M, N, K)
    to = y_ptr + (p * rows + m)[:, None] * out_c + n[None, :]
    tl.store(to, limit(y, low, high).to(tl.int16), mask=known[:, None] & live[None, :])


@computes("fully_connected", on=("s16",))
def dense(step: Step) -> tuple[Value, ...]:
    """A fully connected layer."""
    x, p, tables = step.operands[0], step.params, ("weights", "bias", "multiplier", "shift")
    require_exact(step, p.in_c)
    y = step.result(patterns=step.patterns(*tables))
    rows = y.total // y.patterns // p.out_c
    (weights, per_weights), (stage, per_stage) = step.table("weights"), step.stacked(*tables[1:])
    m, n, k = step.device.rows(rows), step.device.rows(p.out_c, most=64), step.device.rows(p.in_c, 32, DEPTH)
    grid = (triton.cdiv(rows, m), triton.cdiv(p.out_c, n), y.patterns)
    sizes = rows, p.out_c, p.in_c, x.steps[0], per_weights, per_stage, p.act_min, p.act_max
    step.device.launch(dense_s16, grid, x.data, weights, stage, y.data, *sizes, M=m, N=n, K=k)
    return (y,)
