/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Rows of depthwise convolutions with the DSP extension, four channels at a time; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_ROWS_H
#define EQ_SIMD_ARMV7EM_ROWS_H

#include "eq_simd_armv7em_loops.h"

/* Expands `count` columns, `step` bytes apart, of three rows of four channels of int8, the second and the third one `row1` and `row2` bytes
 * further, to six words each: the pairs (row 0, row 1) of the channels, then row 2 of channels 0 and 2, and of 1 and 3. */
static inline void eq_armv7em_expand3(uint32_t *to, const int8_t *x, int32_t row1, int32_t row2, int32_t step, int32_t count)
{
    if (count <= 0) {
        return;
    }
#if EQ_DSP
    const uint32_t *const end = to + 6 * count;
    uint32_t a, b, c, d, e, f;
    __asm__ volatile(
        "1:\n\tldr %[a], [%[x]]\n\tldr %[b], [%[x], %[row1]]\n\tldr %[c], [%[x], %[row2]]\n\tadd %[x], %[x], %[step]\n\t"
        "sxtb16 %[d], %[a], ror #8\n\tsxtb16 %[e], %[b], ror #8\n\tsxtb16 %[a], %[a]\n\tsxtb16 %[b], %[b]\n\t"
        "pkhbt %[f], %[a], %[b], lsl #16\n\tpkhtb %[b], %[b], %[a], asr #16\n\tpkhbt %[a], %[d], %[e], lsl #16\n\tpkhtb %[e], %[e], %[d], asr #16\n\t"
        "strd %[f], %[a], [%[to]], #24\n\tsxtb16 %[a], %[c]\n\tsxtb16 %[d], %[c], ror #8\n\t"
        "strd %[b], %[e], [%[to], #-16]\n\tstrd %[a], %[d], [%[to], #-8]\n\tcmp %[to], %[end]\n\tbne 1b"
        : [to] "+r"(to), [x] "+r"(x), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [e] "=&r"(e), [f] "=&r"(f)
        : [row1] "r"(row1), [row2] "r"(row2), [step] "r"(step), [end] "r"(end)
        : "cc", "memory");
#else
    for (; count > 0; count--, to += 6, x += step) {
        const uint32_t r0 = eq_armv7em_load4(x), r1 = eq_armv7em_load4(x + row1), r2 = eq_armv7em_load4(x + row2);
        const uint32_t e0 = eq_armv7em_even(r0), e1 = eq_armv7em_even(r1), o0 = eq_armv7em_odd(r0), o1 = eq_armv7em_odd(r1);
        to[0] = eq_armv7em_pack_low((int32_t)e0, (int32_t)e1);
        to[1] = eq_armv7em_pack_low((int32_t)o0, (int32_t)o1);
        to[2] = eq_armv7em_pack_high(e0, e1);
        to[3] = eq_armv7em_pack_high(o0, o1);
        to[4] = eq_armv7em_even(r2);
        to[5] = eq_armv7em_odd(r2);
    }
#endif
}

/* Adds to the sums of four channels the products of three columns with 3x3 taps, both as eq_armv7em_expand3 puts them. */
static inline void eq_armv7em_window3(int32_t *a, const uint32_t *x, const uint32_t *w)
{
#if EQ_DSP
#define EQ_ARMV7EM_COLUMN(k) \
    "ldrd %[x0], %[x1], [%[x], #24*" k "]\n\tldrd %[w0], %[w1], [%[w], #24*" k "]\n\t" \
    "smlad %[a0], %[x0], %[w0], %[a0]\n\tsmlad %[a1], %[x1], %[w1], %[a1]\n\t" \
    "ldrd %[x0], %[x1], [%[x], #24*" k "+8]\n\tldrd %[w0], %[w1], [%[w], #24*" k "+8]\n\t" \
    "smlad %[a2], %[x0], %[w0], %[a2]\n\tsmlad %[a3], %[x1], %[w1], %[a3]\n\t" \
    "ldrd %[x0], %[x1], [%[x], #24*" k "+16]\n\tldrd %[w0], %[w1], [%[w], #24*" k "+16]\n\t" \
    "smlabb %[a0], %[x0], %[w0], %[a0]\n\tsmlabb %[a1], %[x1], %[w1], %[a1]\n\t" \
    "smlatt %[a2], %[x0], %[w0], %[a2]\n\tsmlatt %[a3], %[x1], %[w1], %[a3]\n\t"
    uint32_t x0, x1, w0, w1;
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    __asm__ volatile(
        EQ_ARMV7EM_COLUMN("0") EQ_ARMV7EM_COLUMN("1") EQ_ARMV7EM_COLUMN("2")
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x0] "=&r"(x0), [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1)
        : [x] "r"(x), [w] "r"(w)
        : "memory");
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_ARMV7EM_COLUMN
#else
    for (int32_t k = 0; k < 3; k++, x += 6, w += 6) {
        for (int32_t c = 0; c < 4; c++) {
            const int32_t x2 = (int16_t)(x[4 + c % 2] >> 8 * (c & 2) & 0xffffu), w2 = (int16_t)(w[4 + c % 2] >> 8 * (c & 2) & 0xffffu);
            a[c] = eq_armv7em_plus(eq_armv7em_mac2(a[c], x[c], w[c]), x2 * w2);
        }
    }
#endif
}

/* What eq_armv7em_row3_tflm and eq_armv7em_row3_single compute: `count` pixels of four channels, at least 1, `step` bytes apart from `to` on.
 * The first window begins at column `window`, the next ones each `advance` bytes further; columns and `taps` are as eq_armv7em_expand3 puts
 * them. Sums are shifted left by `scale`, 1 in rounding tflm; halves of results are rounded with `rounding`; `powers` divide them
 * (2^(33 - shift), and 1 more in rounding tflm). The assembly reads the members at their offsets. */
