"""The arithmetic law: fixed-point requantization, bit for bit.

Twin of `templates/runtime/eq_numerics.h`; every function here that has a C twin has its name
without the `eq_` prefix. Arrays may have any shape; multiplier and shift broadcast against them.

Two requantization laws exist (docs/arithmetic.md): ``single`` rounds once, to nearest, ties toward
+inf; ``tflm`` is TensorFlow Lite Micro's double rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq import reals
from edgeq.errors import EdgeqError

LAWS = ("single", "tflm")
INT32_MAX = 2**31 - 1
Array = NDArray[Any]


def quantize_multiplier(ratio: float) -> tuple[int, int]:
    """Split a positive real ratio into ``(M, shift)`` with ``ratio ~ M * 2**(shift - 31)``.

    M is in [2^30, 2^31); a ratio below 2^-32 gives (0, -31): everything becomes 0, as in TFLM.

    Raises:
        EdgeqError: the ratio is not finite, negative, or 2^29 and more.
    """
    if not (math.isfinite(ratio) and ratio >= 0):
        raise EdgeqError(f"a rescaling ratio of {ratio} cannot be represented", fix="check the scales of this layer")
    mantissa, exponent = math.frexp(ratio)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    if exponent < -31:
        return 0, -31
    if exponent > 29:
        raise EdgeqError(f"a rescaling ratio of {ratio} is too large", fix="check the scales of this layer")
    return multiplier, exponent


def quantize_multipliers(ratios: Array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`quantize_multiplier` over a vector of ratios: int32 multipliers and int32 shifts of its shape."""
    pairs = [quantize_multiplier(float(r)) for r in np.ravel(ratios)]
    shape = np.shape(ratios)
    multipliers = np.array([m for m, _ in pairs], np.int32).reshape(shape)
    return multipliers, np.array([s for _, s in pairs], np.int32).reshape(shape)


