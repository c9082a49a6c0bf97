"""Device functions of the integer law: twins of edgeq.numerics and of edgeq.ops.linear.rescaled, in int64 where those are."""

import triton
import triton.language as tl

INT32_MAX = tl.constexpr(2**31 - 1)


@triton.jit
def power_of_two(n):
    """2^n, int64."""
    return tl.full((), 1, tl.int64) << tl.cast(n, tl.int64)


@triton.jit
def doubling_high_mul(a, b):
    """gemmlowp's SRDHM of int32 values, int64."""
    return tl.minimum((tl.cast(a, tl.int64) * b + (1 << 30)) >> 31, INT32_MAX)


@triton.jit
def divide_by_pot(x, exponent):
    """x / 2^exponent, halves away from zero."""
    x = tl.cast(x, tl.int64)
    e = tl.cast(exponent, tl.int64)
    return (x + (power_of_two(e) >> 1) - tl.where((x < 0) & (e > 0), 1, 0)) >> e


@triton.jit
def requantize_tflm(x, multiplier, right):
    """MultiplyByQuantizedMultiplier with the shift negated: int64."""
    right = tl.cast(right, tl.int64)
    up = tl.cast(x, tl.int64) << tl.maximum(-right, 0)
    return divide_by_pot(doubling_high_mul(up, multiplier), tl.maximum(right, 0))


@triton.jit
def rescale(x, multiplier, shift, left, SINGLE: tl.constexpr):
    """An accumulator by the tables ``multiplier`` and ``shift`` of a layer, before offset and limits: int64. It wraps as int32 does."""
    if SINGLE:
        s = 32 - left + tl.cast(shift, tl.int64)
        x = (tl.cast(x, tl.int64) << tl.cast(left, tl.int64)).to(tl.int32) >> left
        y = (x.to(tl.int64) * tl.cast(multiplier, tl.int64) + power_of_two(s - 1)) >> s
    else:
        y = requantize_tflm(tl.cast(x, tl.int32), multiplier, shift)
    return y


@triton.jit
def limit(y, low, high):
    return tl.minimum(tl.maximum(y, low), high)


@triton.jit
def saturate(y):
    """To int16."""
    return limit(y, -32768, 32767)


@triton.jit
def two_over_one_plus_x(a):
    """2 / (1 + x) for Q0.31 x in [0, 1): three Newton steps; Q2.29."""
    half = (tl.cast(a, tl.int64) + 2147483648) >> 1
    x = 1515870810 + doubling_high_mul(half, -1010580540)
    for _ in tl.static_range(3):
        step = doubling_high_mul(x, (1 << 29) - doubling_high_mul(half, x)) << 2
        x = x + limit(step, -2147483648, INT32_MAX)
    return x


@triton.jit
def one_over_one_plus_x(a):
    """gemmlowp's 1 / (1 + x) for Q0.31 x in [0, 1); Q0.31."""
    return tl.minimum(two_over_one_plus_x(a) << 1, INT32_MAX)


@triton.jit
def skip_zeros(n, x, STEP: tl.constexpr):
    """n + STEP and x shifted, where the highest STEP bits of the 32 are zero."""
    zero = (x >> (32 - STEP)) == 0
    return tl.where(zero, n + STEP, n), tl.where(zero, x << STEP, x)


@triton.jit
def leading_zeros(x):
    """Of x as 32 bits, 0 < x < 2^31; x int64."""
    n, x = skip_zeros(x * 0, x, 16)
    n, x = skip_zeros(n, x, 8)
    n, x = skip_zeros(n, x, 4)
    n, x = skip_zeros(n, x, 2)
    n, x = skip_zeros(n, x, 1)
    return n


@triton.jit
def interpolate(table_ptr, x, BITS: tl.constexpr):
    """The table of sigmoid at abs(x) / 2^BITS in Q0.(16 + BITS), as far as its last interval reaches; x int64."""
    a = tl.minimum(tl.abs(x), (255 << BITS) - 1)
    at = a >> BITS
    low = tl.load(table_ptr + at).to(tl.int64)
    high = tl.load(table_ptr + at + 1).to(tl.int64)
    return (low << BITS) + (a & ((1 << BITS) - 1)) * (high - low)


@triton.jit
def sigmoid_q15(table_ptr, x):
    """TFLM's int16 logistic: x in units of 2^-12 / 3 -> Q0.15."""
    y = interpolate(table_ptr, x, 9)
    return tl.where(x < 0, (1 << 25) - y + (1 << 9) - 1, y + (1 << 9)) >> 10


@triton.jit
def tanh_q15(table_ptr, x):
    """TFLM's int16 tanh: x in units of 2^-12 / 3 -> Q0.15."""
    y = interpolate(table_ptr, x, 8) - (1 << 23)
    return tl.where(x < 0, (1 << 7) - 1 - y, y + (1 << 7)) >> 8


@triton.jit
def scale_by_pot(x, bits, SINGLE: tl.constexpr):
    """x / 2^bits by a law's rounding of that ratio."""
    return (x + (power_of_two(bits) >> 1)) >> tl.cast(bits, tl.int64) if SINGLE else divide_by_pot((x + 1) >> 1, bits - 1)
