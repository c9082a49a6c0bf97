"""TensorFlow Lite Micro's filter banks: twin of edgeq.ops.filter_bank. Unsigned numbers of 32 bits are stored in int32."""

import triton
import triton.language as tl

from edgeq.ops.filter_bank import LN2, LOG_SEGMENTS, PCAN_BITS, SNR_BITS
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.cache import row_at
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.law import limit
from edgeq.run.gpu.kernels.spectrum import bits_of
from edgeq.run.gpu.step import Step, Value

LOG_2, LAST_SEGMENT = tl.constexpr(LN2), tl.constexpr(LOG_SEGMENTS)
STRAIGHT, SQUARED = tl.constexpr(SNR_BITS - PCAN_BITS), tl.constexpr(2 + 2 * SNR_BITS - PCAN_BITS)  # right shifts of a ratio and its square
TWO, ONE = tl.constexpr(2 << SNR_BITS), tl.constexpr(1 << PCAN_BITS)
WORD = tl.constexpr(2**32 - 1)


@triton.jit
def unsigned(x):
    """int32 as the number of its bits, int64."""
    return x.to(tl.int64) & WORD


@triton.jit
def wrapped(x):
    """int64 modulo 2^32 as a signed number."""
    return x.to(tl.int32).to(tl.int64)


@triton.jit
def band(x_ptr, weights_ptr, starts_ptr, places_ptr, widths_ptr, at, live):
    """The weighted sum of a band, modulo 2^64."""
    width = tl.load(widths_ptr + at, mask=live, other=0).to(tl.int32)
    x_ptr += tl.load(starts_ptr + at, mask=live, other=0).to(tl.int64)
    weights_ptr += tl.load(places_ptr + at, mask=live, other=0).to(tl.int64)
    total = at * 0
    for j in range(tl.max(width, axis=0)):
        inside = live & (j < width)
        x = unsigned(tl.load(x_ptr + j, mask=inside, other=0))
        total += x * tl.load(weights_ptr + j, mask=inside, other=0).to(tl.int64)
    return total


@kernel()
def banks(
    x_ptr, weights_ptr, unweights_ptr, starts_ptr, places_ptr, widths_ptr, y_ptr, total, channels, size, BLOCK: tl.constexpr
):  # fmt: skip
    """A channel per thread: what the band before leaves to it, and its own."""
    i = elements(BLOCK)
    live = i < total
    at = i % channels
    x_ptr += i // channels * size
    y = band(x_ptr, unweights_ptr, starts_ptr, places_ptr, widths_ptr, at, live)
    y += band(x_ptr, weights_ptr, starts_ptr, places_ptr, widths_ptr, at + 1, live)
    tl.store(y_ptr + 2 * i, y.to(tl.int32), mask=live)
    tl.store(y_ptr + 2 * i + 1, (y >> 32).to(tl.int32), mask=live)


@computes("filter_bank", on=("s32",))
def filter_bank(step: Step) -> tuple[Value, ...]:
    """Energies to channels, two words each."""
    x, p, y = step.operands[0], step.params, step.result()
    total = y.total // 2
    block, grid = flat(step, total)
    tables = [step.table(n)[0] for n in ("weights", "unweights", "starts", "places", "widths")]
    step.device.launch(banks, grid, x.data, *tables, y.data, total, p.channels, x.size, BLOCK=block)
    return (y,)


