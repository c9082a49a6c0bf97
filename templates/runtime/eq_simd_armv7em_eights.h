/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Eight output channels of a fully connected layer at a time, with the DSP extension; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_EIGHTS_H
#define EQ_SIMD_ARMV7EM_EIGHTS_H

#include "eq_simd_armv7em_loops.h"

/* What eq_armv7em_eights_tflm and eq_armv7em_eights_single compute: `blocks` times eight output channels of `quads` quads of inputs from any
 * address, with one multiplier and shift for all. Weights have layout "pairs_after_bias" by eight rows. Halves of results are rounded with
 * `rounding`, and divided by `power` (2^(33 - shift), and 1 more in rounding tflm), or, where that is 0, shifted right by `shift`. Sums are
 * shifted right by `scale` first, 7 in rounding tflm. The assembly reads the members at their offsets. */
typedef struct {
    const int8_t *x;
    const uint32_t *weights;
    int8_t *y;
    int32_t quads, blocks, multiplier, rounding, power, shift, scale;
} eq_armv7em_eights;

#if EQ_DSP
/* Two channels of a quad, whose weights lie at `at` and the next word; r8: even inputs, r9: mixed ones, lr: weights. */
#define EQ_ARMV7EM_EIGHTS_MAC(a, b) \
    "smlad " a ", r8, r10, " a "\n\tsmlad " b ", r8, r11, " b "\n\tsxtb16 r10, r10\n\tsxtb16 r11, r11\n\t" \
    "smlad " a ", r9, r10, " a "\n\tsmlad " b ", r9, r11, " b "\n\t"
#define EQ_ARMV7EM_EIGHTS_TWO(a, b, at, on) \
    "ldr.w r10, [lr, #" at "+4]\n\tldr.w r11, [lr, #" at "+8]" on "\n\t" EQ_ARMV7EM_EIGHTS_MAC(a, b)
/* The k-th quad of a round of sixteen, the q-th of a quarter of it. Loads are relative to four bytes before: the last ones take both on. */
#define EQ_ARMV7EM_EIGHTS_STEP(k, q, x_on, w_on) \
    "ldr.w r9, [r12, #4*" k "+4]" x_on "\n\tldr.w r10, [lr, #32*" q "+4]\n\tldr.w r11, [lr, #32*" q "+8]\n\t" \
    "sxtb16 r8, r9\n\teor r9, r9, #0x007f007f\n\t" EQ_ARMV7EM_EIGHTS_MAC("r0", "r1") \
    EQ_ARMV7EM_EIGHTS_TWO("r2", "r3", "32*" q "+8", "") EQ_ARMV7EM_EIGHTS_TWO("r4", "r5", "32*" q "+16", "") \
    EQ_ARMV7EM_EIGHTS_TWO("r6", "r7", "32*" q "+24", w_on)
#define EQ_ARMV7EM_EIGHTS_QUARTER(a, b, c, d, x_on) \
    EQ_ARMV7EM_EIGHTS_STEP(a, "0", "", "") EQ_ARMV7EM_EIGHTS_STEP(b, "1", "", "") EQ_ARMV7EM_EIGHTS_STEP(c, "2", "", "") EQ_ARMV7EM_EIGHTS_STEP(d, "3", x_on, "!")

/* On the stack: 0 where a round is entered, 4 the end of the inputs, 8 where they begin, 12 how far sums and the entry move the weights,
 * 16 y and 20 its end, 24 multiplier, 28 rounding, 32 power, 36 shift, 40 scale. Of the sixteen steps of a round, 140 bytes each, those
 * are skipped that the first has too many. */
