/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products of halves with MVE: lanes are outputs, so that every sum runs through its products in order.
 *
 * Weights lie in blocks of 8 or 16 rows, of which first come the first elements, those of rows 0, 4, 1, 5, 2, 6, 3, 7: VCVTB and VCVTT
 * make rows 0 to 3 and 4 to 7 of them (layouts mixed8 and mixed16). */
#ifndef EQ_HALF_MVE_SUMS_H
#define EQ_HALF_MVE_SUMS_H

#include "eq_half_mve.h"

#if EQ_MVE
/* Eight weights as floats in q<low> and q<high>. */
#define EQ_MVE_WEIGHTS8(low, high) "vldrh.u16 q" #low ", [%[w]], #16\n\t" EQ_MVE_VCVT_T(high, low) EQ_MVE_VCVT_B(low, low)
/* Sixteen rows, the input in a core register. */
#define EQ_MVE_ROWS16(x) \
    EQ_MVE_WEIGHTS8(4, 5) "vfma.f32 q0, q4, " #x "\n\tvfma.f32 q1, q5, " #x "\n\t" \
    EQ_MVE_WEIGHTS8(6, 7) "vfma.f32 q2, q6, " #x "\n\tvfma.f32 q3, q7, " #x "\n\t"
/* Eight rows, three inputs. */
#define EQ_MVE_TILE3X8 \
    "ldmia %[x]!, {r8, r9, r10}\n\t" EQ_MVE_WEIGHTS8(6, 7) \
    "vfma.f32 q0, q6, r8\n\tvfma.f32 q1, q7, r8\n\tvfma.f32 q2, q6, r9\n\tvfma.f32 q3, q7, r9\n\tvfma.f32 q4, q6, r10\n\tvfma.f32 q5, q7, r10\n\t"
#else
/* Weight of row r in element k of a block of `rows`. */
static inline float eq_mve_mixed_weight(const uint16_t *w, int32_t rows, int32_t k, int32_t r)
{
    return eq_float_from_half(w[rows * k + r / 8 * 8 + r % 4 * 2 + r / 4 % 2]);
}
#endif

/* sums[r] = start[r] + x[k] * w[k][r] for k = 0, 1, ..., count - 1, of sixteen rows; `start` may be `sums`. */
static inline void eq_mve_sums16(float *sums, const float *start, const float *x, const uint16_t *w, int32_t count)
{
#if EQ_MVE
    __asm__ volatile("vldrw.32 q0, [%[start]]\n\t"
                     "vldrw.32 q1, [%[start], #16]\n\t"
                     "vldrw.32 q2, [%[start], #32]\n\t"
                     "vldrw.32 q3, [%[start], #48]\n\t"
                     "wls lr, %[fours], 2f\n"
                     "1:\n\t"
                     "ldmia %[x]!, {r8, r9, r10, r12}\n\t"
                     EQ_MVE_ROWS16(r8)
                     EQ_MVE_ROWS16(r9)
                     EQ_MVE_ROWS16(r10)
                     EQ_MVE_ROWS16(r12)
                     "le lr, 1b\n"
                     "2:\n\t"
                     "wls lr, %[rest], 4f\n"
                     "3:\n\t"
                     "ldr r8, [%[x]], #4\n\t"
                     EQ_MVE_ROWS16(r8)
                     "le lr, 3b\n"
                     "4:\n\t"
                     "vstrw.32 q0, [%[sums]]\n\t"
                     "vstrw.32 q1, [%[sums], #16]\n\t"
                     "vstrw.32 q2, [%[sums], #32]\n\t"
                     "vstrw.32 q3, [%[sums], #48]"
                     : [x] "+r"(x), [w] "+r"(w)
                     : [sums] "r"(sums), [start] "r"(start), [fours] "r"(count >> 2), [rest] "r"(count & 3)
                     : "r8", "r9", "r10", "r12", "lr", "memory", EQ_MVE_VECTORS);
#else
    for (int32_t r = 0; r < 16; r++) {
        float sum = start[r];
        for (int32_t k = 0; k < count; k++) {
            sum += x[k] * eq_mve_mixed_weight(w, 16, k, r);
        }
        sums[r] = sum;
    }
#endif
}

/* The same of eight rows with three inputs: sums[8 * i + r] = start[r] + x[k][i] * w[k][r]. */
static inline void eq_mve_sums3x8(float *sums, const float *start, const float *x, const uint16_t *w, int32_t count)
{
#if EQ_MVE
    __asm__ volatile("vldrw.32 q0, [%[start]]\n\t"
                     "vldrw.32 q1, [%[start], #16]\n\t"
                     "vmov q2, q0\n\t"
                     "vmov q3, q1\n\t"
                     "vmov q4, q0\n\t"
                     "vmov q5, q1\n\t"
                     "wls lr, %[fours], 2f\n"
                     "1:\n\t"
                     EQ_MVE_TILE3X8
                     EQ_MVE_TILE3X8
                     EQ_MVE_TILE3X8
                     EQ_MVE_TILE3X8
                     "le lr, 1b\n"
                     "2:\n\t"
                     "wls lr, %[rest], 4f\n"
                     "3:\n\t"
                     EQ_MVE_TILE3X8
                     "le lr, 3b\n"
                     "4:\n\t"
                     "vstrw.32 q0, [%[sums]]\n\t"
                     "vstrw.32 q1, [%[sums], #16]\n\t"
                     "vstrw.32 q2, [%[sums], #32]\n\t"
                     "vstrw.32 q3, [%[sums], #48]\n\t"
                     "vstrw.32 q4, [%[sums], #64]\n\t"
                     "vstrw.32 q5, [%[sums], #80]"
                     : [x] "+r"(x), [w] "+r"(w)
                     : [sums] "r"(sums), [start] "r"(start), [fours] "r"(count >> 2), [rest] "r"(count & 3)
                     : "r8", "r9", "r10", "lr", "memory", EQ_MVE_VECTORS);
#else
    for (int32_t i = 0; i < 24; i++) {
        float sum = start[i % 8];
        for (int32_t k = 0; k < count; k++) {
            sum += x[3 * k + i / 8] * eq_mve_mixed_weight(w, 8, k, i % 8);
        }
        sums[i] = sum;
    }
#endif
}

/* `count` halves as floats, three floats apart. */
static inline void eq_mve_float_third(float *to, const uint16_t *from, int32_t count)
{
#if EQ_MVE
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), 3);
    for (; count > 0; count -= 4, from += 4, to += 12) {
        const mve_pred16_t some = vctp32q((uint32_t)count);
        vstrwq_scatter_shifted_offset_p_f32(to, at, eq_mve_float4(vldrhq_z_s32((const int16_t *)from, some)), some);
    }
#else
    for (int32_t i = 0; i < count; i++) {
        to[3 * i] = eq_float_from_half(from[i]);
    }
#endif
}

#endif
