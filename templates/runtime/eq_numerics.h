/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* The arithmetic of edgeq; twin of edgeq/numerics.py. Freestanding ISO C99.
 *
 * Right shifts of negative numbers are arithmetic: true of every compiler that edgeq supports, and
 * checked below at compile time. */
#ifndef EQ_NUMERICS_H
#define EQ_NUMERICS_H

#include <stdint.h>

typedef char eq_arithmetic_shift_required[((-3) >> 1) == -2 ? 1 : -1];

/* Holds the order of what is loaded before and after it, and has `x` computed here: compilers that load far
 * ahead run out of registers. It emits nothing. Where EQ_VECTORIZE is defined the compiler may combine them. */
#if defined(__GNUC__) && !defined(EQ_VECTORIZE)
#define EQ_SETTLE(x) __asm__ volatile("" : "+r"(x) : : "memory")
#else
#define EQ_SETTLE(x) ((void)0)
#endif

/* Hides from Clang how `x` was computed, which it would use to merge what follows into more instructions; not where it is to make vectors. */
#if defined(__clang__) && !defined(EQ_VECTORIZE)
#define EQ_KEEP(x) __asm__("" : "+r"(x))
#else
#define EQ_KEEP(x) ((void)0)
#endif

/* Clang knows clamps and would branch: it must not know a mask, or what range it is taken from where that is cheaper.
 * With conditional instructions it needs no branch. */
#if defined(__riscv)
#define EQ_KEEP_MASK(x) EQ_KEEP(x)
#define EQ_KEEP_RANGE(x) ((void)0)
#elif defined(__thumb2__)
#define EQ_KEEP_MASK(x) ((void)0)
#define EQ_KEEP_RANGE(x) ((void)0)
#else
#define EQ_KEEP_MASK(x) ((void)0)
#define EQ_KEEP_RANGE(x) EQ_KEEP(x)
#endif

#if defined(__riscv_zbb) || defined(__riscv_xcvalu) /* min and max are instructions, which these become */

/* max(x, 0). */
static inline int32_t eq_positive(int32_t x)
{
    return x > 0 ? x : 0;
}

