"""TFLM's inverse square root of an integer, bit for bit (GetInvSqrtQuantizedMultiplierExp): five Newton steps in fixed point."""

from __future__ import annotations

import numpy as np

from edgeq import numerics

HALF_THREE, ONE, HALF_SQRT_2 = 3 << 27, 1 << 28, 1518500250  # with 3 integer bits; the last with none


def _product(a: int, b: int) -> int:
    return int(numerics.saturating_rounding_doubling_high_mul(np.array(a), b))


def inverse_sqrt(n: int) -> tuple[int, int]:
    """``1 / sqrt(n)`` of an integer from 0 (taken for 1) to 2^31 - 1 as a multiplier and a shift of `numerics.requantize_tflm`."""
    if n <= 1:
        return numerics.INT32_MAX, 0
    right = 11
    while n >= 1 << 29:
        n, right = n // 4, right + 1
    pairs = (31 - n.bit_length()) // 2 - 1
    right, n = right - pairs, n << 2 * pairs
    value, x = n >> 1, ONE
    half = int(numerics.rounding_divide_by_pot(np.array(value), 1))
    for _ in range(5):
        cube = _product(_product(x, x), x) << 6
        x = (_product(HALF_THREE, x) - _product(half, cube)) << 3
    x = _product(x, HALF_SQRT_2)
    return (x, -right) if right >= 0 else (x << -right, 0)
