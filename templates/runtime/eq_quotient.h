/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Means of a few bytes by a product instead of a division, which small cores have no instruction for. Freestanding ISO C99. */
#ifndef EQ_QUOTIENT_H
#define EQ_QUOTIENT_H

#include <stdint.h>

/* 2^23 / count, rounded up; 1 <= count <= 180. */
static inline uint32_t eq_quotient_factor(int32_t count)
{
    return ((1u << 23) + (uint32_t)count - 1u) / (uint32_t)count;
}

/* n / count rounded down, 0 <= n <= 256.5 * count: the factor is less than 1 too large, so that the product is less than n < 2^23 / count too large. */
static inline int32_t eq_quotient(int32_t n, uint32_t factor)
{
    return (int32_t)((uint32_t)n * factor >> 23);
}

/* a / count, halves away from zero, for |a| <= 128 * count; half = count / 2. */
static inline int32_t eq_mean(int32_t a, int32_t half, uint32_t factor)
{
    const int32_t sign = a >> 31;
    return (eq_quotient((a ^ sign) - sign + half, factor) ^ sign) - sign;
}

#endif
