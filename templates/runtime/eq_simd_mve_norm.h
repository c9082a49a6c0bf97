/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Layer normalization of int8 in MVE vectors. */
#ifndef EQ_SIMD_MVE_NORM_H
#define EQ_SIMD_MVE_NORM_H

#include "eq_mve.h"
#include "eq_numerics.h"

/* The sum of n int8; that of their squares goes to `squares`. */
static inline int32_t eq_mve_moments(const int8_t *x, int32_t n, int32_t *squares)
{
    int32_t sum = 0, square = 0;
#if EQ_MVE
    for (; n > 0; n -= 16, x += 16) {
        const int8x16_t v = vldrbq_z_s8(x, vctp8q((uint32_t)n));
        sum = vaddvaq_s8(sum, v);
        square = vmladavaq_s8(square, v, v);
    }
#else
    for (int32_t i = 0; i < n; i++) {
        sum += x[i];
        square += x[i] * x[i];
    }
#endif
    *squares = square;
    return sum;
}

/* Of n int8 x: the rounded high word of (x * step - less) * factor, times a scale, less 16 bits, plus a bias, shifted right, saturated. */
static inline void eq_mve_normalize(
    int8_t *y, const int8_t *x, const int32_t *scales, const int32_t *biases, int32_t n, uint32_t step, uint32_t less, int32_t factor, int32_t shift)
{
#if EQ_MVE
    const int32x4_t minus = vreinterpretq_s32_u32(vdupq_n_u32(0u - less)), low = vdupq_n_s32(-128), high = vdupq_n_s32(127);
    for (; n > 0; n -= 4, x += 4, y += 4, scales += 4, biases += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)n);
        const int32x4_t scale = vldrwq_z_s32(scales, some);
        const int32x4_t normal = vrmulhq_s32(vaddq_s32(vmulq_n_s32(vldrbq_z_s32(x, some), (int32_t)step), minus), vdupq_n_s32(factor));
        const int32x4_t above = vshlq_n_s32(vmulhq_s32(normal, scale), 16);
        const int32x4_t product = vsriq_n_s32(above, vmulq_s32(normal, scale), 16);
        const int32x4_t steps = vshlq_r_s32(vaddq_s32(product, vldrwq_z_s32(biases, some)), -shift);
        vstrbq_p_s32(y, vminq_s32(vmaxq_s32(steps, low), high), some);
    }
#else
    for (int32_t i = 0; i < n; i++) {
        const int32_t normal = eq_high_mul_rounded((int32_t)((uint32_t)x[i] * step - less), factor);
        const int32_t steps = (int32_t)(((int64_t)normal * scales[i]) >> 16) + biases[i];
        y[i] = (int8_t)eq_clamp(steps >> shift, -128, 127);
    }
#endif
}

#endif
