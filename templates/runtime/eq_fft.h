/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* The numbers of Fourier transforms in KISS FFT's arithmetic; twin of `Numbers` in edgeq/ops/fourier.py. Integers are fractions
 * of 15 or 31 bits whose products are rounded, and whose sums wrap where they are stored. */
#ifndef EQ_FFT_H
#define EQ_FFT_H

#include <stdint.h>

/* A product of fractions with 30 bits behind the point, to 15. */
static inline int16_t eq_fft_round_s16(int32_t x)
{
    return (int16_t)((x + (1 << 14)) >> 15);
}

static inline int16_t eq_fft_scaled_s16(int32_t x, int32_t by)
{
    return eq_fft_round_s16(x * by);
}

static inline int16_t eq_fft_divided_s16(int32_t x, int32_t by)
{
    return eq_fft_round_s16(x * (32767 / by));
}

static inline int16_t eq_fft_kept_s16(int32_t x)
{
    return (int16_t)x;
}

static inline int16_t eq_fft_halved_s16(int32_t x)
{
    return (int16_t)(x >> 1);
}

/* The real and the imaginary part of (a + i b) (c + i d). */
static inline int16_t eq_fft_re_s16(int32_t a, int32_t b, int32_t c, int32_t d)
{
    return eq_fft_round_s16((int32_t)((uint32_t)(a * c) - (uint32_t)(b * d)));
}

static inline int16_t eq_fft_im_s16(int32_t a, int32_t b, int32_t c, int32_t d)
{
    return eq_fft_round_s16((int32_t)((uint32_t)(a * d) + (uint32_t)(b * c)));
}

/* The same with 62 and 31 bits. */
static inline int32_t eq_fft_round_s32(int64_t x)
{
    return (int32_t)((x + (1 << 30)) >> 31);
}

static inline int32_t eq_fft_scaled_s32(int64_t x, int64_t by)
{
    return eq_fft_round_s32(x * by);
}

static inline int32_t eq_fft_divided_s32(int64_t x, int32_t by)
{
    return eq_fft_round_s32(x * (2147483647 / by));
}

static inline int32_t eq_fft_kept_s32(int64_t x)
{
    return (int32_t)x;
}

static inline int32_t eq_fft_halved_s32(int64_t x)
{
    return (int32_t)(x >> 1);
}

static inline int32_t eq_fft_re_s32(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return eq_fft_round_s32((int64_t)((uint64_t)(a * c) - (uint64_t)(b * d)));
}

static inline int32_t eq_fft_im_s32(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return eq_fft_round_s32((int64_t)((uint64_t)(a * d) + (uint64_t)(b * c)));
}

/* The high word of a product. */
static inline int32_t eq_high_word(int32_t x, int32_t by)
{
    return (int32_t)(((int64_t)x * by) >> 32);
}

/* int32 with a common exponent: high words, doubled; nothing is divided, and nothing overflows. */
static inline int32_t eq_fft_scaled_b32(int32_t x, int32_t by)
{
    return eq_high_word(x, by) * 2;
}

static inline int32_t eq_fft_divided_b32(int32_t x, int32_t by)
{
    (void)by;
    return x;
}

static inline int32_t eq_fft_kept_b32(int32_t x)
{
    return x;
}

static inline int32_t eq_fft_halved_b32(int32_t x)
{
    return x >> 1;
}

static inline int32_t eq_fft_re_b32(int32_t a, int32_t b, int32_t c, int32_t d)
{
    return (eq_high_word(a, c) - eq_high_word(b, d)) * 2;
}

static inline int32_t eq_fft_im_b32(int32_t a, int32_t b, int32_t c, int32_t d)
{
    return (eq_high_word(a, d) + eq_high_word(b, c)) * 2;
}

/* Floats are not divided. */
static inline float eq_fft_scaled_f32(float x, float by)
{
    return x * by;
}

static inline float eq_fft_divided_f32(float x, int32_t by)
{
    (void)by;
    return x;
}

static inline float eq_fft_kept_f32(float x)
{
    return x;
}

static inline float eq_fft_halved_f32(float x)
{
    return x * 0.5f;
}

static inline float eq_fft_re_f32(float a, float b, float c, float d)
{
    return a * c - b * d;
}

static inline float eq_fft_im_f32(float a, float b, float c, float d)
{
    return a * d + b * c;
}

#endif
