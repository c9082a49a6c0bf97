"""One of the largest elements of each row by chance: a row per thread."""

import numpy as np
import triton
import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.cache import row_at
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.halves import of_rank, rank
from edgeq.run.gpu.step import Step, Value

LOWEST = tl.constexpr(-(2**17))
ONE = tl.constexpr(65535)


@triton.jit
def key_of(x, HALF: tl.constexpr):
    """Integers that sort as the elements do."""
    return rank(x) if HALF else x.to(tl.int32)


@triton.jit
def mixed(bits):
    """The bits of a number as `edgeq.ops.sample.drawn` mixes them, int64."""
    bits = (bits + 0x9E3779B9) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return bits ^ (bits >> 16)


@kernel()
def sample_rows(
    x_ptr, number_ptr, table_ptr, y_ptr, total, rows, vectors, x_pattern, x_vector, number_pattern, number_vector, count, top,
    HALF: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """table: int32 weights by distance, or float32 the rate that distances of halves are times."""
    i = elements(BLOCK)
    live = i < total
    vector = i // rows
    x_ptr += row_at(vector, vectors, x_pattern, x_vector) + i % rows * count
    number = tl.load(number_ptr + row_at(vector, vectors, number_pattern, number_vector), mask=live, other=0).to(tl.int64)
    largest = tl.full((BLOCK,), LOWEST, tl.int32)
    for j in range(count):
        largest = tl.maximum(largest, key_of(tl.load(x_ptr + j, mask=live, other=0), HALF))
    least = largest
    for _ in range(top - 1):
        reached = tl.zeros((BLOCK,), tl.int32)
        below = tl.full((BLOCK,), LOWEST, tl.int32)
        for j in range(count):
            key = key_of(tl.load(x_ptr + j, mask=live, other=0), HALF)
            reached += (key >= least).to(tl.int32)
            below = tl.where(key < least, tl.maximum(below, key), below)
        least = tl.where(reached < top, below, least)
    place = tl.zeros((BLOCK,), tl.int64)
    at = tl.zeros((BLOCK,), tl.int32)
    for _turn in range(2):
        before = tl.zeros((BLOCK,), tl.int64)
        at = tl.zeros((BLOCK,), tl.int32)
        for j in range(count):
            key = key_of(tl.load(x_ptr + j, mask=live, other=0), HALF)
            if HALF:
                far = of_rank(key).to(tl.float32) - of_rank(largest).to(tl.float32)
                e = halves.exp(halves.number(far * tl.load(table_ptr)))
                near = (halves.limited(e, 0x3F800000) * 65535.0 + 0.5).to(tl.int32)
                weight = tl.where(key == largest, ONE, near)
            else:
                weight = tl.load(table_ptr + tl.minimum(largest - key, 255))
            before += tl.where(key >= least, weight, 0).to(tl.int64)
            at += (before <= place).to(tl.int32)
        drawn = mixed((number + i % rows) & 0xFFFFFFFF)
        place = ((drawn.to(tl.uint64) * before.to(tl.uint64)) >> 32).to(tl.int64)
    tl.store(y_ptr + i, at, mask=live)


@computes("sample", on=("s8_s32", "f16_s32"))
def sample(step: Step) -> tuple[Value, ...]:
    """A row per thread."""
    x, number, p, y = *step.operands, step.params, step.result()
    block, grid = flat(step, y.total)
    table = step.table("rate")[0] if step.half else step.constant("weights", lambda: p.weights.astype(np.int32))
    sizes = y.total, p.rows, y.vectors, *x.steps, *number.steps, p.count, p.top
    step.device.launch(sample_rows, grid, x.data, number.data, table, y.data, *sizes, HALF=step.half, BLOCK=block)
    return (y,)