#define EQ_ARMV7EM_EIGHTS_SUMS(one) one("r0", "0") one("r1", "1") one("r2", "2") one("r3", "3") one("r4", "4") one("r5", "5") one("r6", "6") one("r7", "7")
#define EQ_ARMV7EM_EIGHTS(scaled, divided, shifted) \
    __asm__ volatile( \
        "push {r0-r12, lr}\n\tsub sp, sp, #44\n\t" \
        "ldr r1, [r0, #12]\n\tldr r3, [r0]\n\tldr.w lr, [r0, #4]\n\trsb r2, r1, #0\n\tand r2, r2, #15\n\tsub r3, r3, #4\n\tsub.w lr, lr, #4\n\t" \
        "add r4, r3, r1, lsl #2\n\tsub r3, r3, r2, lsl #2\n\tadr.w r5, 2f\n\tmov r6, #140\n\tmla r5, r2, r6, r5\n\t" \
        "and r2, r2, #3\n\trsb r2, r2, #1\n\tlsl r2, r2, #5\n\tstr r5, [sp]\n\tstr r4, [sp, #4]\n\tstr r3, [sp, #8]\n\tstr r2, [sp, #12]\n\t" \
        "ldr r1, [r0, #8]\n\tldr r2, [r0, #16]\n\tldr r3, [r0, #20]\n\tldr r4, [r0, #24]\n\tldr r5, [r0, #28]\n\tldr r6, [r0, #32]\n\tldr r7, [r0, #36]\n\t" \
        "add r2, r1, r2, lsl #3\n\tstr r1, [sp, #16]\n\tstr r2, [sp, #20]\n\tstr r3, [sp, #24]\n\tstr r4, [sp, #28]\n\tstr r5, [sp, #32]\n\t" \
        "str r6, [sp, #36]\n\tstr r7, [sp, #40]\n" \
        "1:\n\t" /* eight channels */ \
        "ldr.w r0, [lr, #4]\n\tldr.w r1, [lr, #8]\n\tldr.w r2, [lr, #12]\n\tldr.w r3, [lr, #16]\n\t" \
        "ldr.w r4, [lr, #20]\n\tldr.w r5, [lr, #24]\n\tldr.w r6, [lr, #28]\n\tldr.w r7, [lr, #32]\n\t" \
        "ldr.w r9, [sp]\n\tldr.w r12, [sp, #8]\n\tldr.w r8, [sp, #12]\n\tadd.w lr, lr, r8\n\tmov pc, r9\n\t" \
        ".balign 4\n" \
        "2:\n\t" EQ_ARMV7EM_EIGHTS_QUARTER("0", "1", "2", "3", "") EQ_ARMV7EM_EIGHTS_QUARTER("4", "5", "6", "7", "") \
        EQ_ARMV7EM_EIGHTS_QUARTER("8", "9", "10", "11", "") EQ_ARMV7EM_EIGHTS_QUARTER("12", "13", "14", "15", "!") \
        "ldr.w r8, [sp, #4]\n\tcmp r12, r8\n\tbne.w 2b\n\t" scaled \
        "ldr.w r8, [sp, #24]\n\tldr.w r9, [sp, #28]\n\tldr.w r10, [sp, #32]\n\tldr.w r11, [sp, #16]\n\tcmp.w r10, #0\n\tbeq.w 4f\n\t" \
        EQ_ARMV7EM_EIGHTS_SUMS(divided) \
        "3:\n\tldr.w r1, [sp, #20]\n\tadd.w r11, r11, #8\n\tstr.w r11, [sp, #16]\n\tcmp r11, r1\n\tbne.w 1b\n\t" \
        "add sp, sp, #44\n\tpop {r0-r12, pc}\n" \
        "4:\n\tldr.w r10, [sp, #36]\n\t" EQ_ARMV7EM_EIGHTS_SUMS(shifted) "b.w 3b")
#define EQ_ARMV7EM_EIGHTS_ALL(by) \
    "asr.w r0, r0, " by "\n\tasr.w r1, r1, " by "\n\tasr.w r2, r2, " by "\n\tasr.w r3, r3, " by "\n\t" \
    "asr.w r4, r4, " by "\n\tasr.w r5, r5, " by "\n\tasr.w r6, r6, " by "\n\tasr.w r7, r7, " by "\n\t"
