/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Windows of depthwise convolutions with the DSP extension; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_WINDOWS_H
#define EQ_SIMD_ARMV7EM_WINDOWS_H

#include "eq_simd_armv7em_loops.h"

/* Adds to a[0] to a[3] the products of three lines of int16 with the taps of 3x3 windows that start at columns 0, `stride`,
 * 2 * `stride` and 3 * `stride`, 1 or 2, a literal. `taps` holds per line the pairs (w0, w1) and (w1, w2). */
static inline void eq_armv7em_windows3(int32_t *a, const int16_t *l0, const int16_t *l1, const int16_t *l2, const uint32_t *taps, int32_t stride)
{
#if EQ_DSP
#if EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_TWO(a, b, from, at) "ldr " a ", [" from ", #" at "]\n\tldr " b ", [" from ", #" at "+4]\n\t"
#else
#define EQ_ARMV7EM_TWO(a, b, from, at) "ldrd " a ", " b ", [" from ", #" at "]\n\t"
#endif
#define EQ_ARMV7EM_LINE(line, at) \
    EQ_ARMV7EM_TWO("%[w0]", "%[w1]", "%[taps]", at) EQ_ARMV7EM_TWO("%[x0]", "%[x1]", line, "0") "ldr %[x2], [" line ", #8]\n\t"
#define EQ_ARMV7EM_LINE1(line, at) \
    EQ_ARMV7EM_LINE(line, at) \
    "smlad %[a0], %[x0], %[w0], %[a0]\n\tsmlatb %[a1], %[x0], %[w0], %[a1]\n\t" \
    "smlabt %[a0], %[x1], %[w1], %[a0]\n\tsmlad %[a1], %[x1], %[w1], %[a1]\n\t" \
    "smlad %[a2], %[x1], %[w0], %[a2]\n\tsmlatb %[a3], %[x1], %[w0], %[a3]\n\t" \
    "smlabt %[a2], %[x2], %[w1], %[a2]\n\tsmlad %[a3], %[x2], %[w1], %[a3]\n\t"
#define EQ_ARMV7EM_LINE2(line, at) \
    EQ_ARMV7EM_LINE(line, at) \
    "smlad %[a0], %[x0], %[w0], %[a0]\n\tsmlabt %[a0], %[x1], %[w1], %[a0]\n\tsmlad %[a1], %[x1], %[w0], %[a1]\n\t" \
    EQ_ARMV7EM_TWO("%[x0]", "%[x1]", line, "12") \
    "smlabt %[a1], %[x2], %[w1], %[a1]\n\tsmlad %[a2], %[x2], %[w0], %[a2]\n\t" \
    "smlabt %[a2], %[x0], %[w1], %[a2]\n\tsmlad %[a3], %[x0], %[w0], %[a3]\n\tsmlabt %[a3], %[x1], %[w1], %[a3]\n\t"
#define EQ_ARMV7EM_WINDOWS(line) \
    __asm__ volatile( \
        line("%[l0]", "0") line("%[l1]", "8") line("%[l2]", "16") \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), \
          [w0] "=&r"(w0), [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2) \
        : [l0] "r"(l0), [l1] "r"(l1), [l2] "r"(l2), [taps] "r"(taps) \
        : "memory")
    uint32_t w0, w1, x0, x1, x2;
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    if (stride == 1) {
        EQ_ARMV7EM_WINDOWS(EQ_ARMV7EM_LINE1);
    } else {
        EQ_ARMV7EM_WINDOWS(EQ_ARMV7EM_LINE2);
    }
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_ARMV7EM_WINDOWS
#undef EQ_ARMV7EM_TWO
#undef EQ_ARMV7EM_LINE
#undef EQ_ARMV7EM_LINE1
#undef EQ_ARMV7EM_LINE2
#else
    const int16_t *const lines[3] = {l0, l1, l2};
    for (int32_t k = 0; k < 3; k++, taps += 2) {
        for (int32_t i = 0; i < 4; i++) {
            const int16_t *const x = lines[k] + stride * i;
            a[i] = eq_armv7em_mac2(eq_armv7em_mac2(a[i], eq_armv7em_pair(x[0], x[1]), taps[0]), eq_armv7em_pair(0, x[2]), taps[1]);
        }
    }
