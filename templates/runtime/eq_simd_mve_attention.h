/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Attention in the lanes of MVE vectors: four queries at a time. */
#ifndef EQ_SIMD_MVE_ATTENTION_H
#define EQ_SIMD_MVE_ATTENTION_H

#include "eq_simd_mve.h"
#include "eq_simd_mve_products.h"

/* Products of four rows of int8 less their zero point with `keys` rows that lie `step` bytes apart, all `depth` long: row r's from
 * scores + r * keys on. */
static inline void eq_mve_scores4(int32_t *scores, int32_t keys, const int8_t *const q[4], int32_t minus_zero, const int8_t *k, int32_t step, int32_t depth)
{
#if EQ_MVE
    if (depth <= 16) {
        const mve_pred16_t some = vctp8q((uint32_t)depth);
        const int8x16_t q0 = vldrbq_z_s8(q[0], some), q1 = vldrbq_z_s8(q[1], some), q2 = vldrbq_z_s8(q[2], some), q3 = vldrbq_z_s8(q[3], some);
        int32_t *s1 = scores + keys, *s2 = s1 + keys, *s3 = s2 + keys;
        for (int32_t j = keys; j > 0; j--, k += step) {
            const int8x16_t x = vldrbq_z_s8(k, some);
            const int32_t start = minus_zero * vaddvq_s8(x);
            *scores++ = vmladavaq_s8(start, x, q0);
            *s1++ = vmladavaq_s8(start, x, q1);
            *s2++ = vmladavaq_s8(start, x, q2);
            *s3++ = vmladavaq_s8(start, x, q3);
        }
        return;
    }
    const int8_t *const q0 = q[0], *const q1 = q[1], *const q2 = q[2], *const q3 = q[3];
    for (int32_t j = 0; j < keys; j++, k += step) {
        int32_t sum = 0, a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (int32_t i = 0; i < depth; i += 16) {
            const mve_pred16_t some = vctp8q((uint32_t)(depth - i));
            const int8x16_t x = vldrbq_z_s8(k + i, some);
            a0 = vmladavaq_s8(a0, x, vldrbq_z_s8(q0 + i, some));
            a1 = vmladavaq_s8(a1, x, vldrbq_z_s8(q1 + i, some));
            a2 = vmladavaq_s8(a2, x, vldrbq_z_s8(q2 + i, some));
            a3 = vmladavaq_s8(a3, x, vldrbq_z_s8(q3 + i, some));
            sum = vaddvaq_s8(sum, x);
        }
        sum *= minus_zero;
        scores[j] = a0 + sum;
        scores[j + keys] = a1 + sum;
        scores[j + 2 * keys] = a2 + sum;
        scores[j + 3 * keys] = a3 + sum;
    }
#else
    for (int32_t r = 0; r < 4; r++) {
        for (int32_t j = 0; j < keys; j++) {
            int32_t score = 0;
            for (int32_t i = 0; i < depth; i++) {
                score += (q[r][i] + minus_zero) * k[j * step + i];
            }
            scores[r * keys + j] = score;
        }
    }
#endif
}

/* The largest of n >= 1 int32. */
static inline int32_t eq_mve_largest(const int32_t *from, int32_t n)
{
#if EQ_MVE
    int32_t largest = from[0];
    for (; n > 0; n -= 4, from += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)n);
        largest = vmaxvq_p_s32(largest, vldrwq_z_s32(from, some), some);
    }
    return largest;
#else
    int32_t largest = from[0];
    for (int32_t i = 1; i < n; i++) {
        largest = from[i] > largest ? from[i] : largest;
    }
    return largest;
#endif
}

/* Weights of n scores as int16, to where the scores lie or elsewhere: powers of two by 256 fractions, 0 from `limit` below the largest
 * on. Returns their sum. */
static inline int32_t eq_mve_weights(int16_t *to, const int32_t *from, int32_t n, int32_t largest, int32_t limit, int32_t rate, int32_t rate_shift, const uint16_t *fractions)
{
    int32_t sum = 0;
#if EQ_MVE
    for (; n > 0; n -= 4, from += 4, to += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)n);
        const int32x4_t below = vsubq_s32(vdupq_n_s32(largest), vldrwq_z_s32(from, some));
        const mve_pred16_t counts = vcmpltq_m_n_s32(below, limit, some);
        const uint32x4_t t = vshlq_r_u32(vmulq_n_u32(vreinterpretq_u32_s32(below), (uint32_t)rate), -rate_shift);
        const uint32x4_t fraction = vldrhq_gather_shifted_offset_z_u32(fractions, vandq_u32(t, vdupq_n_u32(255)), counts);
        const int32x4_t right = vnegq_s32(vreinterpretq_s32_u32(vshrq_n_u32(t, 8)));
        const int32x4_t weight = vreinterpretq_s32_u32(vshlq_m_u32(vdupq_n_u32(0), fraction, right, counts));
        sum = vaddvaq_s32(sum, weight);
        vstrhq_p_s32(to, weight, some);
    }