@kernel()
def bank_roots(x_ptr, bits_ptr, y_ptr, total, channels, vectors, x_pattern, x_vector, bits_pattern, bits_vector, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    own = i // channels
    x_ptr += row_at(own, vectors, x_pattern, x_vector) + i % channels * 2
    low = unsigned(tl.load(x_ptr, mask=live, other=0)).to(tl.uint64)
    high = unsigned(tl.load(x_ptr + 1, mask=live, other=0)).to(tl.uint64)
    x = (high << 32) | low
    root = tl.minimum(tl.sqrt(x.to(tl.float64)), 4294967295.0).to(tl.int64).to(tl.uint64)
    root -= (root * root > x).to(tl.uint64)
    root += ((x - root * root > root + root) & (root < WORD)).to(tl.uint64)
    cap = tl.where(high > 0, 4294967295, 65535).to(tl.uint64)
    root += ((x - root * root > root) & (root != cap)).to(tl.uint64)
    shift = tl.load(bits_ptr + row_at(own, vectors, bits_pattern, bits_vector), mask=live, other=0).to(tl.int64) & 31
    tl.store(y_ptr + i, (root.to(tl.int64) >> shift).to(tl.int32), mask=live)


@computes("filter_bank_root", on=("s32",))
def filter_bank_root(step: Step) -> tuple[Value, ...]:
    """Roots of two words, less some bits."""
    (x, bits), p, y = step.operands, step.params, step.result()
    block, grid = flat(step, y.total)
    step.device.launch(bank_roots, grid, x.data, bits.data, y.data, y.total, p.channels, y.vectors, *x.steps, *bits.steps, BLOCK=block)
    return (y,)


@kernel()
def subtraction(
    x_ptr, before_ptr, y_ptr, after_ptr, total, channels, vectors, x_pattern, x_vector, before_pattern, before_vector,
    even, odd, even_rest, odd_rest, least, bits, fraction, CLAMPING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    own, channel = i // channels, i % channels
    x = unsigned(tl.load(x_ptr + row_at(own, vectors, x_pattern, x_vector) + channel, mask=live, other=0))
    before = unsigned(tl.load(before_ptr + row_at(own, vectors, before_pattern, before_vector) + channel, mask=live, other=0))
    first, rest = unsigned(tl.where(channel % 2 == 0, even, odd)), unsigned(tl.where(channel % 2 == 0, even_rest, odd_rest))
    down = tl.cast(fraction, tl.uint64)
    scaled = (x << tl.cast(bits, tl.int64)) & WORD
    mean = scaled.to(tl.uint64) * first.to(tl.uint64) + before.to(tl.uint64) * rest.to(tl.uint64)
    noise = ((mean >> down) & WORD).to(tl.int64)
    taken = tl.minimum(noise, scaled)
    floor = ((x.to(tl.uint64) * unsigned(tl.cast(least, tl.int64)).to(tl.uint64) >> down) & WORD).to(tl.int64)
    y = tl.maximum((scaled - taken) >> tl.cast(bits, tl.int64), floor)
    tl.store(y_ptr + i, y.to(tl.int32), mask=live)
    tl.store(after_ptr + i, (taken if CLAMPING else noise).to(tl.int32), mask=live)


@computes("spectral_subtraction", on=("s32",))
def spectral_subtraction(step: Step) -> tuple[Value, ...]:
    """Signals less their noise, and the noise."""
    (x, before), p, y, after = step.operands, step.params, step.result(), step.result(1)
    block, grid = flat(step, y.total)
    sizes = y.total, p.channels, y.vectors, *x.steps, *before.steps
    numbers = p.even, p.odd, p.even_rest, p.odd_rest, p.least, p.bits, p.fraction
    operands = x.data, before.data, y.data, after.data
    step.device.launch(subtraction, grid, *operands, *sizes, *numbers, CLAMPING=bool(p.clamping), BLOCK=block)
    return y, after


@kernel()
def gains_of(
    x_ptr, noise_ptr, gains_ptr, y_ptr, total, size, vectors, x_pattern, x_vector, noise_pattern, noise_vector, shift, BLOCK: tl.constexpr
):
    i = elements(BLOCK)
    live = i < total
    own, channel = i // size, i % size
    x = unsigned(tl.load(x_ptr + row_at(own, vectors, x_pattern, x_vector) + channel, mask=live, other=0))
    noise = unsigned(tl.load(noise_ptr + row_at(own, vectors, noise_pattern, noise_vector) + channel, mask=live, other=0))
    quiet = noise <= 2
    octave = bits_of(tl.maximum(noise, 3))
    part = tl.where(octave < 11, noise << tl.maximum(11 - octave, 0), noise >> tl.maximum(octave - 11, 0)) & 1023
    gains_ptr += tl.where(quiet, noise, 4 * octave - 6)
    first = tl.load(gains_ptr, mask=live, other=0).to(tl.int64)
    second = tl.load(gains_ptr + 1, mask=live & (quiet == 0), other=0).to(tl.int64)
    third = tl.load(gains_ptr + 2, mask=live & (quiet == 0), other=0).to(tl.int64)
    slope = wrapped(((third * part) >> 5) + (second << 5))
    curve = ((wrapped(slope * part) + (1 << 14)) >> 15) + first
    gain = unsigned(tl.where(quiet, first, curve.to(tl.int16).to(tl.int64)))
    ratio = ((x.to(tl.uint64) * gain.to(tl.uint64)) >> tl.cast(shift, tl.uint64)) & WORD
    small = ((ratio * ratio) & WORD) >> SQUARED
    large = (ratio >> STRAIGHT).to(tl.int64) - ONE
    y = tl.where(ratio < TWO, small.to(tl.int64), large)
    tl.store(y_ptr + i, y.to(tl.int32), mask=live)


@computes("filter_bank_pcan", on=("s32",))
def filter_bank_pcan(step: Step) -> tuple[Value, ...]:
    """Signals times gains for their noise."""
    (x, noise), p, y = step.operands, step.params, step.result()
    block, grid = flat(step, y.total)
    sizes = y.total, y.size, y.vectors, *x.steps, *noise.steps
    step.device.launch(gains_of, grid, x.data, noise.data, step.table("gains")[0], y.data, *sizes, p.shift, BLOCK=block)
    return (y,)


@kernel()
def bank_logarithms(x_ptr, segments_ptr, y_ptr, total, scale, bits, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    number = (unsigned(tl.load(x_ptr + i, mask=live, other=0)) << tl.cast(bits, tl.int64)) & WORD
    octave = bits_of(tl.maximum(number, 1)) - 1
    rest = number - ((number * 0 + 1) << octave)
    rest = tl.where(octave < 16, rest << tl.maximum(16 - octave, 0), rest >> tl.maximum(octave - 16, 0))
    at = limit(rest >> 9, 0, LAST_SEGMENT)
    low, high = tl.load(segments_ptr + at).to(tl.int64), tl.load(segments_ptr + at + 1).to(tl.int64)
    octaves = (octave << 16) + rest + low + (((high - low) * (rest - (at << 9))) >> 16)
    natural = ((LOG_2 * octaves + 32768) >> 16) * tl.cast(scale, tl.int64) + 32768
    y = tl.where(number > 1, tl.minimum((natural & WORD) >> 16, 32767), 0)
    tl.store(y_ptr + i, y.to(tl.int16), mask=live)


@computes("filter_bank_log", on=("s32_s16",))
def filter_bank_log(step: Step) -> tuple[Value, ...]:
    """Levels to logarithms."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    step.device.launch(bank_logarithms, grid, x.data, step.table("segments")[0], y.data, y.total, p.scale, p.bits, BLOCK=block)
    return (y,)