def requantize_single(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """Law ``single``: ``(x * M + 2^(s-1)) >> s`` with ``s = 31 - shift``; int64 result.

    x must fit int32. One rounding, to nearest, ties toward +inf.
    """
    s = 31 - np.asarray(shift, np.int64)
    result: Array = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    result = result + (np.int64(1) << (s - 1))
    result >>= s
    return result


def saturating_rounding_doubling_high_mul(a: Array, b: Array | int) -> Array:
    """gemmlowp's SRDHM: ``(a * b + 2^30) >> 31``, saturated for INT_MIN * INT_MIN; int64 result."""
    product: Array = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    product += 1 << 30
    product >>= 31
    return np.asarray(np.minimum(product, INT32_MAX))


def rounding_divide_by_pot(x: Array, exponent: Array | int) -> Array:
    """gemmlowp's RoundingDivideByPOT: divide by 2^exponent, round half away from zero; int64."""
    x = np.asarray(x, np.int64)
    e = np.asarray(exponent, np.int64)
    result: Array = x + ((np.int64(1) << e) >> 1)
    result -= (x < 0) & (e > 0)  # halves of negative numbers go down
    result >>= e
    return result


def requantize_tflm(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """Law ``tflm``: TFLM's MultiplyByQuantizedMultiplier (double rounding); int64 result."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    x = np.asarray(x, np.int64)
    high = saturating_rounding_doubling_high_mul(x << left if left.any() else x, multiplier)
    return rounding_divide_by_pot(high, right)


def requantize(law: str, x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """Requantize by the named law: ``x * M * 2^(shift - 31)`` rounded; int64 result."""
    return (requantize_single if law == "single" else requantize_tflm)(x, multiplier, shift)


_EXP_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)  # exp(-2^k), k = -2 ... 4, Q0.31


def _exp_on_quarter(a: Array) -> Array:
    """exp of a Q0.31 number in [-1/4, 0): a Taylor polynomial around -1/8."""
    mul = saturating_rounding_doubling_high_mul
    x = a + (1 << 28)
    x2 = mul(x, x)
    x3, x4 = mul(x2, x), mul(x2, x2)
    tail = rounding_divide_by_pot(mul(rounding_divide_by_pot(x4, 2) + x3, 715827883) + x2, 1)
    return np.asarray(1895147668 + mul(x + tail, 1895147668))


def exp_on_negative_values(a: Array, integer_bits: int) -> Array:
    """gemmlowp's exp of fixed-point numbers <= 0 with `integer_bits` integer bits; int64 result in Q0.31."""
    a = np.asarray(a, np.int64)
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    low = (a & (quarter - 1)) - quarter
    result = _exp_on_quarter(low << integer_bits)
    remainder = low - a
    for i in range(integer_bits + 2):
        taken = (remainder >> (fraction - 2 + i)) & 1
        result = np.where(taken, saturating_rounding_doubling_high_mul(result, _EXP_FACTORS[i]), result)
    return np.where(a == 0, INT32_MAX, result)


def _two_over_one_plus_x(a: Array) -> Array:
    """2 / (1 + x) for Q0.31 x in [0, 1): three Newton steps; int64 result in Q2.29."""
    mul = saturating_rounding_doubling_high_mul
    half = (np.asarray(a, np.int64) + INT32_MAX + 1) >> 1  # RoundingHalfSum of numbers >= 0
    x = 1515870810 + mul(half, -1010580540)
    for _ in range(3):
        x = x + np.clip(mul(x, (1 << 29) - mul(half, x)) << 2, -INT32_MAX - 1, INT32_MAX)
    return x


def one_over_one_plus_x(a: Array) -> Array:
    """gemmlowp's 1 / (1 + x) for Q0.31 x in [0, 1); int64 result in Q0.31."""
    return np.asarray(np.minimum(_two_over_one_plus_x(a) << 1, INT32_MAX))


def one_minus_x_over_one_plus_x(a: Array) -> Array:
    """gemmlowp's (1 - x) / (1 + x) for Q0.31 x in [0, 1); int64 result in Q0.31."""
    return np.asarray(np.minimum((_two_over_one_plus_x(a) - (1 << 29)) << 2, INT32_MAX))


_ROOT_HALF, _FOURTH_ROOT_HALF, _LOG_2 = 1518500250, 1805811301, 1488522236  # sqrt(1/2), its root, ln 2: Q0.31
_LOG_ROOM = 25  # fraction bits while a logarithm is summed up


def log_from_one(a: Array, integer_bits: int) -> Array:
    """TFLM's ln of fixed-point numbers > 0 with `integer_bits` integer bits; int64 result in Q5.26.

    The mantissa is brought near sqrt(sqrt(1/2)), where a quotient of two polynomials gives its logarithm; octaves are added.
    """
    mul = saturating_rounding_doubling_high_mul
    a = np.asarray(a, np.int64)
    lead = 32 - np.frexp(a.astype(np.float64))[1].astype(np.int64)
    head = 31 - np.frexp(mul(a, _ROOT_HALF).astype(np.float64))[1].astype(np.int64)
    r = np.minimum(np.minimum(mul(a << (lead - 1), _ROOT_HALF) << 1, INT32_MAX), np.minimum(a << head, INT32_MAX))
    quarter = 1 << (_LOG_ROOM - 2)
    octaves = np.maximum(((integer_bits - lead) << _LOG_ROOM) + quarter, ((integer_bits - head) << _LOG_ROOM) - quarter)
    p, q = (r + _FOURTH_ROOT_HALF + 1) >> 1, 2 * (r - _FOURTH_ROOT_HALF)
    square = mul(q, q)
    above = mul(q, r) + mul(mul(q, square), 117049297)
    below = mul(p, 1057819769 + q + mul(square, 127690142)) + mul(q, 638450708)
    quotient = mul(rounding_divide_by_pot(above, 31 - _LOG_ROOM), one_over_one_plus_x(below))
    return np.asarray(np.minimum((mul(octaves, _LOG_2) + quotient) << 1, INT32_MAX))


def logistic(a: Array, integer_bits: int) -> Array:
    """gemmlowp's 1 / (1 + exp(-x)) of fixed-point numbers with `integer_bits` integer bits; int64 result in Q0.31."""
    a = np.asarray(a, np.int64)
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, INT32_MAX - positive))


def tanh(a: Array, integer_bits: int) -> Array:
    """gemmlowp's tanh of fixed-point numbers with `integer_bits` (at most 4) integer bits; int64 result in Q0.31."""
    a = np.asarray(a, np.int64)
    return np.sign(a) * one_minus_x_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits + 1))


def sigmoid_table() -> NDArray[np.uint16]:
    """TFLM's table of sigmoid(i / 24) in Q0.16, i = 0 ... 255: its linear interpolation errs alike at the entries and between them."""
    i = np.arange(257) / 24
    entries, middles = (65536 / (1 + reals.exp(-t)) for t in (i, i[:-1] + 1 / 48))
    sag = (entries[:-1] + entries[1:]) / 2 - middles  # of the chord below the curve
    table = np.rint(entries[:-1] - sag / 2)
    table[-1] = 65535
    return table.astype(np.uint16)