#else
    for (int32_t i = 0; i < n; i++) {
        const int32_t below = largest - from[i], counts = (below - limit) >> 31;
        const uint32_t t = ((uint32_t)(below & counts) * (uint32_t)rate) >> rate_shift;
        const int32_t weight = (fractions[t & 255u] >> (t >> 8)) & counts;
        sum += weight;
        to[i] = (int16_t)weight;
    }
#endif
    return sum;
}

/* Products of four rows of n int16 that lie `pitch` elements apart with a row of int8, each added to its start. */
static inline eq_mve_i32x4 eq_mve_weighed4(const int32_t start[4], const int16_t *w, int32_t pitch, const int8_t *x, int32_t n)
{
#if EQ_MVE
    const int16_t *w1 = w + pitch, *w2 = w1 + pitch, *w3 = w2 + pitch;
    int32_t a0 = start[0], a1 = start[1], a2 = start[2], a3 = start[3];
    for (; n > 0; n -= 8, x += 8, w += 8, w1 += 8, w2 += 8, w3 += 8) {
        const mve_pred16_t some = vctp16q((uint32_t)n);
        const int16x8_t value = vldrbq_z_s16(x, some);
        a0 = vmladavaq_s16(a0, value, vldrhq_z_s16(w, some));
        a1 = vmladavaq_s16(a1, value, vldrhq_z_s16(w1, some));
        a2 = vmladavaq_s16(a2, value, vldrhq_z_s16(w2, some));
        a3 = vmladavaq_s16(a3, value, vldrhq_z_s16(w3, some));
    }
    return eq_mve_join4(a0, a1, a2, a3);
#else
    eq_mve_i32x4 sums;
    for (int32_t r = 0; r < 4; r++) {
        sums.lane[r] = start[r];
        for (int32_t j = 0; j < n; j++) {
            sums.lane[r] += w[r * pitch + j] * x[j];
        }
    }
    return sums;
#endif
}

/* Products of a row of int8 less its zero point with `keys` rows that lie `step` bytes apart, all `depth` long. */
static inline void eq_mve_scores1(int32_t *scores, int32_t keys, const int8_t *q, int32_t minus_zero, const int8_t *k, int32_t step, int32_t depth)
{
    for (int32_t j = 0; j < keys; j++, k += step) {
        int32_t score = 0;
#if EQ_MVE
        int32_t sum = 0;
        for (int32_t i = 0; i < depth; i += 16) {
            const mve_pred16_t some = vctp8q((uint32_t)(depth - i));
            const int8x16_t x = vldrbq_z_s8(k + i, some);
            score = vmladavaq_s8(score, x, vldrbq_z_s8(q + i, some));
            sum = vaddvaq_s8(sum, x);
        }
        score += minus_zero * sum;
#else
        for (int32_t i = 0; i < depth; i++) {
            score += (q[i] + minus_zero) * k[i];
        }
#endif
        scores[j] = score;
    }
}

/* start + the products of `keys` rows of four int8 (the first n of them), `step` bytes apart, with a weight each. */
static inline eq_mve_i32x4 eq_mve_weighed_row4(int32_t start, const int16_t *w, const int8_t *v, int32_t step, int32_t keys, int32_t n)
{
#if EQ_MVE
    const mve_pred16_t some = vctp32q((uint32_t)n);
    int32x4_t sums = vdupq_n_s32(start);
    for (; keys > 0; keys--, v += step) {
        sums = vmlaq_n_s32(sums, vldrbq_z_s32(v, some), *w++);
    }
    return sums;
#else
    eq_mve_i32x4 sums;
    for (int32_t i = 0; i < 4; i++) {
        sums.lane[i] = start;
        for (int32_t j = 0; j < keys && i < n; j++) {
            sums.lane[i] += w[j] * v[j * step + i];
        }
    }
    return sums;
#endif
}

#endif
