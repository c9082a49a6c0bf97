/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products in halves with MVE, eight lanes of outputs: each step one VFMA.F16, rounded once. */
#ifndef EQ_HALF_MVE_FUSED_H
#define EQ_HALF_MVE_FUSED_H

#include "eq_half_mve.h"

#if EQ_MVE
#define EQ_MVE_FUSED8(sum, w, x) "vldrh.u16 " #w ", [%[w]], #16\n\tvfma.f16 " #sum ", " #w ", " #x "\n\t"
/* Thirty-two rows, the input in the low half of a core register. */
#define EQ_MVE_FUSED32(x) EQ_MVE_FUSED8(q0, q4, x) EQ_MVE_FUSED8(q1, q5, x) EQ_MVE_FUSED8(q2, q6, x) EQ_MVE_FUSED8(q3, q7, x)
#define EQ_MVE_FUSED32_PAIR "ldr r8, [%[x]], #4\n\t" EQ_MVE_FUSED32(r8) "lsr r8, r8, #16\n\t" EQ_MVE_FUSED32(r8)
/* Sixteen rows, three inputs. */
#define EQ_MVE_FUSED3X16 \
    "ldmia %[x]!, {r8, r9, r10}\n\tvldrh.u16 q6, [%[w]], #16\n\tvldrh.u16 q7, [%[w]], #16\n\t" \
    "vfma.f16 q0, q6, r8\n\tvfma.f16 q1, q7, r8\n\tvfma.f16 q2, q6, r9\n\tvfma.f16 q3, q7, r9\n\tvfma.f16 q4, q6, r10\n\tvfma.f16 q5, q7, r10\n\t"
#endif

/* sums[r] = start[r] + x[k] * w[k][r] for k = 0, 1, ..., count - 1, of 32 rows; `start` may be `sums`. Layout blocks32. */
static inline void eq_mve_fused32(uint16_t *sums, const uint16_t *start, const uint16_t *x, const uint16_t *w, int32_t count)
{
#if EQ_MVE
    __asm__ volatile("vldrh.u16 q0, [%[start]]\n\t"
                     "vldrh.u16 q1, [%[start], #16]\n\t"
                     "vldrh.u16 q2, [%[start], #32]\n\t"
                     "vldrh.u16 q3, [%[start], #48]\n\t"
                     "wls lr, %[fours], 2f\n"
                     "1:\n\t"
                     EQ_MVE_FUSED32_PAIR
                     EQ_MVE_FUSED32_PAIR
                     "le lr, 1b\n"
                     "2:\n\t"
                     "wls lr, %[rest], 4f\n"
                     "3:\n\t"
                     "ldrh r8, [%[x]], #2\n\t"
                     EQ_MVE_FUSED32(r8)
                     "le lr, 3b\n"
                     "4:\n\t"
                     "vstrh.16 q0, [%[sums]]\n\t"
                     "vstrh.16 q1, [%[sums], #16]\n\t"
                     "vstrh.16 q2, [%[sums], #32]\n\t"
                     "vstrh.16 q3, [%[sums], #48]"
                     : [x] "+r"(x), [w] "+r"(w)
                     : [sums] "r"(sums), [start] "r"(start), [fours] "r"(count >> 2), [rest] "r"(count & 3)
                     : "r8", "lr", "memory", EQ_MVE_VECTORS);
#else
    for (int32_t r = 0; r < 32; r++) {
        uint16_t sum = start[r];
        for (int32_t k = 0; k < count; k++) {
            sum = eq_half_fused(x[k], w[32 * k + r], sum);
        }
        sums[r] = sum;
    }
#endif
}

/* The same of sixteen rows with three inputs, a word each: sums[16 * i + r] = start[r] + x[k][i] * w[k][r]. Layout blocks16. */
static inline void eq_mve_fused3x16(uint16_t *sums, const uint16_t *start, const uint32_t *x, const uint16_t *w, int32_t count)
{
#if EQ_MVE
    __asm__ volatile("vldrh.u16 q0, [%[start]]\n\t"
                     "vldrh.u16 q1, [%[start], #16]\n\t"
                     "vmov q2, q0\n\t"
                     "vmov q3, q1\n\t"
                     "vmov q4, q0\n\t"
                     "vmov q5, q1\n\t"
                     "wls lr, %[fours], 2f\n"
                     "1:\n\t"
                     EQ_MVE_FUSED3X16
                     EQ_MVE_FUSED3X16
                     EQ_MVE_FUSED3X16
                     EQ_MVE_FUSED3X16
                     "le lr, 1b\n"
                     "2:\n\t"
                     "wls lr, %[rest], 4f\n"
                     "3:\n\t"
                     EQ_MVE_FUSED3X16
                     "le lr, 3b\n"
                     "4:\n\t"
                     "vstrh.16 q0, [%[sums]]\n\t"
                     "vstrh.16 q1, [%[sums], #16]\n\t"
                     "vstrh.16 q2, [%[sums], #32]\n\t"
                     "vstrh.16 q3, [%[sums], #48]\n\t"
                     "vstrh.16 q4, [%[sums], #64]\n\t"
                     "vstrh.16 q5, [%[sums], #80]"
                     : [x] "+r"(x), [w] "+r"(w)
                     : [sums] "r"(sums), [start] "r"(start), [fours] "r"(count >> 2), [rest] "r"(count & 3)
                     : "r8", "r9", "r10", "lr", "memory", EQ_MVE_VECTORS);
#else
    for (int32_t i = 0; i < 48; i++) {
        uint16_t sum = start[i % 16];
        for (int32_t k = 0; k < count; k++) {
            sum = eq_half_fused((uint16_t)x[3 * k + i / 16], w[16 * k + i % 16], sum);
        }
        sums[i] = sum;
    }
#endif
}

/* `count` halves as words, three words apart. */
static inline void eq_mve_word_third(uint32_t *to, const uint16_t *from, int32_t count)
{
#if EQ_MVE
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), 3);
    for (; count > 0; count -= 4, from += 4, to += 12) {
        const mve_pred16_t some = vctp32q((uint32_t)count);
        vstrwq_scatter_shifted_offset_p_u32(to, at, vldrhq_z_u32(from, some), some);
    }
#else
    for (int32_t i = 0; i < count; i++) {
        to[3 * i] = from[i];
    }
#endif
}

#endif
