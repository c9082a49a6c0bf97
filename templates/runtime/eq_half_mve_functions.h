/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Functions of four float32 with MVE: the sequences of eq_float.h, under the same names. Their results are those of the FPU, though
 * vectors know no subnormal numbers, for every argument unless a line says less. */
#ifndef EQ_HALF_MVE_FUNCTIONS_H
#define EQ_HALF_MVE_FUNCTIONS_H

#include "eq_half_mve.h"

/* |a| with the sign of b. */
static inline eq_mve_f32x4 eq_mve_with_sign4(eq_mve_i32x4 a, eq_mve_f32x4 b)
{
#if EQ_MVE
    const int32x4_t sign = vdupq_n_s32(INT32_MIN);
    return vreinterpretq_f32_s32(vorrq_s32(vbicq_s32(a, sign), vandq_s32(vreinterpretq_s32_f32(b), sign)));
#else
    for (int32_t i = 0; i < 4; i++) {
        b.lane[i] = eq_with_sign(eq_from_bits(a.lane[i]), b.lane[i]);
    }
    return b;
#endif
}

/* The bits of |x|, at most those of `limit`. */
static inline eq_mve_i32x4 eq_mve_magnitude4(eq_mve_f32x4 x, float limit)
{
#if EQ_MVE
    return vminq_s32(vbicq_s32(vreinterpretq_s32_f32(x), vdupq_n_s32(INT32_MIN)), vdupq_n_s32(eq_bits(limit)));
#else
    eq_mve_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = eq_bits(eq_absolute(x.lane[i]));
        v.lane[i] = v.lane[i] < eq_bits(limit) ? v.lane[i] : eq_bits(limit);
    }
    return v;
#endif
}

static inline eq_mve_f32x4 eq_mve_negative4(eq_mve_f32x4 x)
{
#if EQ_MVE
    return vnegq_f32(x);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_negative(x.lane[i]);
    }
    return x;
#endif
}

/* x where it is subnormal, else y. */
static inline eq_mve_f32x4 eq_mve_unless_tiny4(eq_mve_f32x4 x, eq_mve_f32x4 y)
{
#if EQ_MVE
    const int32x4_t magnitude = vbicq_s32(vreinterpretq_s32_f32(x), vdupq_n_s32(INT32_MIN));
    return vpselq_f32(x, y, vcmpltq_n_s32(magnitude, 0x800000));
#else
    for (int32_t i = 0; i < 4; i++) {
        y.lane[i] = eq_bits(eq_absolute(x.lane[i])) < 0x800000 ? x.lane[i] : y.lane[i];
    }
    return y;
#endif
}

/* 2^n of the integers n that `shifted`, n + EQ_MAGIC, holds. */
static inline eq_mve_f32x4 eq_mve_power_of_two4(eq_mve_f32x4 shifted)
{
    const eq_mve_i32x4 exponent = eq_mve_offset4(eq_mve_bits4(shifted), 127 - eq_bits(EQ_MAGIC));
#if EQ_MVE
    return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
#else
    return eq_mve_from_bits4(eq_mve_shift4(exponent, 23));
#endif
}

/* exp(x) = t + q * t. Below 2^-63 in magnitude r * r may be lost; it is far below the last bit of r. q * t is subnormal only where t is
 * below 2^-90. */
static inline eq_mve_f32x4 eq_mve_exp_parts4(eq_mve_f32x4 x, eq_mve_f32x4 *t)
{
    x = eq_mve_with_sign4(eq_mve_magnitude4(x, 80.0f), x);
    const eq_mve_f32x4 shifted = eq_mve_plus4(eq_mve_times4(x, 1.44269502f), EQ_MAGIC);
    const eq_mve_f32x4 n = eq_mve_plus4(shifted, -EQ_MAGIC);
    *t = eq_mve_power_of_two4(shifted);
    const eq_mve_f32x4 r = eq_mve_sub4_f32(eq_mve_sub4_f32(x, eq_mve_times4(n, 0.693359375f)), eq_mve_times4(n, -2.12194440e-4f));
    eq_mve_f32x4 p = eq_mve_plus4(eq_mve_times4(r, 1.38824654e-3f), 8.36654380e-3f);
    p = eq_mve_plus4(eq_mve_mul4_f32(p, r), 4.16671968e-2f);
    p = eq_mve_plus4(eq_mve_mul4_f32(p, r), 1.66665435e-1f);
    p = eq_mve_plus4(eq_mve_mul4_f32(p, r), 4.99999976e-1f);
    return eq_mve_add4_f32(r, eq_mve_mul4_f32(eq_mve_mul4_f32(r, r), p));
}

/* Of x >= -62, and of smaller x where what exp(x) meets next is 2^-63 or more, or a half. */
static inline eq_mve_f32x4 eq_mve_exp4(eq_mve_f32x4 x)
{
    eq_mve_f32x4 t;
    const eq_mve_f32x4 q = eq_mve_exp_parts4(x, &t);
    return eq_mve_add4_f32(eq_mve_mul4_f32(q, t), t);
}

static inline eq_mve_f32x4 eq_mve_sigmoid4(eq_mve_f32x4 x)
{
    return eq_mve_each_div4(eq_mve_dup4_f32(1.0f), eq_mve_plus4(eq_mve_exp4(eq_mve_negative4(x)), 1.0f));
}

static inline eq_mve_f32x4 eq_mve_silu4(eq_mve_f32x4 x)
{
    return eq_mve_each_div4(x, eq_mve_plus4(eq_mve_exp4(eq_mve_negative4(x)), 1.0f));
}

/* A subnormal number is its own tanh. */
static inline eq_mve_f32x4 eq_mve_tanh4(eq_mve_f32x4 x)
{
    eq_mve_f32x4 t;
    const eq_mve_f32x4 q = eq_mve_exp_parts4(eq_mve_times4(eq_mve_with_sign4(eq_mve_bits4(x), eq_mve_dup4_f32(1.0f)), -2.0f), &t);
    const eq_mve_f32x4 m = eq_mve_add4_f32(eq_mve_mul4_f32(q, t), eq_mve_plus4(t, -1.0f));
    return eq_mve_unless_tiny4(x, eq_mve_with_sign4(eq_mve_bits4(eq_mve_each_div4(m, eq_mve_plus4(m, 2.0f))), x));
}

#endif
