/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Arithmetic on int32 in the lanes of MVE vectors (eq_mve.h).
 *
 * Rows of weights are packed in blocks of four output channels: the biases of channels 0, 2, 1 and 3, then the first 16 weights
 * of each channel, the next 16, and so on, filled with zeros, then four multipliers, and in one word four int8 shifts, negated. */
#ifndef EQ_SIMD_MVE_H
#define EQ_SIMD_MVE_H

#include "eq_mve.h"
#include "eq_numerics.h"

#if !EQ_MVE
/* The low words of sums and products, without overflow. */
static inline int32_t eq_mve_wrapped(int64_t x)
{
    return (int32_t)(uint32_t)(uint64_t)x;
}
#endif

/* a + b */
static inline eq_mve_i32x4 eq_mve_add4(eq_mve_i32x4 a, eq_mve_i32x4 b)
{
#if EQ_MVE
    return vaddq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_mve_wrapped((int64_t)a.lane[i] + b.lane[i]);
    }
    return a;
#endif
}

/* a + b in every lane */
static inline eq_mve_i32x4 eq_mve_offset4(eq_mve_i32x4 a, int32_t b)
{
#if EQ_MVE
    return vaddq_n_s32(a, b);
#else
    return eq_mve_add4(a, eq_mve_dup4(b));
#endif
}

/* a - b */
static inline eq_mve_i32x4 eq_mve_sub4(eq_mve_i32x4 a, eq_mve_i32x4 b)
{
#if EQ_MVE
    return vsubq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_mve_wrapped((int64_t)a.lane[i] - b.lane[i]);
    }
    return a;
#endif
}

/* a * b */
static inline eq_mve_i32x4 eq_mve_mul4(eq_mve_i32x4 a, eq_mve_i32x4 b)
{
#if EQ_MVE
    return vmulq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_mve_wrapped((int64_t)a.lane[i] * b.lane[i]);
    }
    return a;
#endif
}

/* a * b, b the same in every lane */
static inline eq_mve_i32x4 eq_mve_times4_i32(eq_mve_i32x4 a, int32_t b)
{
#if EQ_MVE
    return vmulq_n_s32(a, b);
#else
    return eq_mve_mul4(a, eq_mve_dup4(b));
#endif
}

/* sum + a * b, b the same in every lane */
static inline eq_mve_i32x4 eq_mve_mac4(eq_mve_i32x4 sum, eq_mve_i32x4 a, int32_t b)
{
#if EQ_MVE
    return vmlaq_n_s32(sum, a, b);
#else
    return eq_mve_add4(sum, eq_mve_mul4(a, eq_mve_dup4(b)));
#endif
}

/* a * b + c, c the same in every lane */
static inline eq_mve_i32x4 eq_mve_affine4(eq_mve_i32x4 a, eq_mve_i32x4 b, int32_t c)
{
#if EQ_MVE
    return vmlasq_n_s32(a, b, c);
#else
    return eq_mve_offset4(eq_mve_mul4(a, b), c);
#endif
}

/* x / divisor, halves away from zero. */
static inline eq_mve_i32x4 eq_mve_divide4(eq_mve_i32x4 x, int32_t divisor)
{
    int32_t lanes[4];
    eq_mve_store4_i32(lanes, x);
    for (int32_t i = 0; i < 4; i++) {
        const int32_t half = divisor / 2;
        lanes[i] = (lanes[i] > 0 ? lanes[i] + half : lanes[i] - half) / divisor;
    }
    return eq_mve_load4_i32(lanes);
}

/* x * 2^n, n from -31 to 31; the result must fit. */
static inline eq_mve_i32x4 eq_mve_shift4(eq_mve_i32x4 x, int32_t n)
{
#if EQ_MVE
    return vshlq_r_s32(x, n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = n < 0 ? x.lane[i] >> -n : eq_shift_left(x.lane[i], n);
    }
    return x;
#endif
}

