/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Logarithms and powers of two in Q16, looked up with straight lines in between. */
#ifndef EQ_OCTAVES_H
#define EQ_OCTAVES_H

#include <stdint.h>
#include "eq_numerics.h"
#include "eq_roots.h"

/* log2(x) by a table of 64ths of an octave; of 0 that of 1. */
static inline int32_t eq_octaves_of(uint64_t x, const int32_t *table)
{
    const int32_t octave = eq_octave(x);
    const int32_t part = (int32_t)((octave > 16 ? x >> (octave - 16) : x << (16 - octave)) & 0xffffu), at = part >> 10;
    return octave * 65536 + table[at] + (((table[at + 1] - table[at]) * (part & 1023)) >> 10);
}

/* How far log2(2^a + 2^b) lies above the larger of a and b, by their distance and a table of eighths. */
static inline int32_t eq_softly(int32_t apart, const int32_t *table)
{
    const int32_t near = apart < (20 << 16) ? apart : (20 << 16) - 1, at = near >> 13;
    return table[at] + (((table[at + 1] - table[at]) * (near & 8191)) >> 13);
}

/* 2^octaves, rounded down, of at most 62 octaves; 0 below 1. */
static inline int64_t eq_power_of(int32_t octaves, const int32_t *table)
{
    const int32_t whole = octaves >> 16, part = octaves & 0xffff, at = part >> 10;
    const int64_t value = table[at] + (((int64_t)(table[at + 1] - table[at]) * (part & 1023)) >> 10);
    return whole >= 30 ? value * ((int64_t)1 << (whole - 30)) : whole > -32 ? value >> (30 - whole) : 0;
}

/* x * share / 2^31, rounded down; x is not negative. */
static inline int64_t eq_part_of(int64_t x, int32_t share)
{
    return (x >> 31) * share + (((x & 0x7fffffff) * share) >> 31);
}

#endif
