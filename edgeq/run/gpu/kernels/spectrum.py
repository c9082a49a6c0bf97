"""Windows, levels of bands, cosine transforms and energy normalization: twin of edgeq.ops.spectrum and energy_normalization."""

import triton
import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes, halves
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.law import limit, power_of_two
from edgeq.run.gpu.step import Step, Value

MODES = {"linear": 0, "max": 1, "add": 2}


@triton.jit
def bits_of(x):
    """How many bits a non-negative int64 below 2^62 needs; 0 of 0."""
    n = x * 0
    for k in tl.static_range(6):
        above = (x >> (32 >> k)) > 0
        n, x = tl.where(above, n + (32 >> k), n), tl.where(above, x >> (32 >> k), x)
    return n + x


@triton.jit
def between(table_ptr, x, BITS: tl.constexpr):
    """A table at x / 2^BITS, straight lines in between."""
    low = tl.load(table_ptr + (x >> BITS)).to(tl.int64)
    high = tl.load(table_ptr + (x >> BITS) + 1).to(tl.int64)
    return low + (((high - low) * (x & ((1 << BITS) - 1))) >> BITS)


@triton.jit
def octaves_of(x, table_ptr):
    """log2 of a non-negative int64 in Q16; of 0 that of 1."""
    octave = tl.maximum(bits_of(x) - 1, 0)
    part = tl.where(octave > 16, x >> tl.maximum(octave - 16, 0), x << tl.maximum(16 - octave, 0)) & 65535
    return (octave << 16) + between(table_ptr, part, 10)


@triton.jit
def softly(apart, table_ptr):
    """How far log2(2^a + 2^b) lies above the larger one."""
    return between(table_ptr, tl.minimum(apart, (20 << 16) - 1), 13)


@triton.jit
def power_of(octaves, table_ptr):
    """2^octaves, rounded down; 0 below 1."""
    whole = octaves >> 16
    value = between(table_ptr, octaves & 65535, 10)
    return (value << limit(whole - 30, 0, 32)) >> limit(30 - whole, 0, 62)


@triton.jit
def square_root(x):
    """Of 32 bits, to nearest, at most 65535."""
    root = tl.sqrt(x.to(tl.float64)).to(tl.int64)
    root -= tl.where(root * root > x, 1, 0)
    root += tl.where((root + 1) * (root + 1) <= x, 1, 0)
    return root + tl.where((x - root * root > root) & (root < 65535), 1, 0)


@kernel()
def window_floats(x_ptr, weights_ptr, y_ptr, total, rows, each, length, step, start, HALF: tl.constexpr, BLOCK: tl.constexpr):
    """Of each vector's `each` samples, `rows` rows that begin at start, start + step, ..."""
    i = elements(BLOCK)
    live = i < total
    row = i // length
    x_ptr += row // rows * each + row % rows * step + start + i % length
    y = tl.load(x_ptr, mask=live, other=0.0).to(tl.float32) * tl.load(weights_ptr + i % length)
    tl.store(y_ptr + i, halves.from_float(y) if HALF else y, mask=live)


@kernel()
def window_block(
    x_ptr, weights_ptr, y_ptr, shifts_ptr, total, rows, each, length, step, start, bits, BLOCK: tl.constexpr,
):  # fmt: skip
    """A row per thread."""
    i = elements(BLOCK)
    live = i < total
    x_ptr += i // rows * each + i % rows * step + start
    loudest = tl.zeros((BLOCK,), tl.int64)
    for k in range(length):
        x = tl.load(x_ptr + k, mask=live, other=0).to(tl.int64)
        loudest = tl.maximum(loudest, x ^ (x >> 63))
    shift = bits - bits_of(loudest)
    tl.store(shifts_ptr + i, shift.to(tl.int32), mask=live)
    for k in range(length):
        x = tl.load(x_ptr + k, mask=live, other=0).to(tl.int64) << shift
        tl.store(y_ptr + i * length + k, ((x * tl.load(weights_ptr + k).to(tl.int64)) >> 32).to(tl.int32), mask=live)


