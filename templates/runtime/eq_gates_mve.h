/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Gates of recurrent layers with MVE: four units at a time. */
#ifndef EQ_GATES_MVE_H
#define EQ_GATES_MVE_H

#include "eq_gates.h"
#include "eq_simd_mve.h"

/* c times f of Q0.15, 0 <= f < 1, halves up. */
static inline eq_mve_i32x4 eq_mve_part4_q15(eq_mve_i32x4 c, eq_mve_i32x4 f)
{
#if EQ_MVE
    return vqrdmulhq_s32(c, vshlq_n_s32(f, 16));
#else
    for (int32_t i = 0; i < 4; i++) {
        c.lane[i] = (int32_t)(((int64_t)c.lane[i] * f.lane[i] + (1 << 14)) >> 15);
    }
    return c;
#endif
}

/* x limited to int16. */
static inline eq_mve_i32x4 eq_mve_saturate16x4(eq_mve_i32x4 x)
{
#if EQ_MVE
    return vmovlbq_s16(vqmovnbq_s32(vreinterpretq_s16_s32(x), x));
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_saturate16(x.lane[i]);
    }
    return x;
#endif
}

/* x / 2^bits, halves up: rounding "single"; halves away from zero: rounding "tflm". `bits` from 2 to 30, a literal. */
#if EQ_MVE
#define eq_mve_scale4_single(x, bits) vrshrq_n_s32(x, bits)
#define eq_mve_scale4_tflm(x, bits) eq_mve_away4(vrshrq_n_s32(x, 1), -((bits) - 1))
static inline eq_mve_i32x4 eq_mve_away4(eq_mve_i32x4 x, int32_t minus_bits)
{
    return vrshlq_n_s32(vaddq_s32(x, vshrq_n_s32(x, 31)), minus_bits);
}
#else
static inline eq_mve_i32x4 eq_mve_scale4_single(eq_mve_i32x4 x, int32_t bits)
{
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = (x.lane[i] + (1 << (bits - 1))) >> bits;
    }
    return x;
}

static inline eq_mve_i32x4 eq_mve_scale4_tflm(eq_mve_i32x4 x, int32_t bits)
{
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_divide_by_pot((x.lane[i] + 1) >> 1, bits - 1);
    }
    return x;
}
#endif

#if EQ_MVE
/* eq_gate_table of four magnitudes. */
static inline eq_mve_i32x4 eq_mve_gate_table4(const uint16_t *table, eq_mve_i32x4 magnitude, int32_t bits)
{
    const eq_mve_i32x4 at = vminq_s32(magnitude, vdupq_n_s32((255 << bits) - 1));
    const uint32x4_t index = vreinterpretq_u32_s32(vshlq_r_s32(at, -bits));
    const eq_mve_i32x4 low = vreinterpretq_s32_u32(vldrhq_gather_shifted_offset_u32(table, index));
    const eq_mve_i32x4 high = vreinterpretq_s32_u32(vldrhq_gather_shifted_offset_u32(table + 1, index));
    return vaddq_s32(vshlq_r_s32(low, bits), vmulq_s32(vandq_s32(at, vdupq_n_s32((1 << bits) - 1)), vsubq_s32(high, low)));
}
#endif

/* Sigmoid of x in units of 2^-12 / 3, |x| < 2^30; Q0.15. */
static inline eq_mve_i32x4 eq_mve_sigmoid4_q15(const uint16_t *table, eq_mve_i32x4 x)
{
#if EQ_MVE
    const eq_mve_i32x4 sign = vshrq_n_s32(x, 31);
    const eq_mve_i32x4 mirrored = veorq_s32(eq_mve_gate_table4(table, vabsq_s32(x), 9), sign);
    return vrshrq_n_s32(vaddq_s32(mirrored, vandq_s32(sign, vdupq_n_s32(1 << 25))), 10);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_sigmoid_q15(table, x.lane[i]);
    }
    return x;
#endif
}

/* Tanh, likewise. */
static inline eq_mve_i32x4 eq_mve_tanh4_q15(const uint16_t *table, eq_mve_i32x4 x)
{
#if EQ_MVE
    const eq_mve_i32x4 sign = vshrq_n_s32(x, 31);
    return vrshrq_n_s32(veorq_s32(vsubq_n_s32(eq_mve_gate_table4(table, vabsq_s32(x), 8), 1 << 23), sign), 8);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_tanh_q15(table, x.lane[i]);
    }
    return x;
#endif
}

#endif
