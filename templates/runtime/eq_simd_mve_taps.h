/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Inputs times weights channel by channel with MVE, sixteen channels at a time; plain C where the compiler builds for another computer.
 *
 * Four vectors hold what belongs to sixteen channels: lane j of vector k is channel 4 * j + k. */
#ifndef EQ_SIMD_MVE_TAPS_H
#define EQ_SIMD_MVE_TAPS_H

#include "eq_simd_mve.h"

/* Four times four int32, and int8. */
static inline void eq_mve_load16_i32(eq_mve_i32x4 v[4], const int32_t *from)
{
    for (int32_t k = 0; k < 4; k++) {
        v[k] = eq_mve_load4_i32(from + 4 * k);
    }
}

/* Adds to the sums of sixteen channels the products of their inputs and weights, both sixteen by sixteen: those of two taps at once, whose
 * sums fit int16, then of one. */
static inline void eq_mve_taps16(eq_mve_i32x4 sums[4], const int8_t *x, const int8_t *w, int32_t pairs, int32_t rest)
{
#if EQ_MVE
    eq_mve_i32x4 s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    __asm__ volatile("wls lr, %6, 2f\n1:\n"
                     "vldrb.8 q4, [%4], #16\n"
                     "vldrb.8 q5, [%5], #16\n"
                     "vmullb.s8 q6, q4, q5\n"
                     "vmullt.s8 q7, q4, q5\n"
                     "vldrb.8 q4, [%4], #16\n"
                     "vldrb.8 q5, [%5]\n"
                     "vmullb.s8 q5, q4, q5\n"
                     "vadd.i16 q6, q6, q5\n"
                     "vldrb.8 q5, [%5], #16\n"
                     "vmullt.s8 q5, q4, q5\n"
                     "vadd.i16 q7, q7, q5\n"
                     "vmovlb.s16 q4, q6\n"
                     "vadd.i32 %q0, %q0, q4\n"
                     "vmovlt.s16 q4, q6\n"
                     "vadd.i32 %q2, %q2, q4\n"
                     "vmovlb.s16 q4, q7\n"
                     "vadd.i32 %q1, %q1, q4\n"
                     "vmovlt.s16 q4, q7\n"
                     "vadd.i32 %q3, %q3, q4\n"
                     "le lr, 1b\n2:\n"
                     "wls lr, %7, 4f\n3:\n"
                     "vldrb.8 q4, [%4], #16\n"
                     "vldrb.8 q5, [%5], #16\n"
                     "vmullb.s8 q6, q4, q5\n"
                     "vmullt.s8 q7, q4, q5\n"
                     "vmovlb.s16 q4, q6\n"
                     "vadd.i32 %q0, %q0, q4\n"
                     "vmovlt.s16 q4, q6\n"
                     "vadd.i32 %q2, %q2, q4\n"
                     "vmovlb.s16 q4, q7\n"
                     "vadd.i32 %q1, %q1, q4\n"
                     "vmovlt.s16 q4, q7\n"
                     "vadd.i32 %q3, %q3, q4\n"
                     "le lr, 3b\n4:"
                     : "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3), "+r"(x), "+r"(w)
                     : "r"(pairs), "r"(rest)
                     : "q4", "q5", "q6", "q7", "lr", "memory");
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
#else
    for (int32_t t = 0; t < 2 * pairs + rest; t++) {
        for (int32_t c = 0; c < 16; c++) {
            sums[c % 4].lane[c / 4] += x[16 * t + c] * w[16 * t + c];
        }
    }
#endif
}

/* Sixteen results plus `offset`, limited to [low, high], in the order of their channels. */
static inline void eq_mve_store16_i8(int8_t *to, const eq_mve_i32x4 v[4], int32_t offset, int32_t low, int32_t high)
{
#if EQ_MVE
    const int16x8_t even = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(v[0]), v[0]), v[2]);
    const int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(v[1]), v[1]), v[3]);
    const int16x8_t even_sum = vqaddq_n_s16(even, (int16_t)offset), odd_sum = vqaddq_n_s16(odd, (int16_t)offset);
    int8x16_t result = vqmovntq_s16(vqmovnbq_s16(vreinterpretq_s8_s16(even_sum), even_sum), odd_sum);
    if (low > INT8_MIN) {
        result = vmaxq_s8(result, vdupq_n_s8((int8_t)low));
    }
    if (high < INT8_MAX) {
        result = vminq_s8(result, vdupq_n_s8((int8_t)high));
    }
    vstrbq_s8(to, result);
#else
    for (int32_t c = 0; c < 16; c++) {
        to[c] = (int8_t)eq_clamp(v[c % 4].lane[c / 4] + offset, low, high);
    }
#endif
}

/* A vector of sixteen int8 from each of `count` places, `step` bytes apart, to places `pitch` bytes apart; count > 0. */
static inline void eq_mve_gather16(int8_t *to, int32_t pitch, const int8_t *from, int32_t step, int32_t count)
{
#if EQ_MVE
    __asm__ volatile("dls lr, %4\n1:\n"
                     "vldrb.8 q0, [%1]\n"
                     "add %1, %3\n"
                     "vstrb.8 q0, [%0]\n"
                     "add %0, %2\n"
                     "le lr, 1b"
                     : "+r"(to), "+r"(from)
                     : "r"(pitch), "r"(step), "r"(count)
                     : "q0", "lr", "memory");
#else
    for (int32_t i = 0; i < count; i++) {
        for (int32_t c = 0; c < 16; c++) {
            to[i * pitch + c] = from[i * step + c];
        }
    }
#endif
}

#endif
