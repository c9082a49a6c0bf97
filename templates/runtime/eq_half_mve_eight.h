/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Eight halves at a time with MVE. A sum or product in float32 rounded to a half is the sum or product rounded once, for float32 has
 * more than twice a half's digits and two: so half instructions give the same bits. */
#ifndef EQ_HALF_MVE_EIGHT_H
#define EQ_HALF_MVE_EIGHT_H

#include "eq_half_mve.h"

#if EQ_MVE
typedef int16x8_t eq_mve_i16x8;
#else
typedef struct {
    int16_t lane[8];
} eq_mve_i16x8;
#endif

/* Eight halves. */
static inline eq_mve_i16x8 eq_mve_load8_f16(const uint16_t *from)
{
#if EQ_MVE
    return vldrhq_s16((const int16_t *)from);
#else
    eq_mve_i16x8 v;
    for (int32_t i = 0; i < 8; i++) {
        v.lane[i] = (int16_t)from[i];
    }
    return v;
#endif
}

/* The first n (any number; at most eight are read) of eight halves, the others 0. */
static inline eq_mve_i16x8 eq_mve_first8_f16(const uint16_t *from, int32_t n)
{
#if EQ_MVE
    return vldrhq_z_s16((const int16_t *)from, vctp16q((uint32_t)n));
#else
    eq_mve_i16x8 v;
    for (int32_t i = 0; i < 8; i++) {
        v.lane[i] = i < n ? (int16_t)from[i] : (int16_t)0;
    }
    return v;
#endif
}

/* Eight halves to memory. */
static inline void eq_mve_store8_f16(uint16_t *to, eq_mve_i16x8 v)
{
#if EQ_MVE
    vstrhq_s16((int16_t *)to, v);
#else
    for (int32_t i = 0; i < 8; i++) {
        to[i] = (uint16_t)v.lane[i];
    }
#endif
}

/* Eight halves to memory, in the order that eq_half_mve_sums.h takes weights in. */
static inline void eq_mve_store_mixed8(uint16_t *to, eq_mve_i16x8 v)
{
#if EQ_MVE
    const uint16x8_t at = vorrq_u16(vshlq_n_u16(vandq_u16(vidupq_n_u16(0, 1), vdupq_n_u16(3)), 1), vshrq_n_u16(vidupq_n_u16(0, 1), 2));
    vstrhq_scatter_shifted_offset_s16((int16_t *)to, at, v);
#else
    for (int32_t i = 0; i < 8; i++) {
        to[i % 4 * 2 + i / 4] = (uint16_t)v.lane[i];
    }
#endif
}

/* The first n (any number) of eight halves to memory. */
static inline void eq_mve_store_first8_f16(uint16_t *to, eq_mve_i16x8 v, int32_t n)
{
#if EQ_MVE
    vstrhq_p_s16((int16_t *)to, v, vctp16q((uint32_t)n));
#else
    for (int32_t i = 0; i < 8 && i < n; i++) {
        to[i] = (uint16_t)v.lane[i];
    }
#endif
}

/* Eight times x. */
static inline eq_mve_i16x8 eq_mve_dup8(int16_t x)
{
#if EQ_MVE
    return vdupq_n_s16(x);
#else
    const eq_mve_i16x8 v = {{x, x, x, x, x, x, x, x}};
    return v;
#endif
}

/* a + b, a - b and a * b of halves. */
static inline eq_mve_i16x8 eq_mve_add8_f16(eq_mve_i16x8 a, eq_mve_i16x8 b)
{
#if EQ_MVE
    return vreinterpretq_s16_f16(vaddq_f16(vreinterpretq_f16_s16(a), vreinterpretq_f16_s16(b)));
#else
    for (int32_t i = 0; i < 8; i++) {
        a.lane[i] = (int16_t)eq_half_from_float(eq_float_from_half((uint16_t)a.lane[i]) + eq_float_from_half((uint16_t)b.lane[i]));
    }
    return a;
#endif
}