/* x limited to [low, high]. */
static inline int32_t eq_clamp(int32_t x, int32_t low, int32_t high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

#define EQ_SATURATE_OFFSET 128

/* The int8 nearest to x - EQ_SATURATE_OFFSET. */
static inline int8_t eq_saturate_offset(int32_t x)
{
    return (int8_t)(eq_clamp(x, 0, 255) - 128);
}

#elif defined(__riscv) /* nothing clears bits: to limit a number to what is below zero takes less than to what is above */

/* max(x, 0) without a branch. */
static inline int32_t eq_positive(int32_t x)
{
    int32_t negative = x >> 31;
    EQ_KEEP_MASK(negative);
    return x & ~negative;
}

/* min(x, 0) without a branch. */
static inline int32_t eq_negative_part(int32_t x)
{
    int32_t negative = x >> 31;
    EQ_KEEP_MASK(negative);
    return x & negative;
}

/* x limited to [low, high], the same instructions for every x. x - high and low - x must fit int32; it saturates what the output
 * stages make. */
static inline int32_t eq_clamp(int32_t x, int32_t low, int32_t high)
{
    const int32_t less = eq_negative_part((int32_t)((uint32_t)x - (uint32_t)high));
    return low - eq_negative_part((int32_t)((uint32_t)low - (uint32_t)high - (uint32_t)less));
}

#define EQ_SATURATE_OFFSET (-127)

/* The int8 nearest to x - EQ_SATURATE_OFFSET for |x| < 2^30. */
static inline int8_t eq_saturate_offset(int32_t x)
{
    return (int8_t)(-128 - eq_negative_part(-255 - eq_negative_part(x)));
}

#else

/* max(x, 0) without a branch. */
static inline int32_t eq_positive(int32_t x)
{
    int32_t negative = x >> 31;
    EQ_KEEP_MASK(negative);
    return x & ~negative;
}

/* x limited to [low, high], the same instructions for every x: differences are taken modulo 2^32 so that
 * compilers keep them. x - low and high - x must fit int32; it saturates what the output stages make. */
static inline int32_t eq_clamp(int32_t x, int32_t low, int32_t high)
{
    EQ_KEEP_RANGE(x);
    x = low + eq_positive((int32_t)((uint32_t)x - (uint32_t)low));
    return high - eq_positive((int32_t)((uint32_t)high - (uint32_t)x));
}

#define EQ_SATURATE_OFFSET 128

/* The int8 nearest to x - EQ_SATURATE_OFFSET for |x| < 2^30: two instructions less than eq_clamp, none of which depends on x. */
static inline int8_t eq_saturate_offset(int32_t x)
{
    EQ_KEEP_RANGE(x);
    int32_t above = (int32_t)(255u - (uint32_t)x) >> 31;
    EQ_KEEP_MASK(above);
    return (int8_t)(((eq_positive(x) | above) & 255) - 128);
}

#endif

/* The larger of two bytes, by the same instructions for every two. */
static inline int32_t eq_larger(int32_t a, int32_t b)
{
#if defined(__thumb2__)
    return b > a ? b : a;
#else
    int32_t more = b - a;
    EQ_KEEP_RANGE(more);
    return a + eq_positive(more);
#endif
}

/* Any x limited to [0, high]: what a caller says is a row, a place or a count. */
static inline int32_t eq_limit_index(int32_t x, int32_t high)
{
    return high - eq_positive(high - eq_positive(x));
}

/* x * 2^n without shifting a negative number; the result must fit. */
static inline int32_t eq_shift_left(int32_t x, int32_t n)
{
    return (int32_t)((uint32_t)x << n);
}

/* (a * b) >> 32 by four products of 16-bit halves, which fit 32 bits with what is added to them. */
static inline int32_t eq_high_mul_by_halves(int32_t a, int32_t b)
{
    const uint32_t a_low = (uint32_t)a & 0xffffu, b_low = (uint32_t)b & 0xffffu;
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const int32_t first = a_high * (int32_t)b_low + (int32_t)(a_low * b_low >> 16);
    const int32_t second = (int32_t)a_low * b_high + (first & 0xffff);
    return a_high * b_high + (first >> 16) + (second >> 16);
}

/* (a * b) >> 32 */
static inline int32_t eq_high_mul(int32_t a, int32_t b)
{
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__) /* no product has 64 bits there */
    return eq_high_mul_by_halves(a, b);
#else
    return (int32_t)(((int64_t)a * b) >> 32);
#endif
}

/* Rounding "single": (x * m + 2^(n+31)) >> (n+32), to nearest, ties toward +inf; 1 <= n <= 30. */
static inline int32_t eq_requantize_single(int32_t x, int32_t m, int32_t n)
{
    const int32_t high = eq_high_mul(x, m);
    return ((high >> (n - 1)) + 1) >> 1;
}

/* (a * b + 2^31) >> 32 */
static inline int32_t eq_high_mul_rounded(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
}

/* gemmlowp's SaturatingRoundingDoublingHighMul for m > INT32_MIN: (x * m + 2^30) >> 31. */
static inline int32_t eq_high_mul_tflm(int32_t x, int32_t m)
{
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
    const uint32_t low = (uint32_t)x * (uint32_t)m;
    return (int32_t)(2u * (uint32_t)eq_high_mul(x, m) + (((low >> 30) + 1u) >> 1));
#else
    return (int32_t)(((int64_t)x * m + (1 << 30)) >> 31);
#endif
}

/* gemmlowp's RoundingDivideByPOT: x / 2^n, half away from zero; 0 <= n <= 31. */
static inline int32_t eq_divide_by_pot(int32_t x, int32_t n)
{
    const int32_t mask = (int32_t)((1u << n) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> n) + ((x & mask) > threshold);
}

/* Rounding "tflm": MultiplyByQuantizedMultiplier with shift = -n; -29 <= n <= 31. An x whose shift to the
 * left would not fit is limited to half of int32: its result lies far outside int8 either way. */
static inline int32_t eq_requantize_tflm(int32_t x, int32_t m, int32_t n)
{
    const int32_t left = n < 0 ? -n : 0;
    const int32_t right = n > 0 ? n : 0;
    const int32_t low = INT32_MIN >> (left + 1), high = INT32_MAX >> (left + 1);
    const int32_t fits = left == 0 || (x >= low && x <= high) ? x : (x < 0 ? low : high);
    return eq_divide_by_pot(eq_high_mul_tflm(eq_shift_left(fits, left), m), right);
}

