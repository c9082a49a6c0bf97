"""Products of two activations: int8 on the tensor cores, halves one k after the other."""

import triton
import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.convolution import DEPTH, require_exact, rescaling
from edgeq.run.gpu.kernels.halves import from_float
from edgeq.run.gpu.kernels.law import limit, rescale
from edgeq.run.gpu.step import Step, Value


@triton.jit
def matrices(matrices_ptr, number, batches, vectors, a_pattern, a_vector, b_pattern, b_vector, a_size, b_size):
    """Where the two matrices of a product begin."""
    row, batch = number // batches, number % batches
    p, v = row // vectors, row % vectors
    a = p * a_pattern + v * a_vector + tl.load(matrices_ptr + batch * 2).to(tl.int64) * a_size
    b = p * b_pattern + v * b_vector + tl.load(matrices_ptr + batch * 2 + 1).to(tl.int64) * b_size
    return a, b


@kernel()
def mat_mul_s8(
    a_ptr, b_ptr, matrices_ptr, y_ptr, batches, vectors, a_pattern, a_vector, b_pattern, b_vector, rows, columns, depth,
    a_zero, b_zero, multiplier, shift, left, out_offset, low, high,
    SINGLE: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(columns, N)
    tiles = tl.cdiv(rows, M) * across
    number, tile = tl.program_id(0).to(tl.int64) // tiles, tl.program_id(0) % tiles
    sizes = rows * depth, depth * columns
    a_at, b_at = matrices(matrices_ptr, number, batches, vectors, a_pattern, a_vector, b_pattern, b_vector, sizes[0], sizes[1])
    m, n = tile // across * M + tl.arange(0, M), tile % across * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.int32)
    of_a, of_b = tl.zeros((M,), tl.int32), tl.zeros((N,), tl.int32)
    for start in range(0, depth, K):
        k = start + tl.arange(0, K)
        a = tl.load(a_ptr + a_at + m[:, None] * depth + k[None, :], mask=(m < rows)[:, None] & (k < depth)[None, :], other=0)
        b = tl.load(b_ptr + b_at + k[:, None] * columns + n[None, :], mask=(k < depth)[:, None] & (n < columns)[None, :], other=0)
        total = tl.dot(a, b, total, out_dtype=tl.int32)
        of_a += tl.sum(a.to(tl.int32), axis=1)
        of_b += tl.sum(b.to(tl.int32), axis=0)
    sums = total.to(tl.int64) - of_a.to(tl.int64)[:, None] * b_zero - of_b.to(tl.int64)[None, :] * a_zero
    sums += tl.cast(depth, tl.int64) * a_zero * b_zero
    y = limit(rescale(sums, multiplier, shift, left, SINGLE) + out_offset, low, high)
    to = y_ptr + number * (rows * columns) + m[:, None] * columns + n[None, :]
    tl.store(to, y.to(tl.int8), mask=(m < rows)[:, None] & (n < columns)[None, :])


@kernel()
def mat_mul_f16(
    a_ptr, b_ptr, matrices_ptr, y_ptr, batches, vectors, a_pattern, a_vector, b_pattern, b_vector, rows, columns, depth,
    M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(columns, N)
    tiles = tl.cdiv(rows, M) * across
    number, tile = tl.program_id(0).to(tl.int64) // tiles, tl.program_id(0) % tiles
    sizes = rows * depth, depth * columns
    a_at, b_at = matrices(matrices_ptr, number, batches, vectors, a_pattern, a_vector, b_pattern, b_vector, sizes[0], sizes[1])
    m, n = tile // across * M + tl.arange(0, M), tile % across * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for k in range(depth):
        a = tl.load(a_ptr + a_at + m * depth + k, mask=m < rows, other=0.0).to(tl.float32)
        b = tl.load(b_ptr + b_at + k * columns + n, mask=n < columns, other=0.0).to(tl.float32)
        total += a[:, None] * b[None, :]
    to = y_ptr + number * (rows * columns) + m[:, None] * columns + n[None, :]
    tl.store(to, from_float(total), mask=(m < rows)[:, None] & (n < columns)[None, :])


@computes("mat_mul")
def mat_mul(step: Step) -> tuple[Value, ...]:
    """A batch of matrix products."""
    a, b = step.operands
    p, y = step.params, step.result()
    m, n = step.device.rows(p.rows), step.device.rows(p.columns, most=64)
    grid = (triton.cdiv(p.rows, m) * triton.cdiv(p.columns, n) * p.batches * y.patterns * y.vectors,)
    sizes = p.batches, y.vectors, *a.steps, *b.steps, p.rows, p.columns, p.depth
    arguments = a.data, b.data, step.table("matrices")[0], y.data, *sizes
    if step.half:
        step.device.launch(mat_mul_f16, grid, *arguments, M=m, N=n)
        return (y,)
    require_exact(step, p.depth)
    own = p.a_zero, p.b_zero, int(p.multiplier[0]), int(p.shift[0]), *rescaling(step)
    k = step.device.rows(p.depth, 32, DEPTH)
    step.device.launch(mat_mul_s8, grid, *arguments, *own, SINGLE=step.single, M=m, N=n, K=k)
    return (y,)