static inline eq_mve_i16x8 eq_mve_sub8_f16(eq_mve_i16x8 a, eq_mve_i16x8 b)
{
#if EQ_MVE
    return vreinterpretq_s16_f16(vsubq_f16(vreinterpretq_f16_s16(a), vreinterpretq_f16_s16(b)));
#else
    for (int32_t i = 0; i < 8; i++) {
        a.lane[i] = (int16_t)eq_half_from_float(eq_float_from_half((uint16_t)a.lane[i]) - eq_float_from_half((uint16_t)b.lane[i]));
    }
    return a;
#endif
}

static inline eq_mve_i16x8 eq_mve_mul8_f16(eq_mve_i16x8 a, eq_mve_i16x8 b)
{
#if EQ_MVE
    return vreinterpretq_s16_f16(vmulq_f16(vreinterpretq_f16_s16(a), vreinterpretq_f16_s16(b)));
#else
    for (int32_t i = 0; i < 8; i++) {
        a.lane[i] = (int16_t)eq_half_from_float(eq_float_from_half((uint16_t)a.lane[i]) * eq_float_from_half((uint16_t)b.lane[i]));
    }
    return a;
#endif
}

/* The larger and the smaller ones, as integers. */
static inline eq_mve_i16x8 eq_mve_max8(eq_mve_i16x8 a, eq_mve_i16x8 b)
{
#if EQ_MVE
    return vmaxq_s16(a, b);
#else
    for (int32_t i = 0; i < 8; i++) {
        a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

static inline eq_mve_i16x8 eq_mve_min8(eq_mve_i16x8 a, eq_mve_i16x8 b)
{
#if EQ_MVE
    return vminq_s16(a, b);
#else
    for (int32_t i = 0; i < 8; i++) {
        a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

/* Halves to eq_half_order, and back. */
static inline eq_mve_i16x8 eq_mve_order8(eq_mve_i16x8 h)
{
#if EQ_MVE
    return veorq_s16(h, vandq_s16(vshrq_n_s16(h, 15), vdupq_n_s16(0x7fff)));
#else
    for (int32_t i = 0; i < 8; i++) {
        h.lane[i] = (int16_t)eq_half_order((uint16_t)h.lane[i]);
    }
    return h;
#endif
}

/* Sums of products of eight channels, rounded: from start[c] through x[taps[2 * t] + c] * w[taps[2 * t + 1] + c], t = 0, 1, ..., count - 1. */
static inline eq_mve_i16x8 eq_mve_taps8(const float *start, const uint16_t *x, const uint16_t *w, const int32_t *taps, int32_t count)
{
#if EQ_MVE
    const float32x4x2_t first = vld2q_f32(start);
    register float32x4_t even __asm__("q0") = first.val[0];
    register float32x4_t odd __asm__("q1") = first.val[1];
    __asm__ volatile("wls lr, %[count], 2f\n"
                     "1:\n\t"
                     "ldrd r8, r9, [%[taps]], #8\n\t"
                     "add r8, %[x], r8, lsl #1\n\t"
                     "add r9, %[w], r9, lsl #1\n\t"
                     "vldrh.u16 q2, [r8]\n\t"
                     "vldrh.u16 q3, [r9]\n\t"
                     EQ_MVE_VCVT_T(4, 2)
                     EQ_MVE_VCVT_B(2, 2)
                     EQ_MVE_VCVT_T(5, 3)
                     EQ_MVE_VCVT_B(3, 3)
                     "vfma.f32 q1, q4, q5\n\t"
                     "vfma.f32 q0, q2, q3\n\t"
                     "le lr, 1b\n"
                     "2:"
                     : "+w"(even), "+w"(odd), [taps] "+r"(taps)
                     : [x] "r"(x), [w] "r"(w), [count] "r"(count)
                     : "r8", "r9", "lr", "q2", "q3", "q4", "q5", "memory");
    return vreinterpretq_s16_f16(eq_mve_interleaved(even, odd));
#else
    eq_mve_i16x8 v;
    for (int32_t c = 0; c < 8; c++) {
        float sum = start[c];
        for (int32_t t = 0; t < count; t++) {
            sum += eq_float_from_half(x[taps[2 * t] + c]) * eq_float_from_half(w[taps[2 * t + 1] + c]);
        }
        v.lane[c] = (int16_t)eq_half_from_float(sum);
    }
    return v;
#endif
}

#endif