#endif
}

/* What eq_armv7em_line3_tflm and its kin compute: `lines` times `count` outputs, at least 1, of 3x3 windows, `step` bytes apart from `to` on,
 * of three lines of int16 and `taps` as above, times a power of two; for the next line of outputs `across` bytes further, of lines `pitch`
 * bytes further. Sums begin with `start`, halves of results are rounded with
 * `rounding`; `power` divides them (2^(33 - shift), and 1 more in rounding tflm). The assembly reads the members at their offsets. */
typedef struct {
    uint32_t taps[6];
    int32_t start, multiplier, power, rounding, step, left;
    const int16_t *l0, *l1, *l2;
    int8_t *to;
    int32_t count, lines, pitch, across;
} eq_armv7em_line3;

/* r0 to r3: sums, r4 and r5: taps, r6 to r8: columns, r9 to r11: lines, r12: the job, lr: to. */
#if EQ_DSP
#if EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_LINE3_TAPS(at) "ldr.w r4, [r12, #" at "]\n\tldr.w r5, [r12, #" at "+4]\n\t"
#define EQ_ARMV7EM_LINE3_TWO(a, b, line, at) "ldr.w " a ", [" line ", #" at "]\n\tldr.w " b ", [" line ", #" at "+4]\n\t"
#else
#define EQ_ARMV7EM_LINE3_TAPS(at) "ldrd r4, r5, [r12, #" at "]\n\t"
#define EQ_ARMV7EM_LINE3_TWO(a, b, line, at) "ldrd " a ", " b ", [" line ", #" at "]\n\t"
#endif
#define EQ_ARMV7EM_LINE3_1(line, at) \
    EQ_ARMV7EM_LINE3_TAPS(at) EQ_ARMV7EM_LINE3_TWO("r6", "r7", line, "0") "ldr.w r8, [" line ", #8]!\n\t" \
    "smlad r0, r6, r4, r0\n\tsmlatb r1, r6, r4, r1\n\tsmlabt r0, r7, r5, r0\n\tsmlad r1, r7, r5, r1\n\t" \
    "smlad r2, r7, r4, r2\n\tsmlatb r3, r7, r4, r3\n\tsmlabt r2, r8, r5, r2\n\tsmlad r3, r8, r5, r3\n\t"
#define EQ_ARMV7EM_LINE3_2(line, at) \
    EQ_ARMV7EM_LINE3_TAPS(at) EQ_ARMV7EM_LINE3_TWO("r6", "r7", line, "0") "ldr.w r8, [" line ", #8]\n\t" \
    "smlad r0, r6, r4, r0\n\tsmlabt r0, r7, r5, r0\n\tsmlad r1, r7, r4, r1\n\tsmlabt r1, r8, r5, r1\n\tsmlad r2, r8, r4, r2\n\t" \
    "ldr.w r6, [" line ", #12]\n\tldr.w r7, [" line ", #16]!\n\t" \
    "smlabt r2, r6, r5, r2\n\tsmlad r3, r6, r4, r3\n\tsmlabt r3, r7, r5, r3\n\t"
