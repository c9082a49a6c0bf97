/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Square roots of integers, to nearest; octaves; TFLM's inverse root and logarithm in fixed point. */
#ifndef EQ_ROOTS_H
#define EQ_ROOTS_H

#include <stdint.h>
#include "eq_numerics.h"

/* The root of at most 0xffff0000. */
static inline uint32_t eq_square_root_31(uint32_t x)
{
#if defined(__arm__) && defined(__ARM_FP) && (__ARM_FP & 4) /* within 0.008 in float32: the result, or the integer below it */
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"((float)x));
    const uint32_t near = (uint32_t)(root + 0.49f);
    return near + (uint32_t)(x > near * near + near);
#else
#if defined(__ARM_ARCH) && !defined(__ARM_FEATURE_IDIV) /* no division in hardware: bit by bit */
    uint32_t root = 0, rest = x, bit = 1u << 30;
    while (bit > rest) {
        bit >>= 2;
    }
    for (; bit != 0; bit >>= 2) {
        const uint32_t next = root + bit;
        const uint32_t fits = (uint32_t)(rest >= next);
        rest -= fits ? next : 0u;
        root = (root >> 1) + (fits ? bit : 0u);
    }
#else /* each quotient doubles the digits (Zimmermann; CPython's math.isqrt) */
    if (x == 0u) {
        return 0u;
    }
    const int32_t half = eq_leading_zeros(x) / 2;
    const uint32_t n = x << (2 * half);
    uint32_t root = 1u + (n >> 30);
    root = (root << 1) + (n >> 27) / root;
    root = (root << 3) + (n >> 21) / root;
    root = (root << 7) + (n >> 9) / root;
    root >>= half;
    root -= (uint32_t)(root * root - 1u >= x); /* rounded down */
    const uint32_t rest = x - root * root;
#endif
    return root + (uint32_t)(rest > root);
#endif
}

/* The root of 32 bits; at most 65535. */
static inline uint32_t eq_square_root_32(uint32_t x)
{
    return x > 0xffff0000u ? 0xffffu : eq_square_root_31(x);
}

/* The place of the highest bit; 0 of 0. */
static inline int32_t eq_octave(uint64_t x)
{
    const uint32_t high = (uint32_t)(x >> 32), low = (uint32_t)x;
    return high ? 63 - eq_leading_zeros(high) : low ? 31 - eq_leading_zeros(low) : 0;
}

/* The root of 64 bits, bit by bit. */
static inline uint32_t eq_square_root_64(uint64_t x)
{
    uint64_t root = 0, bit = (uint64_t)1 << 62;
    while (bit > x) {
        bit >>= 2;
    }
    for (; bit != 0; bit >>= 2) {
        const uint64_t next = root + bit;
        if (x >= next) {
            x -= next;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return (uint32_t)(root + (uint64_t)(x > root && root != 0xffffffffu));
}

/* 1 / sqrt(n) of n >= 0, 0 taken for 1, as a multiplier and the `right` of eq_requantize_tflm: five Newton steps with 28 fraction bits. */
static inline int32_t eq_inverse_square_root(int32_t n, int32_t *right)
{
    *right = 0;
    if (n <= 1) {
        return INT32_MAX;
    }
    int32_t shift = 11, x = 1 << 28;
    for (; n >= 1 << 29; n >>= 2) {
        shift++;
    }
    const int32_t pairs = (eq_leading_zeros((uint32_t)n) - 1) / 2 - 1;
    const int32_t half = eq_divide_by_pot((n << (2 * pairs)) >> 1, 1);
    shift -= pairs;
    for (int32_t i = 0; i < 5; i++) {
        const int32_t cube = eq_shift_left(eq_high_mul_tflm(eq_high_mul_tflm(x, x), x), 6);
        x = eq_shift_left(eq_high_mul_tflm(3 << 27, x) - eq_high_mul_tflm(half, cube), 3);
    }
    x = eq_high_mul_tflm(x, 1518500250);
    *right = shift > 0 ? shift : 0;
    return shift < 0 ? eq_shift_left(x, -shift) : x;
}

/* x * 2^n of x >= 0, limited to int32. */
static inline int32_t eq_raise(int32_t x, int32_t n)
{
    return x > INT32_MAX >> n ? INT32_MAX : eq_shift_left(x, n);
}

/* ln of a > 0 with 12 integer bits; Q5.26. The twin of edgeq/numerics.py's log_from_one. */
static inline int32_t eq_log_from_one(int32_t a)
{
    const int32_t lead = eq_leading_zeros((uint32_t)a);
    const int32_t head = eq_leading_zeros((uint32_t)eq_high_mul_tflm(a, 1518500250)) - 1;
    const int32_t near = eq_raise(eq_high_mul_tflm(eq_shift_left(a, lead - 1), 1518500250), 1), far = eq_raise(a, head);
    const int32_t r = near < far ? near : far;
    const int32_t first = (12 - lead) * (1 << 25) + (1 << 23), second = (12 - head) * (1 << 25) - (1 << 23);
    const int32_t octaves = first > second ? first : second;
    const int32_t p = (int32_t)(((uint32_t)r + 1805811302u) >> 1), q = 2 * (r - 1805811301);
    const int32_t square = eq_high_mul_tflm(q, q);
    const int32_t above = eq_high_mul_tflm(q, r) + eq_high_mul_tflm(eq_high_mul_tflm(q, square), 117049297);
    const int32_t below = eq_high_mul_tflm(p, 1057819769 + q + eq_high_mul_tflm(square, 127690142)) + eq_high_mul_tflm(q, 638450708);
    const int32_t quotient = eq_high_mul_tflm(eq_divide_by_pot(above, 6), eq_one_over_one_plus_x(below));
    return eq_shift_left(eq_high_mul_tflm(octaves, 1488522236) + quotient, 1);
}

#endif
