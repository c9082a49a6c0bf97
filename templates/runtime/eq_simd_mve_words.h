/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* int16 inputs times int8 weights with MVE; plain C where the compiler builds for another computer. */
#ifndef EQ_SIMD_MVE_WORDS_H
#define EQ_SIMD_MVE_WORDS_H

#include "eq_gates_mve.h"

/* Inner products of n >= 1 elements with four output channels, whose weights lie eight by eight ("word_chunks"). Returns where those of
   the next four are. */
static inline const int8_t *eq_mve_words_row(int32_t sums[4], const int16_t *x, const int8_t *w, int32_t n)
{
#if EQ_MVE
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    __asm__ volatile("dlstp.16 lr, %6\n1:\n"
                     "vldrh.16 q0, [%4], #16\n"
                     "vldrb.s16 q1, [%5], #32\n"
                     "vmladava.s16 %0, q0, q1\n"
                     "vldrb.s16 q2, [%5, #-24]\n"
                     "vmladava.s16 %1, q0, q2\n"
                     "vldrb.s16 q1, [%5, #-16]\n"
                     "vmladava.s16 %2, q0, q1\n"
                     "vldrb.s16 q2, [%5, #-8]\n"
                     "vmladava.s16 %3, q0, q2\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(a2), "+Te"(a3), "+r"(x), "+l"(w)
                     : "r"(n)
                     : "q0", "q1", "q2", "lr", "memory");
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
    return w;
#else
    for (int32_t c = 0; c < 4; c++) {
        sums[c] = 0;
        for (int32_t k = 0; k < n; k++) {
            sums[c] += x[k] * w[k / 8 * 32 + 8 * c + k % 8];
        }
    }
    return w + (n + 7) / 8 * 32;
#endif
}

/* `count` (1 to 4) sums plus bias as eq_requantize_near_words, within limits. */
static inline void eq_mve_words_store(
    int16_t *y, const int32_t sums[4], const int32_t *bias, const int16_t *m, const int8_t *n, int32_t count, int32_t low, int32_t high)
{
#if EQ_MVE
    const mve_pred16_t live = vctp32q((uint32_t)count);
    const int32x4_t x = vaddq_s32(vldrwq_s32(sums), vldrwq_z_s32(bias, live));
    const int32x4_t scaled = vmulhq_s32(x, vshlq_n_s32(vldrhq_z_s32(m, live), 16));
    const int32x4_t near = vrshlq_s32(scaled, vsubq_s32(vdupq_n_s32(16), vldrbq_z_s32(n, live)));
    vstrhq_p_s32(y, vminq_s32(vmaxq_s32(near, vdupq_n_s32(low)), vdupq_n_s32(high)), live);
#else
    for (int32_t c = 0; c < count; c++) {
        y[c] = (int16_t)eq_clamp(eq_requantize_near_words(sums[c] + bias[c], m[c], n[c]), low, high);
    }
#endif
}

#endif