/* Rounding "single" of x * 2^left, the bits to shift right given as negative numbers. */
static inline eq_mve_i32x4 eq_mve_requantize4_single(eq_mve_i32x4 x, int32_t left, eq_mve_i32x4 m, eq_mve_i32x4 minus_n)
{
#if EQ_MVE
    return vrshlq_s32(vmulhq_s32(left ? vshlq_r_s32(x, left) : x, m), minus_n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_single(eq_shift_left(x.lane[i], left), m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* Rounding "tflm", likewise. */
static inline eq_mve_i32x4 eq_mve_requantize4_tflm(eq_mve_i32x4 x, eq_mve_i32x4 m, eq_mve_i32x4 minus_n)
{
#if EQ_MVE
    const eq_mve_i32x4 zero = vdupq_n_s32(0), right = vminq_s32(minus_n, zero);
    const eq_mve_i32x4 high = vqrdmulhq_s32(vqshlq_s32(x, vmaxq_s32(minus_n, zero)), m);
    return vrshlq_s32(vqaddq_s32(high, vshrq_n_s32(vandq_s32(high, right), 31)), right);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_tflm(x.lane[i], m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* Rounding "tflm" where |x| < 2^30, every n is at least 1 and the results below 0, which round otherwise, are not told from 0. */
static inline eq_mve_i32x4 eq_mve_requantize4_tflm_rectified(eq_mve_i32x4 x, eq_mve_i32x4 m, eq_mve_i32x4 minus_n)
{
#if EQ_MVE
    return vrshlq_s32(vqrdmulhq_s32(x, m), minus_n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_tflm_small(x.lane[i], m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* Rounding "tflm" where |x| < 2^30 and every n is at least 1. */
static inline eq_mve_i32x4 eq_mve_requantize4_tflm_small(eq_mve_i32x4 x, eq_mve_i32x4 m, eq_mve_i32x4 minus_n)
{
#if EQ_MVE
    const eq_mve_i32x4 high = vqrdmulhq_s32(x, m);
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), minus_n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_tflm_small(x.lane[i], m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* The same, multiplier and shift alike in every lane. */
static inline eq_mve_i32x4 eq_mve_rescale4_tflm_small(eq_mve_i32x4 x, int32_t m, int32_t minus_n)
{
#if EQ_MVE
    const eq_mve_i32x4 high = vqrdmulhq_n_s32(x, m);
    return vrshlq_n_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), minus_n);
#else
    return eq_mve_requantize4_tflm_small(x, eq_mve_dup4(m), eq_mve_dup4(minus_n));
#endif
}

/* x + offset, limited to [low, high]. */
static inline eq_mve_i32x4 eq_mve_limit4(eq_mve_i32x4 x, int32_t offset, int32_t low, int32_t high)
{
#if EQ_MVE
    return vminq_s32(vmaxq_s32(vaddq_n_s32(x, offset), vdupq_n_s32(low)), vdupq_n_s32(high));
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_clamp(x.lane[i] + offset, low, high);
    }
    return x;
#endif
}

/* x + offset, limited to int8 in the low bytes of the lanes; the other bytes are arbitrary. */
static inline eq_mve_i32x4 eq_mve_saturate4(eq_mve_i32x4 x, int32_t offset)
{
#if EQ_MVE
    x = vaddq_n_s32(x, offset);
    __asm__("vqmovnb.s32 %q0, %q0\n"
            "vqmovnb.s16 %q0, %q0"
            : "+w"(x));
    return x;
#else
    return eq_mve_limit4(x, offset, -128, 127);
#endif
}

/* The low bytes of four lanes. */
static inline void eq_mve_store4_i8(int8_t *to, eq_mve_i32x4 v)
{
#if EQ_MVE
    vstrbq_s32(to, v);
#else
    for (int32_t i = 0; i < 4; i++) {
        to[i] = (int8_t)v.lane[i];
    }
#endif
}

/* The low bytes of the first n (any number) of four lanes. */
static inline void eq_mve_store_first_i8(int8_t *to, eq_mve_i32x4 v, int32_t n)
{
#if EQ_MVE
    vstrbq_p_s32(to, v, vctp32q((uint32_t)n));
#else
    for (int32_t i = 0; i < 4 && i < n; i++) {
        to[i] = (int8_t)v.lane[i];
    }
#endif
}

/* The same to addresses `step` bytes apart. */
static inline void eq_mve_scatter4_i8(int8_t *to, int32_t step, eq_mve_i32x4 v, int32_t n)
{
#if EQ_MVE
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)step);
    if (n >= 4) {
        vstrbq_scatter_offset_s32(to, at, v);
    } else {
        vstrbq_scatter_offset_p_s32(to, at, v, vctp32q((uint32_t)n));
    }
#else
    for (int32_t i = 0; i < 4 && i < n; i++) {
        to[i * step] = (int8_t)v.lane[i];
    }
#endif
}

/* The first n (any number; at most sixteen are read) of sixteen int8, the others 0. */
static inline eq_mve_i8x16 eq_mve_first16(const int8_t *from, int32_t n)
{
#if EQ_MVE
    return vldrbq_z_s8(from, vctp8q((uint32_t)n));
#else
    eq_mve_i8x16 v;
    for (int32_t i = 0; i < 16; i++) {
        v.lane[i] = i < n ? from[i] : (int8_t)0;
    }
    return v;
#endif
}

/* Sixteen times x. */
static inline eq_mve_i8x16 eq_mve_dup16(int8_t x)
{
#if EQ_MVE
    return vdupq_n_s8(x);
#else
    eq_mve_i8x16 v;
    for (int32_t i = 0; i < 16; i++) {
        v.lane[i] = x;
    }
    return v;
#endif
}

/* The larger ones. */
static inline eq_mve_i8x16 eq_mve_max16(eq_mve_i8x16 a, eq_mve_i8x16 b)
{
#if EQ_MVE
    return vmaxq_s8(a, b);
#else
    for (int32_t i = 0; i < 16; i++) {
        a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

/* The smaller ones. */
static inline eq_mve_i8x16 eq_mve_min16(eq_mve_i8x16 a, eq_mve_i8x16 b)
{
#if EQ_MVE
    return vminq_s8(a, b);
#else
    for (int32_t i = 0; i < 16; i++) {
        a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

/* The first n (any number) of sixteen int8. */
static inline void eq_mve_store_first16(int8_t *to, eq_mve_i8x16 v, int32_t n)
{
#if EQ_MVE
    vstrbq_p_s8(to, v, vctp8q((uint32_t)n));
#else
    for (int32_t i = 0; i < 16 && i < n; i++) {
        to[i] = v.lane[i];
    }
#endif
}

#endif
