/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Products of two computed matrices with MVE: the right one takes the form of a layer's weights. */
#ifndef EQ_SIMD_MVE_MATRIX_H
#define EQ_SIMD_MVE_MATRIX_H

#include "eq_simd_mve.h"
#include "eq_simd_mve_products.h"

/* Four columns (the first n of them; zeros for the others) of `depth` rows that lie `step` bytes apart as a block of eq_mve_dots: starts,
 * which are `plus` less `zero` times a column's sum, then sixteen rows of each column in turn. Returns the block's end. */
static inline int32_t *eq_mve_turn4(int32_t *block, const int8_t *from, int32_t step, int32_t n, int32_t depth, int32_t zero, int32_t plus)
{
    int8_t *w = (int8_t *)(block + 4);
    int32_t start[4];
#if EQ_MVE
    int32x4_t sums = vdupq_n_s32(0);
    for (int32_t left = depth; left > 0; left -= 16, w += 48) {
        for (int32_t k = left < 16 ? left : 16; k > 0; k--, from += step, w++) {
            const int32x4_t v = eq_mve_first4_i8(from, n);
            sums = vaddq_s32(sums, v);
            eq_mve_scatter4_i8(w, 16, v, 4);
        }
    }
    eq_mve_store4_i32(start, vaddq_n_s32(vmulq_n_s32(sums, -zero), plus));
#else
    for (int32_t c = 0; c < 4; c++) {
        int32_t sum = 0;
        for (int32_t k = 0; k < depth; k++) {
            const int8_t v = c < n ? from[k * step + c] : (int8_t)0;
            w[k / 16 * 64 + 16 * c + k % 16] = v;
            sum += v;
        }
        start[c] = plus - zero * sum;
    }
#endif
    block[0] = start[0], block[1] = start[2], block[2] = start[1], block[3] = start[3];
    return block + 4 + (depth + 15) / 16 * 16;
}

/* The sum of n int8. */
static inline int32_t eq_mve_total(const int8_t *x, int32_t n)
{
    int32_t sum = 0;
#if EQ_MVE
    for (; n > 0; n -= 16, x += 16) {
        sum = vaddvaq_s8(sum, vldrbq_z_s8(x, vctp8q((uint32_t)n)));
    }
#else
    for (int32_t i = 0; i < n; i++) {
        sum += x[i];
    }
#endif
    return sum;
}

/* v + x in every lane. */
static inline eq_mve_i32x4 eq_mve_plus4_i32(eq_mve_i32x4 v, int32_t x)
{
#if EQ_MVE
    return vaddq_n_s32(v, x);
#else
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] += x;
    }
    return v;
#endif
}

#endif
