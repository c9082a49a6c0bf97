/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* int16 inputs times int8 weights with the DSP extension.
 *
 * A word of weights (layout "neighbours") holds elements 0, 2, 1 and 3 of a row, so that its even bytes are the pair (0, 1) and its odd
 * bytes the pair (2, 3), as they lie in the inputs. */
#ifndef EQ_SIMD_ARMV7EM_WORDS_H
#define EQ_SIMD_ARMV7EM_WORDS_H

#include "eq_simd_armv7em.h"

/* Two int16 from any even address. */
static inline uint32_t eq_armv7em_load2(const int16_t *from)
{
#if EQ_DSP
    uint32_t pair;
    __builtin_memcpy(&pair, from, 4);
    return pair;
#else
    return eq_armv7em_pair(from[0], from[1]);
#endif
}

/* The bytes of each half exchanged. */
static inline uint32_t eq_armv7em_swap2(uint32_t pair)
{
#if EQ_DSP
    uint32_t swapped;
    __asm__("rev16 %0, %1" : "=r"(swapped) : "r"(pair));
    return swapped;
#else
    return (pair & 0x00ff00ffu) << 8 | (pair >> 8 & 0x00ff00ffu);
#endif
}

/* Adds the products of the next quad of a row in columns with four weights; moves past it. */
static inline int32_t eq_armv7em_words_quad(int32_t sum, const uint32_t **x, uint32_t even, uint32_t odd)
{
#if EQ_DSP
    uint32_t low, high;
    __asm__("ldrd %0, %1, [%2], #8" : "=&r"(low), "=&r"(high), "+r"(*x) : "m"(*(const uint32_t(*)[2]) * x));
#else
    const uint32_t low = (*x)[0], high = (*x)[1];
    *x += 2;
#endif
    return eq_armv7em_mac2(eq_armv7em_mac2(sum, low, even), high, odd);
}

/* Four rows of inputs, `depth` elements each, side by side: of each quad two words of the first row, then of the second, and so on; the
   last quad is filled with zeros. */
static inline void eq_armv7em_words_columns(uint32_t *to, const int16_t *const *rows, int32_t depth)
{
    for (int32_t r = 0; r < 4; r++, to += 2) {
        const int16_t *x = rows[r];
        uint32_t *at = to;
        for (int32_t k = depth; k >= 4; k -= 4, x += 4, at += 8) {
            at[0] = eq_armv7em_load2(x);
            at[1] = eq_armv7em_load2(x + 2);
        }
        if (depth % 4 > 0) {
            at[0] = eq_armv7em_pair(x[0], depth % 4 > 1 ? x[1] : 0);
            at[1] = eq_armv7em_pair(depth % 4 > 2 ? x[2] : 0, 0);
        }
    }
}

/* Adds the products of `count` quads of four rows of inputs, in columns, with a row of weights. */
static inline const uint32_t *eq_armv7em_words_tile(int32_t *sums, const uint32_t *x, const uint32_t *w, int32_t count)
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (const uint32_t *const end = w + count; w != end; w++) {
        const uint32_t even = eq_armv7em_even(*w), odd = eq_armv7em_odd(*w);
        a = eq_armv7em_words_quad(a, &x, even, odd);
        b = eq_armv7em_words_quad(b, &x, even, odd);
        c = eq_armv7em_words_quad(c, &x, even, odd);
        d = eq_armv7em_words_quad(d, &x, even, odd);
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return w;
}

/* The same of one row of inputs, as it lies, with four rows of weights. */
static inline const uint32_t *eq_armv7em_words_row(int32_t *sums, const int16_t *x, const uint32_t *w, int32_t count)
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (const int16_t *const end = x + 4 * count; x != end; x += 4, w += 4) {
        const uint32_t low = eq_armv7em_load2(x), high = eq_armv7em_load2(x + 2);
        a = eq_armv7em_mac2(eq_armv7em_mac2(a, low, eq_armv7em_even(w[0])), high, eq_armv7em_odd(w[0]));
        b = eq_armv7em_mac2(eq_armv7em_mac2(b, low, eq_armv7em_even(w[1])), high, eq_armv7em_odd(w[1]));
        c = eq_armv7em_mac2(eq_armv7em_mac2(c, low, eq_armv7em_even(w[2])), high, eq_armv7em_odd(w[2]));
        d = eq_armv7em_mac2(eq_armv7em_mac2(d, low, eq_armv7em_even(w[3])), high, eq_armv7em_odd(w[3]));
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return w;
}

#endif