typedef struct {
    const int32_t *bias;
    const uint32_t *window, *taps;
    int8_t *to;
    int32_t step, advance, count, scale, rounding, multipliers[4], powers[4];
} eq_armv7em_row3;

/* r0 to r3: sums, r4 and r5: columns, r6 and r7: taps, r8: window, r9: taps, r10: to, r11: pixels left, r12: the job. */
#if EQ_DSP
#define EQ_ARMV7EM_ROW3_COLUMN(k) \
    "ldrd r4, r5, [r8, #24*" k "]\n\tldrd r6, r7, [r9, #24*" k "]\n\tsmlad r0, r4, r6, r0\n\tsmlad r1, r5, r7, r1\n\t" \
    "ldrd r4, r5, [r8, #24*" k "+8]\n\tldrd r6, r7, [r9, #24*" k "+8]\n\tsmlad r2, r4, r6, r2\n\tsmlad r3, r5, r7, r3\n\t" \
    "ldrd r4, r5, [r8, #24*" k "+16]\n\tldrd r6, r7, [r9, #24*" k "+16]\n\tsmlabb r0, r4, r6, r0\n\tsmlabb r1, r5, r7, r1\n\t" \
    "smlatt r2, r4, r6, r2\n\tsmlatt r3, r5, r7, r3\n\t"
#define EQ_ARMV7EM_ROW3(scaled, high) \
    __asm__ volatile( \
        "push {r0-r12, lr}\n\tmov r12, r0\n\tldrd r8, r9, [r12, #4]\n\tldr.w r10, [r12, #12]\n\tldr.w r11, [r12, #24]\n" \
        "1:\n\t" /* a pixel */ \
        "ldr.w r0, [r12]\n\tldmia.w r0, {r0, r1, r2, r3}\n\t" \
        EQ_ARMV7EM_ROW3_COLUMN("0") EQ_ARMV7EM_ROW3_COLUMN("1") EQ_ARMV7EM_ROW3_COLUMN("2") \
        scaled \
        "ldrd r4, r5, [r12, #36]\n\tldrd r6, r7, [r12, #44]\n\t" \
        high " r0, r0, r4\n\t" high " r1, r1, r5\n\t" high " r2, r2, r6\n\t" high " r3, r3, r7\n\t" \
        "ldrd r4, r5, [r12, #52]\n\tldrd r6, r7, [r12, #60]\n\tldr.w lr, [r12, #32]\n\t" \
        "smmla r0, r0, r4, lr\n\tsmmla r1, r1, r5, lr\n\tsmmla r2, r2, r6, lr\n\tsmmla r3, r3, r7, lr\n\t" \
        "ldrd r4, r5, [r12, #16]\n\t" \
        "ssat r0, #8, r0, asr #1\n\tssat r1, #8, r1, asr #1\n\tssat r2, #8, r2, asr #1\n\tssat r3, #8, r3, asr #1\n\t" \
        "strb.w r0, [r10]\n\tstrb.w r1, [r10, #1]\n\tstrb.w r2, [r10, #2]\n\tstrb.w r3, [r10, #3]\n\t" \
        "add.w r10, r10, r4\n\tadd.w r8, r8, r5\n\tsubs.w r11, r11, #1\n\tbne.w 1b\n\t" \
        "pop {r0-r12, pc}")
#else
static inline void eq_armv7em_row3_plain(const eq_armv7em_row3 *job, int32_t single)
{
    for (int32_t i = 0; i < job->count; i++) {
        int32_t sums[4] = { job->bias[0], job->bias[1], job->bias[2], job->bias[3] };
        eq_armv7em_window3(sums, job->window + i * job->advance / 4, job->taps);
        for (int32_t k = 0; k < 4; k++) {
            const int32_t acc = eq_shift_left(sums[k], job->scale), multiplier = job->multipliers[k];
            const int32_t halves = single ? (int32_t)(((int64_t)acc * multiplier) >> 32) : eq_armv7em_high_mul_rounded(acc, multiplier);
            const int32_t divided = (int32_t)(((int64_t)halves * job->powers[k]) >> 32);
            job->to[i * job->step + k] = (int8_t)eq_armv7em_half_saturated(divided + job->rounding);
        }
    }
}
#endif

/* Results in rounding tflm. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_row3_tflm(eq_armv7em_row3 *job __attribute__((unused)))
{
    EQ_ARMV7EM_ROW3("lsls r0, r0, #1\n\tlsls r1, r1, #1\n\tlsls r2, r2, #1\n\tlsls r3, r3, #1\n\t", "smmulr");
}
#else
static inline void eq_armv7em_row3_tflm(const eq_armv7em_row3 *job)
{
    eq_armv7em_row3_plain(job, 0);
}
#endif

/* Results in rounding single. */
#if EQ_DSP
static EQ_ARMV7EM_NAKED void eq_armv7em_row3_single(eq_armv7em_row3 *job __attribute__((unused)))
{
    EQ_ARMV7EM_ROW3("ldr.w r4, [r12, #28]\n\tlsls r0, r4\n\tlsls r1, r4\n\tlsls r2, r4\n\tlsls r3, r4\n\t", "smmul");
}
#else
static inline void eq_armv7em_row3_single(const eq_armv7em_row3 *job)
{
    eq_armv7em_row3_plain(job, 1);
}
#endif

#endif
