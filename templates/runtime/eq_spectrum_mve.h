/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Windows, energies of bands and cosine transforms on integers in MVE vectors. */
#ifndef EQ_SPECTRUM_MVE_H
#define EQ_SPECTRUM_MVE_H

#include "eq_fft.h"
#include "eq_mve.h"

/* A number of as many bits as the largest magnitude of n int16. */
static inline int32_t eq_mve_loudest_s16(const int16_t *x, int32_t n)
{
    int32_t any = 0;
#if EQ_MVE
    for (; n > 0; n -= 8, x += 8) {
        const int16x8_t v = vldrhq_z_s16(x, vctp16q((uint32_t)n));
        any = vmaxvq_s16((int16_t)any, veorq_s16(v, vshrq_n_s16(v, 15)));
    }
#else
    for (int32_t i = 0; i < n; i++) {
        any |= x[i] ^ (x[i] >> 15);
    }
#endif
    return any;
}

/* The same of n int32. */
static inline uint32_t eq_mve_loudest_s32(const int32_t *x, int32_t n)
{
    uint32_t any = 0;
#if EQ_MVE
    for (; n > 0; n -= 4, x += 4) {
        const int32x4_t v = vldrwq_z_s32(x, vctp32q((uint32_t)n));
        any = vmaxvq_u32(any, vreinterpretq_u32_s32(veorq_s32(v, vshrq_n_s32(v, 31))));
    }
#else
    for (int32_t i = 0; i < n; i++) {
        any |= (uint32_t)(x[i] ^ (x[i] >> 31));
    }
#endif
    return any;
}

/* n samples shifted left, times weights: high words. */
static inline void eq_mve_windowed(int32_t *y, const int16_t *x, const int32_t *w, int32_t shift, int32_t n)
{
#if EQ_MVE
    for (; n > 0; n -= 4, x += 4, w += 4, y += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)n);
        vstrwq_p_s32(y, vmulhq_s32(vshlq_r_s32(vldrhq_z_s32(x, some), shift), vldrwq_z_s32(w, some)), some);
    }
#else
    for (int32_t i = 0; i < n; i++) {
        y[i] = eq_high_word(eq_shift_left(x[i], shift), w[i]);
    }
#endif
}

/* The sum of weights times the squared magnitudes of n bins, real and imaginary parts in turn, shifted left; high words of squares. */
static inline uint64_t eq_mve_band_energy(const int32_t *bins, const int16_t *w, int32_t shift, int32_t n)
{
    uint64_t total = 0;
#if EQ_MVE
    const uint32x4_t even = vshlq_n_u32(vidupq_n_u32(0, 1), 1);
    for (; n > 0; n -= 4, bins += 8, w += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)n);
        const int32x4_t re = vshlq_r_s32(vldrwq_gather_shifted_offset_z_s32(bins, even, some), shift);
        const int32x4_t im = vshlq_r_s32(vldrwq_gather_shifted_offset_z_s32(bins + 1, even, some), shift);
        const uint32x4_t energy = vreinterpretq_u32_s32(vaddq_s32(vmulhq_s32(re, re), vmulhq_s32(im, im)));
        total = vmlaldavaq_u32(total, energy, vreinterpretq_u32_s32(vldrhq_z_s32(w, some)));
    }
#else
    for (int32_t i = 0; i < n; i++) {
        const int32_t re = eq_shift_left(bins[2 * i], shift), im = eq_shift_left(bins[2 * i + 1], shift);
        const uint32_t energy = (uint32_t)(eq_high_word(re, re) + eq_high_word(im, im)), weight = (uint32_t)w[i];
        total += (uint64_t)energy * weight;
    }
#endif
    return total;
}

/* sum + the products of two rows of n int16. */
static inline int64_t eq_mve_long_products(int64_t sum, const int16_t *x, const int16_t *w, int32_t n)
{
#if EQ_MVE
    for (; n > 0; n -= 8, x += 8, w += 8) {
        const mve_pred16_t some = vctp16q((uint32_t)n);
        sum = vmlaldavaq_s16(sum, vldrhq_z_s16(x, some), vldrhq_z_s16(w, some));
    }
#else
    for (int32_t i = 0; i < n; i++) {
        sum += x[i] * w[i];
    }
#endif
    return sum;
}

#endif
