/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* All output channels of some pixels of a convolution with the DSP extension; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_PIXELS_H
#define EQ_SIMD_ARMV7EM_PIXELS_H

#include "eq_simd_armv7em_loops.h"

/* What eq_armv7em_pixels_tflm and eq_armv7em_pixels_single compute: all output channels of `triples` times three pixels, two channels at
 * a time. `quads` of inputs are in `columns`, as eq_armv7em_expand puts them, three pixels behind the other; the weights have layout
 * "pairs" by two rows. Channels of the first pixel go to `y`, those of the others of its three `second` and `third` bytes further, of the
 * next three `advance` bytes further. Where `rows` is not 0 each two rows of weights, a multiple of four quads, are copied there first,
 * so that flash is read once. Halves of results are rounded with `rounding`, and sums are shifted right by `scale` first, 7 in rounding tflm.
 * Shifts are 3 to 31, see fact `powers`. The assembly reads the members at their offsets. */
typedef struct {
    const uint32_t *columns, *weights;
    int32_t quads, triples;
    const int32_t *bias, *multipliers;
    const int8_t *shifts;
    int8_t *y;
    int32_t second, third, rounding, scale, last, advance, row_bytes, channel;
    uint32_t *rows;
} eq_armv7em_pixels;

#if EQ_DSP
/* A quad of three pixels with two channels, the k-th of a half of a round. r0: columns, lr: weights, r1 to r6: sums. Single loads are
 * relative to four bytes before, so that the last ones of a half can take both on. */
#define EQ_ARMV7EM_PIXELS_MAC6 \
    "smlad r1, r9, r7, r1\n\tsmlad r2, r10, r7, r2\n\tsmlad r3, r11, r7, r3\n\t" \
    "smlad r4, r9, r8, r4\n\tsmlad r5, r10, r8, r5\n\tsmlad r6, r11, r8, r6\n\t"
#if EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_PIXELS_STEP(k, on) \
    "ldr.w r7, [lr, #8*" k "+4]\n\tldr.w r8, [lr, #8*" k "+8]" on "\n\t" \
    "ldr.w r9, [r0, #24*" k "+4]\n\tldr.w r10, [r0, #24*" k "+8]\n\tldr.w r11, [r0, #24*" k "+12]\n\t" \
    EQ_ARMV7EM_PIXELS_MAC6 \
    "ldr.w r9, [r0, #24*" k "+16]\n\tldr.w r10, [r0, #24*" k "+20]\n\tldr.w r11, [r0, #24*" k "+24]" on "\n\t" \
    "sxtb16 r7, r7\n\tsxtb16 r8, r8\n\t" \
    EQ_ARMV7EM_PIXELS_MAC6
#define EQ_ARMV7EM_PIXELS_BYTES "88" /* of a step */
#define EQ_ARMV7EM_PIXELS_BEFORE "4"
#define EQ_ARMV7EM_PIXELS_BACK "and r6, r2, #7\n\tmul r5, r6, r7\n\tadd r6, r1, r6\n\tlsl r6, r6, #3\n\t" /* by the steps of its half that are skipped, too */
#else
#define EQ_ARMV7EM_PIXELS_STEP(k, on) \
    "ldrd r7, r8, [lr], #8\n\tldmia.w r0!, {r9, r10, r11}\n\t" \
    EQ_ARMV7EM_PIXELS_MAC6 \
    "ldmia.w r0!, {r9, r10, r11}\n\tsxtb16 r7, r7\n\tsxtb16 r8, r8\n\t" \
    EQ_ARMV7EM_PIXELS_MAC6
#define EQ_ARMV7EM_PIXELS_BYTES "68"
#define EQ_ARMV7EM_PIXELS_BEFORE "0"
#define EQ_ARMV7EM_PIXELS_BACK "mov r5, #0\n\tlsl r6, r1, #3\n\t"
#endif

/* On the stack: 0 and 4 where sums start, 8 columns back, 12 where a round is entered, 16 weights back, 20 bytes of three columns, 24
 * and 28 multiplier and power of the first channel, 32 rounding, 36 second, 40 third, 44 y, 48 and 52 multiplier and power of the
 * second channel, 56 from the first channel to the second, 60 from there to the next three pixels, 64 the end of the columns, 68 the job.
 * Of the sixteen steps of a round those are skipped that the first has too many. */
#define EQ_ARMV7EM_PIXELS_HALF \
    EQ_ARMV7EM_PIXELS_STEP("0", "") EQ_ARMV7EM_PIXELS_STEP("1", "") EQ_ARMV7EM_PIXELS_STEP("2", "") EQ_ARMV7EM_PIXELS_STEP("3", "") \
    EQ_ARMV7EM_PIXELS_STEP("4", "") EQ_ARMV7EM_PIXELS_STEP("5", "") EQ_ARMV7EM_PIXELS_STEP("6", "") EQ_ARMV7EM_PIXELS_STEP("7", "!")
