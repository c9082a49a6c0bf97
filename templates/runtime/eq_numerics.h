/* The arithmetic law of edgeq; twin of edgeq/numerics.py. Freestanding ISO C99.
 *
 * Right shifts of negative numbers are arithmetic: true of every compiler that edgeq supports, and
 * checked below at compile time. */
#ifndef EQ_NUMERICS_H
#define EQ_NUMERICS_H

#include <stdint.h>

typedef char eq_arithmetic_shift_required[((-3) >> 1) == -2 ? 1 : -1];

/* x limited to [low, high]. */
static inline int32_t eq_clamp(int32_t x, int32_t low, int32_t high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* x * 2^n without shifting a negative number; the result must fit. */
static inline int32_t eq_shift_left(int32_t x, int32_t n)
{
    return (int32_t)((uint32_t)x << n);
}

/* Law "single": (x * m + 2^(n+31)) >> (n+32), to nearest, ties toward +inf; 1 <= n <= 30. */
static inline int32_t eq_requantize_single(int32_t x, int32_t m, int32_t n)
{
    const int32_t high = (int32_t)(((int64_t)x * m) >> 32);
    return (high + (int32_t)(1u << (n - 1))) >> n;
}

/* gemmlowp's SaturatingRoundingDoublingHighMul for m > INT32_MIN: (x * m + 2^30) >> 31. */
static inline int32_t eq_high_mul_tflm(int32_t x, int32_t m)
{
    return (int32_t)(((int64_t)x * m + (1 << 30)) >> 31);
}

/* gemmlowp's RoundingDivideByPOT: x / 2^n, half away from zero; 0 <= n <= 31. */
static inline int32_t eq_divide_by_pot(int32_t x, int32_t n)
{
    const int32_t mask = (int32_t)((1u << n) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> n) + ((x & mask) > threshold);
}

/* Law "tflm": MultiplyByQuantizedMultiplier with shift = -n; n may be negative. */
static inline int32_t eq_requantize_tflm(int32_t x, int32_t m, int32_t n)
{
    const int32_t left = n < 0 ? -n : 0;
    const int32_t right = n > 0 ? n : 0;
    return eq_divide_by_pot(eq_high_mul_tflm(eq_shift_left(x, left), m), right);
}

/* The same where n >= 0 for all channels. */
static inline int32_t eq_requantize_tflm_right(int32_t x, int32_t m, int32_t n)
{
    return eq_divide_by_pot(eq_high_mul_tflm(x, m), n);
}

#endif
