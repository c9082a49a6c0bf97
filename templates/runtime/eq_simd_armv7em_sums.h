/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of two tensors with the DSP extension; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_SUMS_H
#define EQ_SIMD_ARMV7EM_SUMS_H

#include "eq_simd_armv7em_loops.h"

/* The constants of an addition, of those that its rounding needs; `start` is 1 less what the zero point of the operand without a multiplier
 * adds. The assembly reads the members at their offsets. */
typedef struct {
    int32_t a_zero, a_multiplier, a_shift, b_zero, b_multiplier, b_shift, offset, start, multiplier, shift, rounding, out_zero;
} eq_armv7em_addition;

/* `count` sums in rounding tflm, any int8, of `half`, whose scale is that of twice the sum's, and `other`, the operand b of the constants.
 * r4 to r10: zero, multiplier and shift of b, start, multiplier, shift, rounding. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_sums_tflm(
    const eq_armv7em_addition *p __attribute__((unused)), const int8_t *half __attribute__((unused)), const int8_t *other __attribute__((unused)),
    int8_t *y __attribute__((unused)), int32_t count __attribute__((unused)))
{
#define EQ_ARMV7EM_SUM \
    "ldrsb.w lr, [r2], #1\n\tldrsb.w r12, [r1], #1\n\trsb.w lr, r4, lr, lsl #21\n\tsmmulr lr, lr, r5\n\tadd.w lr, lr, lr, asr #31\n\t" \
    "asr.w lr, lr, r6\n\tadd lr, lr, r7\n\tbic.w lr, lr, #1\n\tadd.w lr, lr, r12, lsl #20\n\tsmmulr lr, lr, r8\n\t" \
    "add.w lr, lr, lr, asr #31\n\tasr.w lr, lr, r9\n\tadd lr, lr, r10\n\tssat lr, #8, lr, asr #1\n\tstrb.w lr, [r3], #1\n\t"
    __asm__ volatile(
        "push {r4-r11, lr}\n\tldr.w r11, [sp, #36]\n\tldr r4, [r0, #12]\n\tldr r5, [r0, #16]\n\tldr r6, [r0, #20]\n\tldr r7, [r0, #28]\n\t"
        "ldr.w r8, [r0, #32]\n\tldr.w r9, [r0, #36]\n\tldr.w r10, [r0, #40]\n"
        "0:\n\ttst.w r11, #3\n\tbeq 1f\n\t" EQ_ARMV7EM_SUM "sub.w r11, r11, #1\n\tb 0b\n"
        "1:\n\tcmp.w r11, #0\n\tbeq 3f\n"
        "2:\n\t" EQ_ARMV7EM_SUM EQ_ARMV7EM_SUM EQ_ARMV7EM_SUM EQ_ARMV7EM_SUM "subs.w r11, r11, #4\n\tbne.w 2b\n"
        "3:\n\tpop {r4-r11, pc}");
#undef EQ_ARMV7EM_SUM
}
#else
static inline void eq_armv7em_sums_tflm(const eq_armv7em_addition *p, const int8_t *half, const int8_t *other, int8_t *y, int32_t count)
{
    for (; count > 0; count--) {
        const int32_t scaled = eq_armv7em_away(eq_armv7em_high_mul_rounded(*other++ * (1 << 21) - p->b_zero, p->b_multiplier)) >> p->b_shift;
        const int32_t doubled = ((scaled + p->start) & ~1) + *half++ * (1 << 20);
        const int32_t halves = (eq_armv7em_away(eq_armv7em_high_mul_rounded(doubled, p->multiplier)) >> p->shift) + p->rounding;
        *y++ = (int8_t)eq_armv7em_half_saturated(halves);
    }
}
#endif

#endif
