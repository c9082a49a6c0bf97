/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Square roots of integers, to nearest, bit by bit; octaves. */
#ifndef EQ_ROOTS_H
#define EQ_ROOTS_H

#include <stdint.h>
#include "eq_numerics.h"

/* The root of 32 bits; at most 65535. */
static inline uint32_t eq_square_root_32(uint32_t x)
{
    uint32_t root = 0, bit = 1u << 30;
    while (bit > x) {
        bit >>= 2;
    }
    for (; bit != 0; bit >>= 2) {
        const uint32_t next = root + bit;
        const uint32_t fits = (uint32_t)(x >= next);
        x -= fits ? next : 0u;
        root = (root >> 1) + (fits ? bit : 0u);
    }
    return root + (uint32_t)(x > root && root != 0xffffu);
}

/* The place of the highest bit; 0 of 0. */
static inline int32_t eq_octave(uint64_t x)
{
    const uint32_t high = (uint32_t)(x >> 32), low = (uint32_t)x;
    return high ? 63 - eq_leading_zeros(high) : low ? 31 - eq_leading_zeros(low) : 0;
}

/* The root of 64 bits. */
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

#endif