#define EQ_ARMV7EM_LINE3(line, halves) \
    __asm__ volatile( \
        "push {r0-r12, lr}\n\tmov r12, r0\n\tldr.w r9, [r0, #48]\n\tldr.w r10, [r0, #52]\n\tldr.w r11, [r0, #56]\n\tldr.w lr, [r0, #60]\n" \
        "0:\n\tldr.w r8, [r12, #64]\n\tstr.w r8, [r12, #44]\n" \
        "1:\n\t" \
        "ldr.w r0, [r12, #24]\n\tmov r1, r0\n\tmov r2, r0\n\tmov r3, r0\n\t" \
        line("r9", "0") line("r10", "8") line("r11", "16") \
        "ldr.w r4, [r12, #28]\n\tldr.w r5, [r12, #32]\n\tldr.w r6, [r12, #36]\n\tldr.w r7, [r12, #40]\n\tldr.w r8, [r12, #44]\n\t" \
        halves("r0") halves("r1") halves("r2") halves("r3") \
        "subs.w r8, r8, #4\n\tblt.w 2f\n\t" \
        "strb.w r0, [lr]\n\tstrb.w r1, [lr, r7]\n\tadd.w lr, lr, r7, lsl #1\n\tstrb.w r2, [lr]\n\tstrb.w r3, [lr, r7]\n\t" \
        "add.w lr, lr, r7, lsl #1\n\tstr.w r8, [r12, #44]\n\tbne.w 1b\n\tb.w 3f\n" \
        "2:\n\tstrb.w r0, [lr]\n\tadds.w r8, r8, #2\n\tblt.w 3f\n\tstrb.w r1, [lr, r7]\n\tble.w 3f\n\tstrb.w r2, [lr, r7, lsl #1]\n" \
        "3:\n\tldr.w r0, [r12, #68]\n\tldr.w r1, [r12, #72]\n\tldr.w r2, [r12, #76]\n\t" \
        "ldr.w r9, [r12, #48]\n\tldr.w r10, [r12, #52]\n\tldr.w r11, [r12, #56]\n\tldr.w lr, [r12, #60]\n\t" \
        "subs r0, r0, #1\n\tble.w 4f\n\tadd r9, r9, r1\n\tadd r10, r10, r1\n\tadd r11, r11, r1\n\tadd lr, lr, r2\n\t" \
        "str.w r0, [r12, #68]\n\tstr.w r9, [r12, #48]\n\tstr.w r10, [r12, #52]\n\tstr.w r11, [r12, #56]\n\tstr.w lr, [r12, #60]\n\tb.w 0b\n" \
        "4:\n\tpop {r0-r12, pc}")
#define EQ_ARMV7EM_HALVES_TFLM(r) "smmulr " r ", " r ", r4\n\tsmmla " r ", " r ", r5, r6\n\tssat " r ", #8, " r ", asr #1\n\t"
#define EQ_ARMV7EM_HALVES_SINGLE(r) "smmul " r ", " r ", r4\n\tsmmla " r ", " r ", r5, r6\n\tssat " r ", #8, " r ", asr #1\n\t"
#else
static inline void eq_armv7em_line3_plain(const eq_armv7em_line3 *job, int32_t stride, int32_t single)
{
    for (int32_t line = 0; line < job->lines; line++) {
        const int32_t at = line * job->pitch / 2;
        for (int32_t i = 0; i < job->count; i += 4) {
            int32_t sums[4] = { job->start, job->start, job->start, job->start };
            eq_armv7em_windows3(sums, job->l0 + at + stride * i, job->l1 + at + stride * i, job->l2 + at + stride * i, job->taps, stride);
            for (int32_t k = i; k < i + 4 && k < job->count; k++) {
                const int32_t acc = sums[k - i];
                const int32_t halves = single ? (int32_t)(((int64_t)acc * job->multiplier) >> 32) : eq_armv7em_high_mul_rounded(acc, job->multiplier);
                const int32_t divided = (int32_t)(((int64_t)halves * job->power) >> 32);
                job->to[k * job->step + line * job->across] = (int8_t)eq_armv7em_half_saturated(divided + job->rounding);
            }
        }
    }
}
#endif