#define EQ_ARMV7EM_PIXELS(scaled, power, halves) \
    __asm__ volatile( \
        "push {r0-r12, lr}\n\tsub sp, sp, #68\n\t" \
        "ldr r1, [r0, #8]\n\trsb r2, r1, #0\n\tand r2, r2, #15\n\tmov r7, #24\n\t" EQ_ARMV7EM_PIXELS_BACK \
        "mul r7, r1, r7\n\tstr r5, [sp, #8]\n\tstr r6, [sp, #16]\n\tstr r7, [sp, #20]\n\t" \
        "ldr r3, [r0]\n\tldr r4, [r0, #12]\n\tsub r3, r3, #" EQ_ARMV7EM_PIXELS_BEFORE "\n\tstr r3, [r0]\n\tmla r4, r7, r4, r3\n\tstr r4, [sp, #64]\n\t" \
        "adr.w r4, 4f\n\tmov r5, #" EQ_ARMV7EM_PIXELS_BYTES "\n\tmla r4, r2, r5, r4\n\tstr r4, [sp, #12]\n\t" \
        "ldr r1, [r0, #32]\n\tldr r2, [r0, #36]\n\tldr r3, [r0, #40]\n\tldr.w lr, [r0, #4]\n\tsub.w lr, lr, #" EQ_ARMV7EM_PIXELS_BEFORE "\n\t" \
        "str r1, [sp, #36]\n\tstr r2, [sp, #40]\n\tstr r3, [sp, #32]\n\tmovs r1, #1\n\tldr r2, [r0, #52]\n\tsubs r2, r2, #1\n\tstr r1, [sp, #56]\n\tstr r2, [sp, #60]\n" \
        "1:\n\t" /* two channels */ \
        "ldr r4, [r0, #60]\n\tldr.w r9, [r0, #48]\n\tldr r1, [r0, #16]\n\tldr r2, [r0, #20]\n\tldr r3, [r0, #24]\n\tldr r5, [r0, #28]\n\t" \
        "ldr.w r12, [r0, #56]\n\tldr.w r11, [r0, #64]\n\tadds r6, r4, #1\n\tcmp r4, r9\n\tbge.w 6f\n" \
        "2:\n\t" \
        "ldr.w r7, [r1, r4, lsl #2]\n\tldr.w r8, [r1, r6, lsl #2]\n\tldr.w r9, [r2, r4, lsl #2]\n\tldr.w r10, [r2, r6, lsl #2]\n\t" \
        "ldrb r1, [r3, r4]\n\tldrb r2, [r3, r6]\n\t" \
        "adds r5, r5, r4\n\tadd lr, lr, r12\n\tadds r4, r4, #2\n\tmovs r3, #2\n\tror.w r1, r3, r1\n\tror.w r2, r3, r2\n\t" power \
        "str r4, [r0, #60]\n\tstr r7, [sp]\n\tstr.w r8, [sp, #4]\n\tstr.w r9, [sp, #24]\n\tstr r1, [sp, #28]\n\tstr r5, [sp, #44]\n\t" \
        "str.w r10, [sp, #48]\n\tstr r2, [sp, #52]\n\tcmp.w r11, #0\n\tbne.w 7f\n" \
        "3:\n\tldr r0, [r0]\n" \
        "5:\n\t" /* three pixels */ \
        "ldr r1, [sp]\n\tldr r4, [sp, #4]\n\tldr.w r9, [sp, #8]\n\tldr.w r10, [sp, #12]\n\tldr.w r8, [sp, #16]\n\tldr.w r12, [sp, #20]\n\t" \
        "mov r2, r1\n\tmov r3, r1\n\tmov r5, r4\n\tmov r6, r4\n\tadd r12, r12, r0\n\tsub.w r0, r0, r9\n\tsub.w lr, lr, r8\n\tmov pc, r10\n\t" \
        ".balign 4\n" \
        "4:\n\t" EQ_ARMV7EM_PIXELS_HALF EQ_ARMV7EM_PIXELS_HALF \
        "cmp r0, r12\n\tbne.w 4b\n\t" \
        scaled \
        "ldr r7, [sp, #44]\n\tldr.w r8, [sp, #24]\n\tldr.w r10, [sp, #28]\n\tldr.w r9, [sp, #32]\n\tldr.w r11, [sp, #36]\n\tldr.w r12, [sp, #40]\n\t" \
        halves("r1") halves("r2") halves("r3") \
        "strb r1, [r7]\n\tstrb.w r2, [r7, r11]\n\tstrb.w r3, [r7, r12]\n\t" \
        "ldr.w r8, [sp, #48]\n\tldr.w r10, [sp, #52]\n\tldr r1, [sp, #56]\n\tldr r2, [sp, #60]\n\tldr r3, [sp, #64]\n\t" \
        halves("r4") halves("r5") halves("r6") \
        "add r7, r7, r1\n\tstrb r4, [r7]\n\tstrb.w r5, [r7, r11]\n\tstrb.w r6, [r7, r12]\n\t" \
        "add r7, r7, r2\n\tstr r7, [sp, #44]\n\tcmp r0, r3\n\tbne.w 5b\n\t" \
        "ldr r0, [sp, #68]\n\tb.w 1b\n" \
        "6:\n\tbgt.w 9f\n\tmov r6, r4\n\tmovs r7, #0\n\tldr.w r8, [r0, #52]\n\tstr r7, [sp, #56]\n\tstr.w r8, [sp, #60]\n\tb.w 2b\n" /* one channel */ \
        "7:\n\tldr r2, [r0, #4]\n\tsub.w lr, r11, #" EQ_ARMV7EM_PIXELS_BEFORE "\n\tadd lr, lr, r12\n" \
        "8:\n\tldmia r2!, {r3, r4, r5, r6, r7, r8, r9, r10}\n\tsubs r12, r12, #32\n\tstmia r11!, {r3, r4, r5, r6, r7, r8, r9, r10}\n\tbne 8b\n\t" \
        "str r2, [r0, #4]\n\tb.w 3b\n" \
        "9:\n\tadd sp, sp, #68\n\tpop {r0-r12, pc}")
