"""TensorFlow Lite Micro's operators on frames of samples: twin of edgeq.ops.frames."""

import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.cache import row_at
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.law import saturate
from edgeq.run.gpu.kernels.spectrum import bits_of
from edgeq.run.gpu.step import Step, Value


@kernel()
def frame_products(x_ptr, weights_ptr, y_ptr, total, length, shift, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    x = tl.load(x_ptr + i, mask=live, other=0).to(tl.int64)
    y = saturate((x * tl.load(weights_ptr + i % length).to(tl.int64)) >> tl.cast(shift, tl.int64))
    tl.store(y_ptr + i, y.to(tl.int16), mask=live)


@computes("frame_window", on=("s16",))
def frame_window(step: Step) -> tuple[Value, ...]:
    """Samples times weights."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    step.device.launch(frame_products, grid, x.data, step.table("weights")[0], y.data, y.total, p.length, p.shift, BLOCK=block)
    return (y,)


@kernel()
def frame_shifts(x_ptr, y_ptr, bits_ptr, total, size, BLOCK: tl.constexpr):
    """A frame per thread."""
    i = elements(BLOCK)
    live = i < total
    largest = tl.zeros((BLOCK,), tl.int64)
    for k in range(size):
        x = tl.load(x_ptr + i * size + k, mask=live, other=0).to(tl.int64)
        largest = tl.where(x > largest, x, tl.where(-x > largest, (-x).to(tl.int16).to(tl.int64), largest))
    bits = tl.where(largest > 0, 15 - bits_of(tl.maximum(largest, 0)), 0)
    for k in range(size):
        x = tl.load(x_ptr + i * size + k, mask=live, other=0).to(tl.int64)
        tl.store(y_ptr + i * size + k, (x << bits).to(tl.int16), mask=live)
    tl.store(bits_ptr + i, bits.to(tl.int32), mask=live)


@computes("auto_scale", on=("s16",))
def auto_scale(step: Step) -> tuple[Value, ...]:
    """Frames with a common exponent, and its bits."""
    x, y, bits = step.operands[0], step.result(), step.result(1)
    block, grid = flat(step, bits.total)
    step.device.launch(frame_shifts, grid, x.data, y.data, bits.data, bits.total, x.size, BLOCK=block)
    return y, bits


@kernel()
def energies(x_ptr, y_ptr, total, bins, start, end, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    wanted = live & (i % bins >= start) & (i % bins < end)
    re = tl.load(x_ptr + 2 * i, mask=wanted, other=0).to(tl.int64)
    im = tl.load(x_ptr + 2 * i + 1, mask=wanted, other=0).to(tl.int64)
    tl.store(y_ptr + i, (re * re + im * im).to(tl.int32), mask=live)


@computes("spectrum_energy", on=("s16_s32",))
def spectrum_energy(step: Step) -> tuple[Value, ...]:
    """Squared magnitudes."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    step.device.launch(energies, grid, x.data, y.data, y.total, p.bins, p.start, p.end, BLOCK=block)
    return (y,)


@kernel()
def overlapped(
    x_ptr, before_ptr, y_ptr, after_ptr, total, rows, frames, size, step, vectors,
    x_pattern, x_vector, before_pattern, before_vector, BLOCK: tl.constexpr,
):  # fmt: skip
    """A sum per thread, of those that are complete and those that go on, in the order of the frames."""
    i = elements(BLOCK)
    live = i < total
    done = frames * step
    row, t = i // (done + size), i % (done + size)
    own, inner = row // rows, row % rows
    x_ptr += row_at(own, vectors, x_pattern, x_vector) + inner * frames * size
    before_ptr += row_at(own, vectors, before_pattern, before_vector) + inner * size
    y = tl.load(before_ptr + t, mask=live & (t < size), other=0).to(tl.int64)
    for frame in range(frames):
        at = t - frame * step
        inside = live & (at >= 0) & (at < size)
        y = saturate(y + tl.load(x_ptr + frame * size + at, mask=inside, other=0).to(tl.int64))
    tl.store(y_ptr + row * done + t, y.to(tl.int16), mask=live & (t < done))
    tl.store(after_ptr + row * size + t - done, y.to(tl.int16), mask=live & (t >= done))


@computes("overlap_add", on=("s16",))
def overlap_add(step: Step) -> tuple[Value, ...]:
    """Complete sums, and those that go on."""
    (x, before), p, y, after = step.operands, step.params, step.result(), step.result(1)
    total = y.total + after.total
    block, grid = flat(step, total)
    sizes = total, p.rows, p.frames, p.size, p.step, y.vectors, *x.steps, *before.steps
    step.device.launch(overlapped, grid, x.data, before.data, y.data, after.data, *sizes, BLOCK=block)
    return y, after


@kernel()
def counted(x_ptr, y_ptr, reached_ptr, total, step, least, most, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    y = tl.minimum(tl.load(x_ptr + i, mask=live, other=0).to(tl.int64) + step, most)
    tl.store(y_ptr + i, y.to(tl.int32), mask=live)
    tl.store(reached_ptr + i, (y >= least).to(tl.int8), mask=live)


@computes("frame_count", on=("s32",))
def frame_count(step: Step) -> tuple[Value, ...]:
    """A number counted up, and whether it is enough."""
    x, p, y, reached = step.operands[0], step.params, step.result(), step.result(1)
    block, grid = flat(step, y.total)
    step.device.launch(counted, grid, x.data, y.data, reached.data, y.total, p.step, p.least, p.most, BLOCK=block)
    return y, reached


@kernel()
def stacked(
    x_ptr, before_ptr, seen_ptr, y_ptr, valid_ptr, after_ptr, total, size, window, left, step, vectors,
    x_pattern, x_vector, before_pattern, before_vector, seen_pattern, seen_vector, BLOCK: tl.constexpr,
):  # fmt: skip
    """An element of a stack per thread; the first of each stack counts."""
    i = elements(BLOCK)
    live = i < total
    own, at, last = i // (window * size), i % (window * size), (window - 1) * size
    seen = tl.load(seen_ptr + row_at(own, vectors, seen_pattern, seen_vector), mask=live, other=0).to(tl.int64)
    new = (at >= last) | ((seen == 0) & (at >= last - left * size))
    x = tl.load(x_ptr + row_at(own, vectors, x_pattern, x_vector) + at % size, mask=live & new, other=0)
    old = tl.load(before_ptr + row_at(own, vectors, before_pattern, before_vector) + at + size, mask=live & (at < last), other=0)
    tl.store(y_ptr + i, tl.where(new, x, old), mask=live)
    count = tl.where(seen == 0, left + 1, seen)
    valid = count >= window
    tl.store(valid_ptr + own, valid.to(tl.int8), mask=live & (at == 0))
    tl.store(after_ptr + own, (tl.where(valid, count - step, count) + 1).to(tl.int32), mask=live & (at == 0))


@computes("frame_stack", on=("s16",))
def frame_stack(step: Step) -> tuple[Value, ...]:
    """The last frames, whether they count, and how many are new."""
    (x, before, seen), p, y = step.operands, step.params, step.result()
    valid, after = step.result(1), step.result(2)
    block, grid = flat(step, y.total)
    operands = x.data, before.data, seen.data, y.data, valid.data, after.data
    sizes = y.total, p.size, p.window, p.left, p.step, y.vectors, *x.steps, *before.steps, *seen.steps
    step.device.launch(stacked, grid, *operands, *sizes, BLOCK=block)
    return y, valid, after