/* Windows side by side, results in rounding tflm. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_line3_tflm(eq_armv7em_line3 *job __attribute__((unused)))
{
    EQ_ARMV7EM_LINE3(EQ_ARMV7EM_LINE3_1, EQ_ARMV7EM_HALVES_TFLM);
}
#else
static inline void eq_armv7em_line3_tflm(const eq_armv7em_line3 *job)
{
    eq_armv7em_line3_plain(job, 1, 0);
}
#endif

/* Every second window, in rounding tflm. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_line3_2_tflm(eq_armv7em_line3 *job __attribute__((unused)))
{
    EQ_ARMV7EM_LINE3(EQ_ARMV7EM_LINE3_2, EQ_ARMV7EM_HALVES_TFLM);
}
#else
static inline void eq_armv7em_line3_2_tflm(const eq_armv7em_line3 *job)
{
    eq_armv7em_line3_plain(job, 2, 0);
}
#endif

/* Windows side by side, in rounding single. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_line3_single(eq_armv7em_line3 *job __attribute__((unused)))
{
    EQ_ARMV7EM_LINE3(EQ_ARMV7EM_LINE3_1, EQ_ARMV7EM_HALVES_SINGLE);
}
#else
static inline void eq_armv7em_line3_single(const eq_armv7em_line3 *job)
{
    eq_armv7em_line3_plain(job, 1, 1);
}
#endif

/* Every second window, in rounding single. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_line3_2_single(eq_armv7em_line3 *job __attribute__((unused)))
{
    EQ_ARMV7EM_LINE3(EQ_ARMV7EM_LINE3_2, EQ_ARMV7EM_HALVES_SINGLE);
}
#else
static inline void eq_armv7em_line3_2_single(const eq_armv7em_line3 *job)
{
    eq_armv7em_line3_plain(job, 2, 1);
}
#endif

/* a[0] to a[3] plus the products of a line of int16 with the taps of windows that start at column 0, 1, 2 and 3. `taps` are
 * `count` times two pairs: (w0, w1), (0, w0), (w2, w3), (w1, w2), ... with zeros at the end. */
static inline void eq_armv7em_windows4(int32_t *a, const int16_t *line, const uint32_t *taps, int32_t count)
{
#if EQ_DSP
#if EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_TAPS "ldr %[w1], [%[taps], #4]\n\tldr %[w0], [%[taps]], #8\n\t"
#else
#define EQ_ARMV7EM_TAPS "ldrd %[w0], %[w1], [%[taps]], #8\n\t"
#endif
#define EQ_ARMV7EM_STEP(x0, x1) \
    EQ_ARMV7EM_TAPS "ldr " x1 ", [%[line]], #4\n\t" \
    "smlad %[a0], " x0 ", %[w0], %[a0]\n\tsmlad %[a1], " x0 ", %[w1], %[a1]\n\t" \
    "smlad %[a2], " x1 ", %[w0], %[a2]\n\tsmlad %[a3], " x1 ", %[w1], %[a3]\n\tsubs %[count], %[count], #1\n\t"
    uint32_t w0, w1, x0, x1;
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    __asm__ volatile(
        "ldr %[x0], [%[line]], #4\n"
        "1:\n\t" EQ_ARMV7EM_STEP("%[x0]", "%[x1]") "beq 2f\n\t" EQ_ARMV7EM_STEP("%[x1]", "%[x0]") "bne 1b\n"
        "2:"
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [line] "+r"(line), [taps] "+r"(taps),
          [count] "+r"(count), [w0] "=&r"(w0), [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1)
        :
        : "cc", "memory");
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_ARMV7EM_STEP
#undef EQ_ARMV7EM_TAPS
#else
    for (; count > 0; count--, line += 2, taps += 2) {
        for (int32_t i = 0; i < 4; i++) {
            a[i] = eq_armv7em_mac2(a[i], eq_armv7em_pair(line[i & 2], line[(i & 2) + 1]), taps[i & 1]);
        }
    }
#endif
}

/* What eq_armv7em_line_tflm and eq_armv7em_line_single compute: `left` outputs, at least 1, `step` bytes apart from `to` on, of windows side by
 * side of a line of int16, with `pairs` pairs of `taps` as above. Sums begin with `start`, halves of results are rounded with `rounding`;
 * `power` divides them (2^(33 - shift), and 1 more in rounding tflm). The assembly reads the members at their offsets. */
typedef struct {
    const uint32_t *taps;
    int32_t pairs, start, multiplier, power, rounding, step, left;
    const int16_t *line;
    int8_t *to;
} eq_armv7em_one_line;

/* r0 to r3: sums, r4 and r5: taps, r6 and r7: columns, r8: taps, r9: columns, r10: pairs, r11: the line, r12: the job, lr: to. */
#if EQ_DSP
#if EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_ONE_LINE_TAPS "ldr.w r5, [r8, #4]\n\tldr.w r4, [r8], #8\n\t"
#else
#define EQ_ARMV7EM_ONE_LINE_TAPS "ldrd r4, r5, [r8], #8\n\t"
#endif
#define EQ_ARMV7EM_ONE_LINE_STEP(x0, x1) \
    EQ_ARMV7EM_ONE_LINE_TAPS "ldr.w " x1 ", [r9], #4\n\tsmlad r0, " x0 ", r4, r0\n\tsmlad r1, " x0 ", r5, r1\n\t" \
    "smlad r2, " x1 ", r4, r2\n\tsmlad r3, " x1 ", r5, r3\n\tsubs.w r10, r10, #1\n\t"