@computes("apply_window", on=("f32", "f16", "s16_s32"))
def apply_window(step: Step) -> tuple[Value, ...]:
    """Frames times weights."""
    x, p, y, weights = step.operands[0], step.params, step.result(), step.table("weights")[0]
    each = x.total // (y.total // (p.rows * p.length))
    place = p.rows, each, p.length, p.step if p.framed else p.length, p.start
    if "bits" not in p.scalars:
        block, grid = flat(step, y.total)
        step.device.launch(window_floats, grid, x.data, weights, y.data, y.total, *place, HALF=step.half, BLOCK=block)
        return (y,)
    shifts, rows = step.result(1), y.total // p.length
    block, grid = flat(step, rows)
    step.device.launch(window_block, grid, x.data, weights, y.data, shifts.data, rows, *place, p.bits, BLOCK=block)
    return y, shifts


@kernel()
def bands_floats(
    x_ptr, starts_ptr, counts_ptr, firsts_ptr, weights_ptr, constants_ptr, y_ptr, total, bands, width,
    POWER: tl.constexpr, MODE: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A band per thread; its weights begin at firsts int32."""
    i = elements(BLOCK)
    live = i < total
    band = i % bands
    x_ptr += i // bands * width + 2 * tl.load(starts_ptr + band, mask=live, other=0).to(tl.int64)
    weights_ptr += tl.load(firsts_ptr + band, mask=live, other=0)
    count = tl.load(counts_ptr + band, mask=live, other=0).to(tl.int32)
    v = tl.zeros((BLOCK,), tl.float32)
    for j in range(tl.max(count, axis=0)):
        inside = live & (j < count)
        re = tl.load(x_ptr + 2 * j, mask=inside, other=0.0).to(tl.float32)
        im = tl.load(x_ptr + 2 * j + 1, mask=inside, other=0.0).to(tl.float32)
        energy = re * re + im * im
        energy = halves.sqrt(energy) if POWER == 1 else energy
        v = tl.where(inside, v + tl.load(weights_ptr + j, mask=inside, other=0.0) * energy, v)
    if MODE > 0:
        floor, factor, offset = tl.load(constants_ptr), tl.load(constants_ptr + 1), tl.load(constants_ptr + 2)
        limited = tl.where(v > floor, v, floor) if MODE == 1 else v + floor
        v = halves.log(limited) * factor + offset
    tl.store(y_ptr + i, halves.from_float(v) if HALF else v, mask=live)


@kernel()
def bands_block(
    x_ptr, shifts_ptr, starts_ptr, counts_ptr, firsts_ptr, weights_ptr, multipliers_ptr, downs_ptr, octaves_ptr, logarithms_ptr,
    soft_ptr, y_ptr, total, bands, width, floor, multiplier, down, zero, least, most,
    POWER: tl.constexpr, MODE: tl.constexpr, OCTAVES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A band per thread: normalized, summed up, and its level looked up."""
    i = elements(BLOCK)
    live = i < total
    band = i % bands
    x_ptr += i // bands * width + 2 * tl.load(starts_ptr + band, mask=live, other=0).to(tl.int64)
    weights_ptr += tl.load(firsts_ptr + band, mask=live, other=0)
    count = tl.load(counts_ptr + band, mask=live, other=0).to(tl.int32)
    loudest = tl.zeros((BLOCK,), tl.int64)
    for j in range(2 * tl.max(count, axis=0)):
        x = tl.load(x_ptr + j, mask=live & (j < 2 * count), other=0).to(tl.int64)
        loudest = tl.maximum(loudest, x ^ (x >> 63))
    k = 30 - bits_of(loudest)
    sum_ = tl.zeros((BLOCK,), tl.int64)
    for j in range(tl.max(count, axis=0)):
        inside = live & (j < count)
        re = tl.load(x_ptr + 2 * j, mask=inside, other=0).to(tl.int64) << k
        im = tl.load(x_ptr + 2 * j + 1, mask=inside, other=0).to(tl.int64) << k
        energy = ((re * re) >> 32) + ((im * im) >> 32)
        energy = square_root(energy) if POWER == 1 else energy
        sum_ += energy * tl.load(weights_ptr + j, mask=inside, other=0).to(tl.int64)
    exponent = POWER * (k + tl.load(shifts_ptr + i // bands, mask=live, other=0).to(tl.int64) - 2)
    if MODE == 0:
        more = tl.maximum(bits_of(sum_) - 31, 0)
        n = tl.load(downs_ptr + band, mask=live, other=0).to(tl.int64) - more + exponent
        product = (sum_ >> more) * tl.load(multipliers_ptr + band, mask=live, other=0).to(tl.int64)
        near = limit(n, 1, 62)
        y = tl.minimum((product + power_of_two_of(near - 1)) >> near, 1 << 20)
        y = tl.where((n > 62) | (product == 0), 0, tl.where(n < 1, 1 << 20, y))
    else:
        level = octaves_of(sum_, logarithms_ptr) - (exponent << 16) + tl.load(octaves_ptr + band, mask=live, other=0).to(tl.int64)
        level = tl.where(sum_ > 0, level, floor)
        y = tl.maximum(level, floor)
        if MODE == 2:
            y = tl.where(sum_ > 0, y + softly(tl.abs(level - floor), soft_ptr), y)
        if not OCTAVES:
            y = (y * tl.cast(multiplier, tl.int64) + power_of_two(down - 1)) >> tl.cast(down, tl.int64)
    y = y if OCTAVES else limit(y + zero, least, most)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=live)


@triton.jit
def power_of_two_of(n):
    """2^n of each."""
    return (n * 0 + 1) << n


@computes("band_levels", on=("f32", "f16", "s32", "s32_s16", "s32_s8"))
def band_levels(step: Step) -> tuple[Value, ...]:
    """Spectra to levels of bands."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    first = step.constant("firsts", lambda: (p.counts.astype("i4").cumsum() - p.counts).astype("i4"))
    starts, counts, weights = (step.table(n)[0] for n in ("starts", "counts", "weights"))
    fixed = {"POWER": p.power, "MODE": MODES[p.mode], "BLOCK": block}
    if "constants" in p.tables:
        operands = x.data, starts, counts, first, weights, step.table("constants")[0], y.data
        step.device.launch(bands_floats, grid, *operands, y.total, p.bands, p.width, HALF=step.half, **fixed)
        return (y,)
    tables = [step.table(n)[0] if n in p.tables else counts for n in ("multipliers", "shifts", "octaves", "logarithms", "soft")]
    numbers = [int(p.scalars.get(n, 1)) for n in ("floor", "multiplier", "shift", "zero", "least", "most")]
    operands = x.data, step.operands[1].data, starts, counts, first, weights, *tables, y.data
    step.device.launch(bands_block, grid, *operands, y.total, p.bands, p.width, *numbers, OCTAVES="zero" not in p.scalars, **fixed)
    return (y,)


@kernel()
def cosines(
    x_ptr, weights_ptr, y_ptr, total, depth, count, shift, zero, least, most, REAL: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr
):
    i = elements(BLOCK)
    live = i < total
    x_ptr += i // count * depth
    weights_ptr += i % count * depth
    y = tl.zeros((BLOCK,), tl.float32 if REAL else tl.int64)
    for k in range(depth):
        x, w = tl.load(x_ptr + k, mask=live, other=0), tl.load(weights_ptr + k, mask=live, other=0)
        y += x.to(tl.float32) * w if REAL else x.to(tl.int64) * w.to(tl.int64)
    if REAL:
        tl.store(y_ptr + i, halves.from_float(y) if HALF else y, mask=live)
    else:
        y = limit(((y + power_of_two(shift - 1)) >> tl.cast(shift, tl.int64)) + zero, least, most)
        tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=live)


@computes("cosine_transform", on=("f32", "f16", "s16", "s16_s8"))
def cosine_transform(step: Step) -> tuple[Value, ...]:
    """Levels to coefficients."""
    x, p, y = step.operands[0], step.params, step.result()
    block, grid = flat(step, y.total)
    numbers = [int(p.scalars.get(n, 1)) for n in ("shift", "zero", "least", "most")]
    fixed = {"REAL": "shift" not in p.scalars, "HALF": step.half, "BLOCK": block}
    step.device.launch(cosines, grid, x.data, step.table("weights")[0], y.data, y.total, p.depth, p.count, *numbers, **fixed)
    return (y,)


@triton.jit
def part_of(x, share):
    """x * share / 2^31, rounded down; x is not negative."""
    return (x >> 31) * share + (((x & 2147483647) * share) >> 31)


@kernel()
def normalization_floats(
    x_ptr, before_ptr, constants_ptr, y_ptr, after_ptr, total, channels, rows, vectors, pattern, vector, BLOCK: tl.constexpr
):
    """A channel of a vector per thread."""
    i = elements(BLOCK)
    live = i < total
    own, channel = i // channels, i % channels
    mean = tl.load(before_ptr + own // vectors * pattern + own % vectors * vector + channel, mask=live, other=0.0)
    c = constants_ptr
    mean = tl.where(mean == 0.0, tl.load(c + 2), mean)
    for row in range(rows):
        at = (own * rows + row) * channels + channel
        x = tl.load(x_ptr + at, mask=live, other=0.0)
        mean = tl.load(c + 1) * mean + tl.load(c) * x
        mean = tl.where(mean < 1.1754943508222875e-38, 1.1754943508222875e-38, mean)
        gain = halves.exp(halves.log(mean + tl.load(c + 3)) * tl.load(c + 4))
        y = halves.exp(halves.log(x * gain + tl.load(c + 5)) * tl.load(c + 6)) - tl.load(c + 7)
        tl.store(y_ptr + at, y, mask=live)
    tl.store(after_ptr + i, mean, mask=live)


@kernel()
def normalization_octaves(
    x_ptr, before_ptr, powers_ptr, logarithms_ptr, soft_ptr, y_ptr, after_ptr, total, channels, rows, vectors, pattern, vector,
    start_high, start_low, share, gain, bias, power, less, eps_high, eps_low, multiplier, shift, zero, least, most, BLOCK: tl.constexpr,
):  # fmt: skip
    i = elements(BLOCK)
    live = i < total
    own, channel = i // channels, i % channels
    before_ptr += own // vectors * pattern + own % vectors * vector + 2 * channel
    start = (tl.cast(start_high, tl.int64) << 32) + (tl.cast(start_low, tl.int64) << 1)
    eps = (tl.cast(eps_high, tl.int64) << 31) + eps_low
    low = tl.load(before_ptr, mask=live, other=0).to(tl.int64) & 4294967295
    mean = (tl.load(before_ptr + 1, mask=live, other=0).to(tl.int64) << 32) + low + start
    mean = limit(mean, 0, power_of_two(62))
    for row in range(rows):
        at = (own * rows + row) * channels + channel
        level = tl.minimum(tl.load(x_ptr + at, mask=live, other=0).to(tl.int64), 22 << 16)
        mean += part_of(power_of(level + (40 << 16), powers_ptr), share) - part_of(mean, share)
        octaves = octaves_of(mean + eps, logarithms_ptr) - (40 << 16)
        ratio = level - ((octaves * gain) >> 16)
        summed = tl.maximum(ratio, bias) + softly(tl.abs(ratio - bias), soft_ptr)
        limited = tl.minimum((summed * power) >> 16, 20 << 16)
        above = power_of(limited + (20 << 16), powers_ptr) - less
        y = limit(((above * tl.cast(multiplier, tl.int64) + power_of_two(shift - 1)) >> tl.cast(shift, tl.int64)) + zero, least, most)
        tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=live)
    kept = mean - start
    tl.store(after_ptr + 2 * i, kept.to(tl.int32), mask=live)
    tl.store(after_ptr + 2 * i + 1, (kept >> 32).to(tl.int32), mask=live)


@computes("energy_normalization", on=("f32", "s32_s16", "s32_s8"))
def energy_normalization(step: Step) -> tuple[Value, ...]:
    """Levels, and the means that go on."""
    (x, before), p, y, after = step.operands, step.params, step.result(), step.result(1)
    total = y.total // p.rows
    block, grid = flat(step, total)
    sizes = total, p.channels, p.rows, y.vectors, *before.steps
    if "share" not in p.scalars:
        operands = x.data, before.data, step.table("constants")[0], y.data, after.data
        step.device.launch(normalization_floats, grid, *operands, *sizes, BLOCK=block)
        return y, after
    tables = [step.table(n)[0] for n in ("powers", "logarithms", "soft")]
    first = [p.scalars[n] for n in ("start_high", "start_low", "share", "gain", "bias", "power", "less")]
    last = [p.scalars[n] for n in ("multiplier", "shift", "zero", "least", "most")]
    numbers = [*first, p.eps >> 31, p.eps & 2**31 - 1, *last]
    step.device.launch(normalization_octaves, grid, x.data, before.data, *tables, y.data, after.data, *sizes, *numbers, BLOCK=block)
    return y, after
