"""SVDF layers: a thread per filter takes its feature in and moves its frames up; one per unit sums along time."""

import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.law import limit, requantize_tflm
from edgeq.run.gpu.step import Step, Value


@kernel()
def svdf_frames(
    x_ptr, before_ptr, features_ptr, folded_ptr, after_ptr, total, vectors, batches, filters, memory, in_c,
    x_pattern, x_vector, before_pattern, before_vector, features_pattern, folded_pattern, multiplier, shift, zero, half,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """features int8 ``[filters, in_c]``, folded int32 ``[filters]``; after ``[P, vectors, batches, memory, filters]``.

    A new feature is saturated, then wraps where the state's zero point takes it beyond.
    """
    i = elements(BLOCK)
    live = i < total
    f, row = i % filters, i // filters
    n, v, p = row % batches, row // batches % vectors, row // batches // vectors
    x_ptr += p * x_pattern + v * x_vector + n * in_c
    features_ptr += p * features_pattern
    folded_ptr += p * folded_pattern
    before_ptr += p * before_pattern + v * before_vector + n * memory * filters + f
    after_ptr += row * memory * filters + f
    for m in range(1, memory):
        tl.store(after_ptr + (m - 1) * filters, tl.load(before_ptr + m * filters, mask=live, other=0), mask=live)
    total_sum = tl.load(folded_ptr + f).to(tl.int64)
    for k in range(in_c):
        total_sum += tl.load(x_ptr + k, mask=live, other=0).to(tl.int64) * tl.load(features_ptr + f * in_c + k).to(tl.int64)
    now = limit(requantize_tflm(total_sum.to(tl.int32).to(tl.int64), multiplier, shift), -half, half - 1) + zero
    now = ((now + half) & (2 * half - 1)) - half
    tl.store(after_ptr + (memory - 1) * filters, now.to(after_ptr.dtype.element_ty), mask=live)


@kernel()
def svdf_units(
    after_ptr, time_ptr, bias_ptr, y_ptr, total, units, rank, memory, rows, time_pattern, bias_pattern, multiplier, shift,
    offset, zero, BLOCK: tl.constexpr,
):  # fmt: skip
    """time int8 or int16 ``[units * rank, memory]``, bias int32 ``[units]``, y int8 ``[P, rows, units]``, rows vectors and batches."""
    i = elements(BLOCK)
    live = i < total
    u, row = i % units, i // units
    filters = units * rank
    after_ptr += row * memory * filters + u * rank
    p = row // rows
    time_ptr += p * time_pattern + u * rank * memory
    bias_ptr += p * bias_pattern
    total_sum = tl.load(bias_ptr + u).to(tl.int64)
    for r in range(rank):
        for m in range(memory):
            frame = tl.load(after_ptr + m * filters + r, mask=live, other=0).to(tl.int64) - zero
            total_sum += frame * tl.load(time_ptr + r * memory + m).to(tl.int64)
    y = limit(requantize_tflm(total_sum.to(tl.int32).to(tl.int64), multiplier, shift) + offset, -128, 127)
    tl.store(y_ptr + i, y.to(tl.int8), mask=live)


@computes("svdf", on=("s8",))
def svdf(step: Step) -> tuple[Value, ...]:
    """y and the frames after."""
    (x, before), p = step.operands, step.params
    names = "feature_weights", "feature_bias", "time_weights", "bias"
    y, after = (step.result(i, patterns=step.patterns(*names)) for i in range(2))
    (features, by), (folded, folded_by), (time, time_by), (bias, bias_by) = (step.table(n) for n in names)
    columns = after.total // p.memory
    block, grid = flat(step, columns)
    step.device.launch(
        svdf_frames, grid, x.data, before.data, features, folded, after.data, columns, y.vectors, p.batches, p.filters,
        p.memory, p.in_c, *x.steps, *before.steps, by, folded_by, p.x_multiplier, p.x_shift, p.state_zero, 32768 if p.words else 128,
        BLOCK=block,
    )  # fmt: skip
    block, grid = flat(step, y.total)
    step.device.launch(
        svdf_units, grid, after.data, time, bias, y.data, y.total, p.filters // p.rank, p.rank, p.memory,
        y.vectors * p.batches, time_by, bias_by, p.y_multiplier, p.y_shift, p.out_offset, p.state_zero, BLOCK=block,
    )  # fmt: skip
    return y, after