#else
static inline void eq_armv7em_pixels_plain(const eq_armv7em_pixels *job, int32_t single)
{
    const uint32_t *w = job->weights;
    for (int32_t o = 0; o <= job->last; o += 2, w += 2 * job->quads) {
        const int32_t next = o < job->last ? o + 1 : o;
        const uint32_t *x = job->columns;
        int8_t *y = job->y;
        for (int32_t t = 0; t < job->triples; t++, x += 6 * job->quads, y += job->advance) {
            int32_t sums[6] = { job->bias[o], job->bias[next], job->bias[o], job->bias[next], job->bias[o], job->bias[next] };
            (void)eq_armv7em_tile(sums, x, w, job->quads, 1);
            for (int32_t i = 0; i < 6; i++) {
                const int32_t c = i & 1 ? next : o, acc = sums[i] >> job->scale, multiplier = job->multipliers[c];
                int32_t halves = (int32_t)(((int64_t)acc * multiplier) >> 32);
                if (!single) {
                    halves = eq_armv7em_high_mul_rounded(acc, multiplier);
                    halves += halves >> 31;
                }
                int8_t *const to = y + (i < 2 ? 0 : i < 4 ? job->second : job->third);
                to[c] = (int8_t)eq_armv7em_half_saturated((halves >> (job->shifts[c] - 1)) + job->rounding);
            }
        }
    }
}
#endif

/* All output channels of the pixels, requantized in rounding tflm, without a shift to the left. One more than the power of two makes negative
 * halves round away from zero. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_pixels_tflm(eq_armv7em_pixels *job __attribute__((unused)))
{
#define EQ_ARMV7EM_HALVES(r) "smmulr " r ", " r ", r8\n\tsmmla " r ", " r ", r10, r9\n\tssat " r ", #8, " r ", asr #1\n\t"
    EQ_ARMV7EM_PIXELS(
        "asrs r1, r1, #7\n\tasrs r2, r2, #7\n\tasrs r3, r3, #7\n\tasrs r4, r4, #7\n\tasrs r5, r5, #7\n\tasrs r6, r6, #7\n\t",
        "adds r1, r1, #1\n\tadds r2, r2, #1\n\t", EQ_ARMV7EM_HALVES);
#undef EQ_ARMV7EM_HALVES
}
#else
static inline void eq_armv7em_pixels_tflm(const eq_armv7em_pixels *job)
{
    eq_armv7em_pixels_plain(job, 0);
}
#endif

/* The same in rounding single. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_pixels_single(eq_armv7em_pixels *job __attribute__((unused)))
{
#define EQ_ARMV7EM_HALVES(r) "smmul " r ", " r ", r8\n\tsmmla " r ", " r ", r10, r9\n\tssat " r ", #8, " r ", asr #1\n\t"
    EQ_ARMV7EM_PIXELS(
        "ldr r7, [sp, #68]\n\tldr r7, [r7, #44]\n\tasrs r1, r1, r7\n\tasrs r2, r2, r7\n\tasrs r3, r3, r7\n\tasrs r4, r4, r7\n\tasrs r5, r5, r7\n\tasrs r6, r6, r7\n\t",
        "", EQ_ARMV7EM_HALVES);
#undef EQ_ARMV7EM_HALVES
}
#else
static inline void eq_armv7em_pixels_single(const eq_armv7em_pixels *job)
{
    eq_armv7em_pixels_plain(job, 1);
}
#endif

#endif