/* The same where |x| < 2^30 and 1 <= n <= 31. */
static inline int32_t eq_requantize_tflm_small(int32_t x, int32_t m, int32_t n)
{
    const int32_t high = eq_high_mul(x * 2, m) + (int32_t)((uint32_t)(x * 2) * (uint32_t)m >> 31);
    return (((high + (high >> 31)) >> (n - 1)) + 1) >> 1;
}

/* Rounding "tflm" of x / 4 and an offset, |offset| < 256, where 1 <= n <= 21; `rounding` from eq_rounding_tflm. The first
 * rounding is that of `twice` / 2 to nearest, ties up; with it negative numbers lose one, so that halves go away from zero. */
static inline int32_t eq_rescale_tflm_quarter(int32_t x, int32_t m, int32_t n, int32_t rounding)
{
    const int32_t twice = eq_high_mul(x, m);
    int32_t sign = twice >> 31;
    EQ_KEEP(sign);
    return (twice + 2 * sign + rounding) >> (n + 1);
}

/* The same of x, |x| < 2^29. */
static inline int32_t eq_rescale_tflm(int32_t x, int32_t m, int32_t n, int32_t rounding)
{
    return eq_rescale_tflm_quarter(x * 4, m, n, rounding);
}

static inline int32_t eq_rounding_tflm(int32_t offset, int32_t n)
{
    return eq_shift_left(2 * offset + 1, n) + 1;
}

/* Rounding "single" and an offset; `rounding` is 2 * offset + 1. */
static inline int32_t eq_rescale_single(int32_t x, int32_t m, int32_t n, int32_t rounding)
{
    const int32_t high = eq_high_mul(x, m);
    return ((high >> (n - 1)) + rounding) >> 1;
}

/* Rounding "tflm" of x * 2^20 where |x| < 512, m = high * 2^11 + low and 1 <= n <= 31: no product exceeds 32 bits. */
static inline int32_t eq_requantize_tflm_fine(int32_t x, int32_t high, int32_t low, int32_t n)
{
    const int32_t scaled = x * high + ((x * low + (1 << 10)) >> 11);
    return (((scaled + (scaled >> 31)) >> (n - 1)) + 1) >> 1;
}

/* gemmlowp's 1 / (1 + x) of a Q0.31 number in [0, 1): three Newton steps; Q0.31. */
static inline int32_t eq_one_over_one_plus_x(int32_t a)
{
    const int32_t half = (int32_t)(((uint32_t)a + 0x80000000u) >> 1);
    int32_t x = 1515870810 + eq_high_mul_tflm(half, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t rest = eq_high_mul_tflm(x, (1 << 29) - eq_high_mul_tflm(half, x));
        x += eq_shift_left(rest, 2);
    }
    const int32_t fits = (x - (1 << 30)) >> 31;
    return (eq_shift_left(x, 1) & fits) | (INT32_MAX & ~fits);
}

/* x to the nearest integer, halves to even or away from zero; limited to +-2^22 (so is not-a-number). Works
 * on the bits alone: no rounding mode, no conversion that could overflow. */
static inline int32_t eq_round_float(float x, int32_t to_even)
{
    union {
        float f;
        uint32_t u;
    } bits;
    bits.f = x;
    const int32_t sign = -(int32_t)(bits.u >> 31);
    const int32_t magnitude = eq_clamp((int32_t)(bits.u & 0x7fffffffu), 0, 0x4a800000);
    const int32_t shift = eq_clamp(150 - (magnitude >> 23), 1, 25);
    const int32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    const int32_t down = to_even & ~(mantissa >> shift) & 1;
    const int32_t rounded = (mantissa + (1 << (shift - 1)) - down) >> shift;
    return (rounded ^ sign) - sign;
}

/* Leading zero bits of x != 0. */
static inline int32_t eq_leading_zeros(uint32_t x)
{
#if defined(__GNUC__) && (defined(__ARM_FEATURE_CLZ) || defined(__riscv_zbb)) /* an instruction */
    return __builtin_clz(x);
#else
    int32_t n = 0;
    for (int32_t step = 16; step > 0; step >>= 1) {
        const int32_t empty = ((int32_t)((x >> (32 - step)) - 1u) >> 31) & step; /* step where the top bits are zero */
        n += empty;
        x <<= empty;
    }
    return n;
#endif
}

#endif