#define EQ_ARMV7EM_ONE_LINE(halves) \
    __asm__ volatile( \
        "push {r0-r12, lr}\n\tmov r12, r0\n\tldr.w r11, [r0, #32]\n\tldr.w lr, [r0, #36]\n" \
        "1:\n\t" /* four outputs */ \
        "ldr.w r0, [r12, #8]\n\tldr.w r8, [r12]\n\tldr.w r10, [r12, #4]\n\tldr.w r6, [r11]\n\tadd.w r9, r11, #4\n\tmov r1, r0\n\tmov r2, r0\n\tmov r3, r0\n" \
        "2:\n\t" EQ_ARMV7EM_ONE_LINE_STEP("r6", "r7") "beq.w 3f\n\t" EQ_ARMV7EM_ONE_LINE_STEP("r7", "r6") "bne.w 2b\n" \
        "3:\n\tldr.w r4, [r12, #12]\n\tldr.w r5, [r12, #16]\n\tldr.w r6, [r12, #20]\n\tldr.w r7, [r12, #24]\n\tldr.w r8, [r12, #28]\n\t" \
        halves("r0") halves("r1") halves("r2") halves("r3") \
        "add.w r11, r11, #8\n\tsubs.w r8, r8, #4\n\tblt.w 4f\n\t" \
        "strb.w r0, [lr]\n\tstrb.w r1, [lr, r7]\n\tadd.w lr, lr, r7, lsl #1\n\tstrb.w r2, [lr]\n\tstrb.w r3, [lr, r7]\n\t" \
        "add.w lr, lr, r7, lsl #1\n\tstr.w r8, [r12, #28]\n\tbne.w 1b\n\tb.w 5f\n" \
        "4:\n\tstrb.w r0, [lr]\n\tadds.w r8, r8, #2\n\tblt.w 5f\n\tstrb.w r1, [lr, r7]\n\tble.w 5f\n\tstrb.w r2, [lr, r7, lsl #1]\n" \
        "5:\n\tpop {r0-r12, pc}")
#else
static inline void eq_armv7em_one_line_plain(const eq_armv7em_one_line *job, int32_t single)
{
    for (int32_t i = 0; i < job->left; i += 4) {
        int32_t sums[4] = { job->start, job->start, job->start, job->start };
        eq_armv7em_windows4(sums, job->line + i, job->taps, job->pairs);
        for (int32_t k = i; k < i + 4 && k < job->left; k++) {
            const int32_t acc = sums[k - i];
            const int32_t halves = single ? (int32_t)(((int64_t)acc * job->multiplier) >> 32) : eq_armv7em_high_mul_rounded(acc, job->multiplier);
            const int32_t divided = (int32_t)(((int64_t)halves * job->power) >> 32);
            job->to[k * job->step] = (int8_t)eq_armv7em_half_saturated(divided + job->rounding);
        }
    }
}
#endif

/* Results in rounding tflm. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_line_tflm(eq_armv7em_one_line *job __attribute__((unused)))
{
    EQ_ARMV7EM_ONE_LINE(EQ_ARMV7EM_HALVES_TFLM);
}
#else
static inline void eq_armv7em_line_tflm(const eq_armv7em_one_line *job)
{
    eq_armv7em_one_line_plain(job, 0);
}
#endif

/* Results in rounding single. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_line_single(eq_armv7em_one_line *job __attribute__((unused)))
{
    EQ_ARMV7EM_ONE_LINE(EQ_ARMV7EM_HALVES_SINGLE);
}
#else
static inline void eq_armv7em_line_single(const eq_armv7em_one_line *job)
{
    eq_armv7em_one_line_plain(job, 1);
}
#endif

#endif
