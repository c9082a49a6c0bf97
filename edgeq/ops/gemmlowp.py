"""gemmlowp's fixed-point functions, which TensorFlow Lite Micro's logistic, tanh and softmax are made of.

A number in "Qi" has i integer bits, a sign and 31 - i fraction bits. Arrays are int64 that hold int32 values.
"""

from __future__ import annotations

import numpy as np

from edgeq.ir import Array
from edgeq.numerics import INT32_MAX, rounding_divide_by_pot, saturating_rounding_doubling_high_mul

_HALF = 1 << 30  # 1/2 in Q0
_EXP_MINUS_EIGHTH = 1895147668  # exp(-1/8) in Q0
_THIRD = 715827883  # 1/3 in Q0
_EXP_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)  # exp(-2^-2 ... -2^4) in Q0
_48_17, _MINUS_32_17 = 1515870810, -1010580540  # in Q2


def _mul(a: Array, b: Array | int) -> Array:
    return saturating_rounding_doubling_high_mul(a, b)


def _shift_left(a: Array, n: int) -> Array:
    return np.asarray(np.clip(np.asarray(a, np.int64) << n, -INT32_MAX - 1, INT32_MAX))


def _exp_minus_quarter_to_zero(a: Array) -> Array:
    """exp of a in [-1/4, 0), Q0 to Q0: a Taylor polynomial of degree 4 around -1/8."""
    x = a + (1 << 28)
    x2 = _mul(x, x)
    x3, x4 = _mul(x2, x), _mul(x2, x2)
    tail = rounding_divide_by_pot(_mul(rounding_divide_by_pot(x4, 2) + x3, _THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + _mul(x + tail, _EXP_MINUS_EIGHTH)


def exp_on_negative_values(a: Array, integer_bits: int) -> Array:
    """exp of a <= 0, Q`integer_bits` to Q0; up to 5 integer bits."""
    a = np.asarray(a, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = np.int64(1) << (fraction_bits - 2)
    reduced = (a & (quarter - 1)) - quarter
    result = _exp_minus_quarter_to_zero(_shift_left(reduced, integer_bits))
    remainder = reduced - a
    for exponent, factor in enumerate(_EXP_MINUS_POWERS, start=-2):
        if exponent < integer_bits:
            result = np.where(remainder & (np.int64(1) << (fraction_bits + exponent)), _mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _reciprocal_of_half_sum(a: Array) -> Array:
    """2 / (1 + a) for a in [0, 1], Q0 to Q2: three Newton-Raphson steps."""
    half_sum = (np.asarray(a, np.int64) + INT32_MAX + 1) >> 1
    x = _48_17 + _mul(half_sum, _MINUS_32_17)
    for _ in range(3):
        x = x + _shift_left(_mul(x, (1 << 29) - _mul(half_sum, x)), 2)
    return x


def one_over_one_plus_x(a: Array) -> Array:
    """1 / (1 + a) for a in [0, 1], Q0 to Q0."""
    return _shift_left(_reciprocal_of_half_sum(a), 1)


def one_minus_x_over_one_plus_x(a: Array) -> Array:
    """(1 - a) / (1 + a) for a in [0, 1], Q0 to Q0."""
    return _shift_left(_reciprocal_of_half_sum(a) - (1 << 29), 2)


def logistic(a: Array, integer_bits: int) -> Array:
    """1 / (1 + exp(-a)), Q`integer_bits` to Q0."""
    a = np.asarray(a, np.int64)
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits))
    return np.where(a == 0, _HALF, np.where(a > 0, positive, INT32_MAX - positive))


def tanh(a: Array, integer_bits: int) -> Array:
    """tanh(a), Q`integer_bits` to Q0; up to 4 integer bits."""
    a = np.asarray(a, np.int64)
    magnitude = one_minus_x_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits + 1))
    return np.where(a == 0, 0, np.where(a < 0, -magnitude, magnitude))