def _interpolate(table: Array, x: Array, bits: int) -> tuple[Array, Array]:
    """Whether x < 0, and the table at abs(x) / 2^bits in Q0.(16 + bits), as far as its last interval reaches."""
    x = np.asarray(x, np.int64)
    a = np.minimum(np.abs(x), (255 << bits) - 1)
    low, wide = a >> bits, table.astype(np.int64)
    return x < 0, (wide[low] << bits) + (a & ((1 << bits) - 1)) * (wide[low + 1] - wide[low])


def sigmoid_q15(table: Array, x: Array) -> Array:
    """TFLM's int16 logistic: x in units of 2^-12 / 3 -> Q0.15, int64."""
    negative, y = _interpolate(table, x, 9)
    return np.where(negative, (1 << 25) - y + (1 << 9) - 1, y + (1 << 9)) >> 10


def tanh_q15(table: Array, x: Array) -> Array:
    """TFLM's int16 tanh, 2 sigmoid(2x) - 1: x in units of 2^-12 / 3 -> Q0.15, int64."""
    negative, y = _interpolate(table, x, 8)
    y = y - (1 << 23)
    return np.where(negative, (1 << 7) - 1 - y, y + (1 << 7)) >> 8


def scale_by_pot(law: str, x: Array, bits: int) -> Array:
    """x / 2^bits by a law's rounding of that ratio; 2 <= bits <= 30; int64."""
    x = np.asarray(x, np.int64)
    return (x + (1 << (bits - 1))) >> bits if law == "single" else rounding_divide_by_pot((x + 1) >> 1, bits - 1)


def round_half_away(x: Array | float) -> Array:
    """C's round(): nearest, halves away from zero (float64)."""
    x = np.asarray(x, np.float64)
    whole = np.trunc(x)
    return np.asarray(whole + np.where(np.abs(x - whole) >= 0.5, np.copysign(1.0, x), 0.0))


def round_float(x: Array, to_even: bool) -> Array:
    """float32 to the nearest integer, halves to even or away from zero; limited to +-2^22 (so is not-a-number); int64 result."""
    x = np.asarray(x, np.float32)
    magnitude = np.fmin(np.abs(x), np.float32(1 << 22)).astype(np.float64)
    rounded = np.rint(magnitude) if to_even else round_half_away(magnitude)
    return np.where(np.signbit(x), -rounded, rounded).astype(np.int64)


def quantize_factor(law: str, scale: float) -> np.float32:
    """The float32 constant of `quantize`: 1 / scale in law ``single``, the scale itself in law ``tflm``."""
    with np.errstate(all="ignore"):
        return np.float32(1) / np.float32(scale) if law == "single" else np.float32(scale)


def quantize(law: str, x: Array, scale: float, zero_point: int, low: int, high: int) -> Array:
    """Real values to stored integers in [low, high]; int64 result.

    Law ``single``: float32 ``x * (1 / scale)``, halves to even. Law ``tflm``: float32 ``x / scale``, halves away from zero.
    Beyond int16, where no kernel does it: float64 ``x / scale``, halves to even.
    """
    if high >= 1 << 15:
        return np.asarray(np.clip(np.rint(np.asarray(x, np.float64) / scale) + zero_point, low, high), np.int64)
    factor = quantize_factor(law, scale)
    with np.errstate(all="ignore"):
        steps = np.asarray(x, np.float32) * factor if law == "single" else np.asarray(x, np.float32) / factor
    return np.asarray(np.clip(round_float(steps, law == "single") + zero_point, low, high))


def dequantize(q: Array, scale: float, zero_point: int) -> Array:
    """Stored integers to real values: float32 ``(q - zero_point) * scale``, rounded once."""
    return np.asarray((np.asarray(q, np.float64) - zero_point) * np.float64(np.float32(scale)), np.float32)


def check_accumulator(where: str, bound: Array) -> None:
    """Prove that int32 accumulators cannot overflow.

    Args:
        where: the layer's name, for the error.
        bound: per output channel, an upper bound of the magnitude of every partial sum.

    Raises:
        EdgeqError: some channel's bound is 2^31 or more.
    """
    worst = int(np.max(bound, initial=0))
    if worst > INT32_MAX:
        raise EdgeqError(
            f"the int32 accumulator of channel {int(np.argmax(bound))} may overflow",
            where=where,
            why=f"bound {worst} > {INT32_MAX}",
            fix="use a wider calibration range for its input, or split the layer",
        )