#define EQ_ARMV7EM_EIGHTS_STORE(r, at) "ssat " r ", #8, " r ", asr #1\n\tstrb.w " r ", [r11, #" at "]\n\t"
#else
static inline void eq_armv7em_eights_plain(const eq_armv7em_eights *job, int32_t single)
{
    const uint32_t *w = job->weights;
    for (int32_t o = 0; o < 8 * job->blocks; o += 8) {
        int32_t sums[8];
        for (int32_t c = 0; c < 8; c++) {
            sums[c] = (int32_t)*w++;
        }
        for (int32_t k = 0; k < job->quads; k++, w += 8) {
            const uint32_t word = eq_armv7em_load4(job->x + 4 * k), even = eq_armv7em_even(word), mixed = eq_armv7em_mixed(word);
            for (int32_t c = 0; c < 8; c++) {
                sums[c] = eq_armv7em_mac2(eq_armv7em_mac2(sums[c], even, w[c]), mixed, eq_armv7em_even(w[c]));
            }
        }
        for (int32_t c = 0; c < 8; c++) {
            const int32_t acc = sums[c] >> job->scale;
            int32_t halves = single ? (int32_t)(((int64_t)acc * job->multiplier) >> 32) : eq_armv7em_high_mul_rounded(acc, job->multiplier);
            if (job->power) {
                halves = (int32_t)(((int64_t)halves * job->power) >> 32);
            } else {
                halves = (single ? halves : halves + (halves >> 31)) >> job->shift;
            }
            job->y[o + c] = (int8_t)eq_armv7em_half_saturated(halves + job->rounding);
        }
    }
}
#endif

/* Results in rounding tflm. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_eights_tflm(eq_armv7em_eights *job __attribute__((unused)))
{
#define EQ_ARMV7EM_EIGHTS_DIVIDED(r, at) "smmulr " r ", " r ", r8\n\tsmmla " r ", " r ", r10, r9\n\t" EQ_ARMV7EM_EIGHTS_STORE(r, at)
#define EQ_ARMV7EM_EIGHTS_SHIFTED(r, at) \
    "smmulr " r ", " r ", r8\n\tadd.w " r ", " r ", " r ", asr #31\n\tasr.w " r ", " r ", r10\n\tadd.w " r ", " r ", r9\n\t" EQ_ARMV7EM_EIGHTS_STORE(r, at)
    EQ_ARMV7EM_EIGHTS(EQ_ARMV7EM_EIGHTS_ALL("#7"), EQ_ARMV7EM_EIGHTS_DIVIDED, EQ_ARMV7EM_EIGHTS_SHIFTED);
#undef EQ_ARMV7EM_EIGHTS_SHIFTED
#undef EQ_ARMV7EM_EIGHTS_DIVIDED
}
#else
static inline void eq_armv7em_eights_tflm(const eq_armv7em_eights *job)
{
    eq_armv7em_eights_plain(job, 0);
}
#endif

/* Results in rounding single. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_eights_single(eq_armv7em_eights *job __attribute__((unused)))
{
#define EQ_ARMV7EM_EIGHTS_DIVIDED(r, at) "smmul " r ", " r ", r8\n\tsmmla " r ", " r ", r10, r9\n\t" EQ_ARMV7EM_EIGHTS_STORE(r, at)
#define EQ_ARMV7EM_EIGHTS_SHIFTED(r, at) "smmul " r ", " r ", r8\n\tasr.w " r ", " r ", r10\n\tadd.w " r ", " r ", r9\n\t" EQ_ARMV7EM_EIGHTS_STORE(r, at)
    EQ_ARMV7EM_EIGHTS("ldr.w r11, [sp, #40]\n\t" EQ_ARMV7EM_EIGHTS_ALL("r11"), EQ_ARMV7EM_EIGHTS_DIVIDED, EQ_ARMV7EM_EIGHTS_SHIFTED);
#undef EQ_ARMV7EM_EIGHTS_SHIFTED
#undef EQ_ARMV7EM_EIGHTS_DIVIDED
}
#else
static inline void eq_armv7em_eights_single(const eq_armv7em_eights *job)
{
    eq_armv7em_eights_plain(job, 1);
}
#endif

#endif
