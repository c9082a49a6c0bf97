/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Inner loops of the kernels with the DSP extension; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_LOOPS_H
#define EQ_SIMD_ARMV7EM_LOOPS_H

#include "eq_simd_armv7em.h"

/* 1 for cores that charge LDM and LDRD by the word, so Cortex-M4: single loads side by side take fewer cycles there. */
#ifndef EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_BY_WORDS 0
#endif

/* Of the same in C, compilers make something that runs out of registers. A round is four
 * steps, and is entered where `count`, at least 1, leaves a whole number of rounds. */
#if EQ_DSP
#define EQ_ARMV7EM_ROUND(count, spare, step) \
    "ands " spare ", " count ", #3\n\tbeq 1f\n\tcmp " spare ", #2\n\tbhi 2f\n\tbeq 3f\n\tb 4f\n" \
    "1:\n\t" step "2:\n\t" step "3:\n\t" step "4:\n\t" step
#endif

/* Expands `count` quads of inputs from any address into one of three columns: `to[0]`, `to[6]`, ... are the even lanes;
 * three words further are the odd lanes, or what eq_armv7em_mixed gives where `mixed`, a literal. Returns the end. */
static inline uint32_t *eq_armv7em_expand(uint32_t *to, const int8_t *from, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_EXPAND(second) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "%[word]", \
            "ldr %[word], [%[from]], #4\n\t" \
            "sxtb16 %[even], %[word]\n\t" \
            second "\n\t" \
            "str %[word], [%[to], #12]\n\t" \
            "str %[even], [%[to]], #24\n\t") \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [word] "=&r"(word), [even] "=&r"(even) \
        : \
        : "cc", "memory")
    uint32_t word, even;
    if (mixed) {
        EQ_ARMV7EM_EXPAND("eor %[word], %[word], #0x007f007f");
    } else {
        EQ_ARMV7EM_EXPAND("sxtb16 %[word], %[word], ror #8");
    }
#undef EQ_ARMV7EM_EXPAND
#else
    for (; count > 0; count--, from += 4, to += 6) {
        const uint32_t word = eq_armv7em_load4(from);
        to[0] = eq_armv7em_even(word);
        to[3] = mixed ? eq_armv7em_mixed(word) : eq_armv7em_odd(word);
    }
#endif
    return to;
}

/* Adds to a[2 * r + c] the products of column r of three with channel c of two, `count` quads of each; `mixed`, a literal,
 * says what the columns hold, and that the weights have layout "pairs" instead of "quads". Returns the end of the weights. */
static inline const uint32_t *eq_armv7em_tile(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC3(channel, weights) \
    "smlad %[a0" channel "], r8, " weights ", %[a0" channel "]\n\t" \
    "smlad %[a1" channel "], r9, " weights ", %[a1" channel "]\n\t" \
    "smlad %[a2" channel "], r10, " weights ", %[a2" channel "]\n\t"
#define EQ_ARMV7EM_UNPACK(rotation) "sxtb16 %[w0], %[w0]" rotation "\n\tsxtb16 %[w1], %[w1]" rotation "\n\t"
#define EQ_ARMV7EM_TILE(first, between) \
    __asm__ volatile( \
        "push {%[w1]}\n\t" \
        EQ_ARMV7EM_ROUND("%[w0]", "r8", \
            "ldm %[x]!, {r8, r9, r10}\n\t" \
            "ldrd %[w0], %[w1], [%[w]], #8\n\t" \
            first \
            "ldm %[x]!, {r8, r9, r10}\n\t" \
            between \
            EQ_ARMV7EM_MAC3("0", "%[w0]") \
            EQ_ARMV7EM_MAC3("1", "%[w1]")) \
        "ldr r8, [sp]\n\t" \
        "cmp %[x], r8\n\t" \
        "bne 1b\n\t" \
        "pop {%[w1]}" \
        : [a00] "+r"(a00), [a01] "+r"(a01), [a10] "+r"(a10), [a11] "+r"(a11), [a20] "+r"(a20), [a21] "+r"(a21), \
          [x] "+r"(x), [w] "+r"(w), [w0] "+r"(count), [w1] "+r"(end) \
        : \
        : "r8", "r9", "r10", "cc", "memory")
    int32_t a00 = a[0], a01 = a[1], a10 = a[2], a11 = a[3], a20 = a[4], a21 = a[5];
    const uint32_t *end = x + 6 * count; /* kept on the stack: all registers are in use */
    if (mixed) {
        EQ_ARMV7EM_TILE(EQ_ARMV7EM_MAC3("0", "%[w0]") EQ_ARMV7EM_MAC3("1", "%[w1]"), EQ_ARMV7EM_UNPACK(""));
    } else {
        EQ_ARMV7EM_TILE(
            EQ_ARMV7EM_UNPACK("") EQ_ARMV7EM_MAC3("0", "%[w0]") EQ_ARMV7EM_MAC3("1", "%[w1]"),
            "ldrd %[w0], %[w1], [%[w], #-8]\n\t" EQ_ARMV7EM_UNPACK(", ror #8"));
    }
    a[0] = a00, a[1] = a01, a[2] = a10, a[3] = a11, a[4] = a20, a[5] = a21;
#undef EQ_ARMV7EM_TILE
#undef EQ_ARMV7EM_UNPACK
#undef EQ_ARMV7EM_MAC3
#else
    for (; count > 0; count--, x += 6, w += 2) {
        for (int32_t i = 0; i < 6; i++) {
            const uint32_t word = w[i & 1], even = eq_armv7em_even(word);
            a[i] = eq_armv7em_mac2(eq_armv7em_mac2(a[i], x[i >> 1], mixed ? word : even), x[3 + (i >> 1)], mixed ? even : eq_armv7em_odd(word));
        }
    }
#endif
    return w;
}

/* The same of two columns of three. */
static inline const uint32_t *eq_armv7em_tile2(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC2 \
    "smlad %[a00], %[x0], %[w0], %[a00]\n\tsmlad %[a10], %[x1], %[w0], %[a10]\n\t" \
    "smlad %[a01], %[x0], %[w1], %[a01]\n\tsmlad %[a11], %[x1], %[w1], %[a11]\n\t"
#define EQ_ARMV7EM_UNPACK(rotation) "sxtb16 %[w0], %[w0]" rotation "\n\tsxtb16 %[w1], %[w1]" rotation "\n\t"
#define EQ_ARMV7EM_TILE(first, between) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "%[w0]", \
            "ldrd %[w0], %[w1], [%[w]], #8\n\t" \
            first \
            "ldrd %[x0], %[x1], [%[x]], #12\n\t" \
            EQ_ARMV7EM_MAC2 \
            between \
            "ldrd %[x0], %[x1], [%[x]], #12\n\t" \
            EQ_ARMV7EM_MAC2) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [a00] "+r"(a00), [a01] "+r"(a01), [a10] "+r"(a10), [a11] "+r"(a11), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), \
          [w0] "=&r"(w0), [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1) \
        : \
        : "cc", "memory")
    int32_t a00 = a[0], a01 = a[1], a10 = a[2], a11 = a[3];
    uint32_t w0, w1, x0, x1;
    if (mixed) {
        EQ_ARMV7EM_TILE("", EQ_ARMV7EM_UNPACK(""));
    } else {
        EQ_ARMV7EM_TILE(EQ_ARMV7EM_UNPACK(""), "ldrd %[w0], %[w1], [%[w], #-8]\n\t" EQ_ARMV7EM_UNPACK(", ror #8"));
    }
    a[0] = a00, a[1] = a01, a[2] = a10, a[3] = a11;
#undef EQ_ARMV7EM_TILE
#undef EQ_ARMV7EM_UNPACK
#undef EQ_ARMV7EM_MAC2
#else
    for (; count > 0; count--, x += 6, w += 2) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t word = w[i & 1], even = eq_armv7em_even(word);
            a[i] = eq_armv7em_mac2(eq_armv7em_mac2(a[i], x[i >> 1], mixed ? word : even), x[3 + (i >> 1)], mixed ? even : eq_armv7em_odd(word));
        }
    }
#endif
    return w;
}

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
/* Functions of assembly alone: it uses all registers, and keeps them for callers that look at what a function changes. */
#define EQ_ARMV7EM_NAKED __attribute__((naked, noinline, unused))

/* A quad of three pixels with two channels, the k-th of a round of eight. r0: columns, lr: weights, r1 to r6: sums. Single loads are
 * relative to four bytes before, so that the last ones of a round can take both on. */
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
#define EQ_ARMV7EM_PIXELS_BACK "mul r5, r2, r7\n\tadd r6, r1, r2\n\tlsl r6, r6, #3\n\t" /* by the steps that are skipped, too */
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
 * Of the eight steps of a round those are skipped that the first has too many. */
#define EQ_ARMV7EM_PIXELS(scaled, power, halves) \
    __asm__ volatile( \
        "push {r0-r12, lr}\n\tsub sp, sp, #68\n\t" \
        "ldr r1, [r0, #8]\n\trsb r2, r1, #0\n\tand r2, r2, #7\n\tmov r7, #24\n\t" EQ_ARMV7EM_PIXELS_BACK \
        "mul r7, r1, r7\n\tstr r5, [sp, #8]\n\tstr r6, [sp, #16]\n\tstr r7, [sp, #20]\n\t" \
        "ldr r3, [r0]\n\tldr r4, [r0, #12]\n\tsub r3, r3, #" EQ_ARMV7EM_PIXELS_BEFORE "\n\tstr r3, [r0]\n\tmla r4, r7, r4, r3\n\tstr r4, [sp, #64]\n\t" \
        "adr.w r4, 4f\n\tmov r5, #" EQ_ARMV7EM_PIXELS_BYTES "\n\tmla r4, r2, r5, r4\n\torr r4, r4, #1\n\tstr r4, [sp, #12]\n\t" \
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
        "mov r2, r1\n\tmov r3, r1\n\tmov r5, r4\n\tmov r6, r4\n\tadd r12, r12, r0\n\tsub.w r0, r0, r9\n\tsub.w lr, lr, r8\n\tbx r10\n\t" \
        ".balign 4\n" \
        "4:\n\t" EQ_ARMV7EM_PIXELS_STEP("0", "") EQ_ARMV7EM_PIXELS_STEP("1", "") EQ_ARMV7EM_PIXELS_STEP("2", "") EQ_ARMV7EM_PIXELS_STEP("3", "") \
        EQ_ARMV7EM_PIXELS_STEP("4", "") EQ_ARMV7EM_PIXELS_STEP("5", "") EQ_ARMV7EM_PIXELS_STEP("6", "") EQ_ARMV7EM_PIXELS_STEP("7", "!") \
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

#if EQ_DSP && EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_FOUR(w) "ldr r8, [" w "], #16\n\tldr r9, [" w ", #-12]\n\tldr r10, [" w ", #-8]\n\tldr r12, [" w ", #-4]\n\t"
#else
#define EQ_ARMV7EM_FOUR(w) "ldm " w "!, {r8, r9, r10, r12}\n\t"
#endif

/* Adds to a[c] the products of `count` quads of inputs, from any address, with channel c of four; `mixed` as above.
 * Returns the end of the weights. */
static inline const uint32_t *eq_armv7em_row(int32_t *a, const int8_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC4(x) \
    "smlad %[a0], " x ", r8, %[a0]\n\tsmlad %[a1], " x ", r9, %[a1]\n\t" \
    "smlad %[a2], " x ", r10, %[a2]\n\tsmlad %[a3], " x ", r12, %[a3]\n\t"
#define EQ_ARMV7EM_UNPACK(rotation) \
    "sxtb16 r8, r8" rotation "\n\tsxtb16 r9, r9" rotation "\n\tsxtb16 r10, r10" rotation "\n\tsxtb16 r12, r12" rotation "\n\t"
#define EQ_ARMV7EM_ROW(first, between) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "r8", \
            "ldr %[second], [%[x]], #4\n\t" EQ_ARMV7EM_FOUR("%[w]") \
            "sxtb16 %[even], %[second]\n\t" \
            first EQ_ARMV7EM_MAC4("%[even]") \
            between EQ_ARMV7EM_MAC4("%[second]")) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), \
          [even] "=&r"(even), [second] "=&r"(second) \
        : \
        : "r8", "r9", "r10", "r12", "cc", "memory")
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    uint32_t even, second;
    if (mixed) {
        EQ_ARMV7EM_ROW("eor %[second], %[second], #0x007f007f\n\t", EQ_ARMV7EM_UNPACK(""));
    } else {
        EQ_ARMV7EM_ROW(
            "sxtb16 %[second], %[second], ror #8\n\t" EQ_ARMV7EM_UNPACK(""),
            "ldmdb %[w], {r8, r9, r10, r12}\n\t" EQ_ARMV7EM_UNPACK(", ror #8"));
    }
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_ARMV7EM_ROW
#undef EQ_ARMV7EM_UNPACK
#undef EQ_ARMV7EM_MAC4
#else
    for (; count > 0; count--, x += 4, w += 4) {
        const uint32_t word = eq_armv7em_load4(x), even = eq_armv7em_even(word), second = mixed ? eq_armv7em_mixed(word) : eq_armv7em_odd(word);
        for (int32_t c = 0; c < 4; c++) {
            const uint32_t low = eq_armv7em_even(w[c]);
            a[c] = eq_armv7em_mac2(eq_armv7em_mac2(a[c], even, mixed ? w[c] : low), second, mixed ? low : eq_armv7em_odd(w[c]));
        }
    }
#endif
    return w;
}

/* Expands `count` elements from any address to quads of two words: the even lanes, then the odd ones or what eq_armv7em_mixed gives
 * where `mixed`. What is missing in the last quad is 0. */
static inline void eq_armv7em_expand_quads(uint32_t *to, const int8_t *from, int32_t count, int32_t mixed)
{
    for (; count > 0; count -= 4, from += 4, to += 2) {
        uint32_t word = 0;
        if (count >= 4) {
            word = eq_armv7em_load4(from);
        } else {
            for (int32_t i = 0; i < count; i++) {
                word |= (uint32_t)(uint8_t)from[i] << 8 * i;
            }
        }
        eq_armv7em_put2(to, eq_armv7em_even(word), mixed ? eq_armv7em_mixed(word) : eq_armv7em_odd(word));
    }
}

/* As eq_armv7em_row, of expanded inputs with `rows` channels, 2, 3 or 4, a literal. */
static inline const uint32_t *eq_armv7em_expanded_row(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count, int32_t rows, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC2(x) "smlad %[a0], " x ", r8, %[a0]\n\tsmlad %[a1], " x ", r9, %[a1]\n\t"
#define EQ_ARMV7EM_MAC3(x) EQ_ARMV7EM_MAC2(x) "smlad %[a2], " x ", r10, %[a2]\n\t"
#define EQ_ARMV7EM_MAC4(x) EQ_ARMV7EM_MAC3(x) "smlad %[a3], " x ", r12, %[a3]\n\t"
#define EQ_ARMV7EM_UNPACK2(rotation) "sxtb16 r8, r8" rotation "\n\tsxtb16 r9, r9" rotation "\n\t"
#define EQ_ARMV7EM_UNPACK3(rotation) EQ_ARMV7EM_UNPACK2(rotation) "sxtb16 r10, r10" rotation "\n\t"
#define EQ_ARMV7EM_UNPACK4(rotation) EQ_ARMV7EM_UNPACK3(rotation) "sxtb16 r12, r12" rotation "\n\t"
#define EQ_ARMV7EM_EXPANDED_ROW(registers, first, mac, between) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "r8", \
            "ldrd %[even], %[second], [%[x]], #8\n\t" \
            "ldm %[w]!, " registers "\n\t" \
            first mac("%[even]") \
            between mac("%[second]")) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), \
          [even] "=&r"(even), [second] "=&r"(second) \
        : \
        : "r8", "r9", "r10", "r12", "cc", "memory")
    int32_t a0 = a[0], a1 = a[1], a2 = rows > 2 ? a[2] : 0, a3 = rows > 3 ? a[3] : 0;
    uint32_t even, second;
    if (rows == 4 && mixed) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10, r12}", "", EQ_ARMV7EM_MAC4, EQ_ARMV7EM_UNPACK4(""));
    } else if (rows == 4) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10, r12}", EQ_ARMV7EM_UNPACK4(""), EQ_ARMV7EM_MAC4, "ldmdb %[w], {r8, r9, r10, r12}\n\t" EQ_ARMV7EM_UNPACK4(", ror #8"));
    } else if (rows == 3 && mixed) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10}", "", EQ_ARMV7EM_MAC3, EQ_ARMV7EM_UNPACK3(""));
    } else if (rows == 3) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10}", EQ_ARMV7EM_UNPACK3(""), EQ_ARMV7EM_MAC3, "ldmdb %[w], {r8, r9, r10}\n\t" EQ_ARMV7EM_UNPACK3(", ror #8"));
    } else if (mixed) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9}", "", EQ_ARMV7EM_MAC2, EQ_ARMV7EM_UNPACK2(""));
    } else {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9}", EQ_ARMV7EM_UNPACK2(""), EQ_ARMV7EM_MAC2, "ldmdb %[w], {r8, r9}\n\t" EQ_ARMV7EM_UNPACK2(", ror #8"));
    }
    a[0] = a0, a[1] = a1;
    if (rows > 2) {
        a[2] = a2;
    }
    if (rows > 3) {
        a[3] = a3;
    }
#undef EQ_ARMV7EM_EXPANDED_ROW
#undef EQ_ARMV7EM_UNPACK4
#undef EQ_ARMV7EM_UNPACK3
#undef EQ_ARMV7EM_UNPACK2
#undef EQ_ARMV7EM_MAC4
#undef EQ_ARMV7EM_MAC3
#undef EQ_ARMV7EM_MAC2
#else
    for (; count > 0; count--, x += 2, w += rows) {
        for (int32_t c = 0; c < rows; c++) {
            const uint32_t low = eq_armv7em_even(w[c]);
            a[c] = eq_armv7em_mac2(eq_armv7em_mac2(a[c], x[0], mixed ? w[c] : low), x[1], mixed ? low : eq_armv7em_odd(w[c]));
        }
    }
#endif
    return w;
}

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

/* Expands `count` columns of three rows of four channels of int8, columns `step` bytes apart, to six words each: the pairs (row 0, row 1)
 * of the channels, then row 2 of channels 0 and 2, and of 1 and 3. */
static inline void eq_armv7em_expand3(
    uint32_t *to, const int8_t *x0, const int8_t *x1, const int8_t *x2, int32_t step, int32_t count)
{
    for (; count > 0; count--, to += 6, x0 += step, x1 += step, x2 += step) {
        const uint32_t r0 = eq_armv7em_load4(x0), r1 = eq_armv7em_load4(x1), r2 = eq_armv7em_load4(x2);
        const uint32_t e0 = eq_armv7em_even(r0), e1 = eq_armv7em_even(r1), o0 = eq_armv7em_odd(r0), o1 = eq_armv7em_odd(r1);
        eq_armv7em_put2(to, eq_armv7em_pack_low((int32_t)e0, (int32_t)e1), eq_armv7em_pack_low((int32_t)o0, (int32_t)o1));
        eq_armv7em_put2(to + 2, eq_armv7em_pack_high(e0, e1), eq_armv7em_pack_high(o0, o1));
        eq_armv7em_put2(to + 4, eq_armv7em_even(r2), eq_armv7em_odd(r2));
    }
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

/* Sums of products of `quads` quads of int8, at least 1, with four rows of int16 at once, to `sums`: of each quad x holds the even lanes
 * of the four rows, then the odd ones. */
static inline void eq_armv7em_scores4(int32_t *sums, const int8_t *from, const uint32_t *x, int32_t quads)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#if EQ_DSP
    uint32_t a, b, even, odd;
    __asm__ volatile(
        "1:\n\tldr %[odd], [%[from]], #4\n\t"
        "ldrd %[a], %[b], [%[x]], #32\n\t"
        "sxtb16 %[even], %[odd]\n\t"
        "sxtb16 %[odd], %[odd], ror #8\n\t"
        "smlad %[s0], %[a], %[even], %[s0]\n\tsmlad %[s1], %[b], %[even], %[s1]\n\t"
        "ldrd %[a], %[b], [%[x], #-24]\n\t"
        "smlad %[s2], %[a], %[even], %[s2]\n\tsmlad %[s3], %[b], %[even], %[s3]\n\t"
        "ldrd %[a], %[b], [%[x], #-16]\n\t"
        "smlad %[s0], %[a], %[odd], %[s0]\n\tsmlad %[s1], %[b], %[odd], %[s1]\n\t"
        "ldrd %[a], %[b], [%[x], #-8]\n\t"
        "subs %[quads], %[quads], #1\n\t"
        "smlad %[s2], %[a], %[odd], %[s2]\n\tsmlad %[s3], %[b], %[odd], %[s3]\n\t"
        "bne 1b"
        : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [from] "+r"(from), [x] "+r"(x), [quads] "+r"(quads),
          [a] "=&r"(a), [b] "=&r"(b), [even] "=&r"(even), [odd] "=&r"(odd)
        :
        : "cc", "memory");
#else
    for (; quads > 0; quads--, from += 4, x += 8) {
        const uint32_t word = eq_armv7em_load4(from), even = eq_armv7em_even(word), odd = eq_armv7em_odd(word);
        s0 = eq_armv7em_mac2(eq_armv7em_mac2(s0, x[0], even), x[4], odd);
        s1 = eq_armv7em_mac2(eq_armv7em_mac2(s1, x[1], even), x[5], odd);
        s2 = eq_armv7em_mac2(eq_armv7em_mac2(s2, x[2], even), x[6], odd);
        s3 = eq_armv7em_mac2(eq_armv7em_mac2(s3, x[3], even), x[7], odd);
    }
#endif
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

/* Adds to a[2 * r + c] the products of four rows of int16 with columns 0 and 2, c = 0 and 1, (where `odd`, a literal: 1 and 3) of rows of
 * int8 that lie `step` bytes apart. A word of w is two neighbours of a row, the four rows in turn, up to `end`, which is not w. */
static inline void eq_armv7em_weighed4(int32_t *a, const int8_t *from, int32_t step, const uint32_t *w, const uint32_t *end, int32_t odd)
{
#if EQ_DSP
#define EQ_ARMV7EM_WEIGH1(r) \
    "ldr %[x], [%[w]], #4\n\t" \
    "smlad %[a" r "0], %[x], %[low], %[a" r "0]\n\t" \
    "smlad %[a" r "1], %[x], %[high], %[a" r "1]\n\t"
#define EQ_ARMV7EM_WEIGH(rotation) \
    __asm__ volatile( \
        "push {%[high]}\n\tpush {%[low]}\n" \
        "1:\n\tldr %[x], [sp]\n\t" \
        "ldr %[high], [%[from]]\n\t" \
        "ldr %[low], [%[from], %[x]]\n\t" \
        "add %[from], %[from], %[x], lsl #1\n\t" \
        "sxtb16 %[high], %[high]" rotation "\n\t" \
        "sxtb16 %[x], %[low]" rotation "\n\t" \
        "pkhbt %[low], %[high], %[x], lsl #16\n\t" \
        "pkhtb %[high], %[x], %[high], asr #16\n\t" \
        EQ_ARMV7EM_WEIGH1("0") EQ_ARMV7EM_WEIGH1("1") EQ_ARMV7EM_WEIGH1("2") EQ_ARMV7EM_WEIGH1("3") \
        "ldr %[x], [sp, #4]\n\t" \
        "cmp %[w], %[x]\n\t" \
        "bne 1b\n\t" \
        "pop {%[low]}\n\tpop {%[high]}" \
        : [a00] "+r"(a00), [a01] "+r"(a01), [a10] "+r"(a10), [a11] "+r"(a11), [a20] "+r"(a20), [a21] "+r"(a21), \
          [a30] "+r"(a30), [a31] "+r"(a31), [from] "+r"(from), [w] "+r"(w), [x] "=&r"(x), [low] "+r"(step), \
          [high] "+r"(end) \
        : \
        : "cc", "memory")
    int32_t a00 = a[0], a01 = a[1], a10 = a[2], a11 = a[3], a20 = a[4], a21 = a[5], a30 = a[6], a31 = a[7];
    uint32_t x;
    if (odd) {
        EQ_ARMV7EM_WEIGH(", ror #8");
    } else {
        EQ_ARMV7EM_WEIGH("");
    }
    a[0] = a00, a[1] = a01, a[2] = a10, a[3] = a11, a[4] = a20, a[5] = a21, a[6] = a30, a[7] = a31;
#undef EQ_ARMV7EM_WEIGH
#undef EQ_ARMV7EM_WEIGH1
#else
    for (; w != end; w += 4, from += 2 * step) {
        const uint32_t v0 = eq_armv7em_load4(from), v1 = eq_armv7em_load4(from + step);
        const uint32_t a0 = odd ? eq_armv7em_odd(v0) : eq_armv7em_even(v0), a1 = odd ? eq_armv7em_odd(v1) : eq_armv7em_even(v1);
        const uint32_t low = eq_armv7em_pack_low((int32_t)a0, (int32_t)a1), high = eq_armv7em_pack_high(a0, a1);
        for (int32_t r = 0; r < 4; r++) {
            a[2 * r] = eq_armv7em_mac2(a[2 * r], w[r], low);
            a[2 * r + 1] = eq_armv7em_mac2(a[2 * r + 1], w[r], high);
        }
    }
#endif
}

/* Of n >= 1 int8 x: the rounded high word of (x * step + less) * factor, times a scale, less 16 bits, plus a bias, shifted right by `shift`,
 * a literal from 1 on, saturated to int8. */
#if EQ_DSP
#define EQ_ARMV7EM_NORMALIZE1(shift) \
    "ldrsb %[a], [%[x]], #1\n\t" \
    "ldr %[b], [%[scale]], #4\n\t" \
    "mla %[a], %[a], %[step], %[less]\n\t" \
    "ldr %[c], [%[bias]], #4\n\t" \
    "smmulr %[a], %[a], %[factor]\n\t" \
    "smull %[a], %[b], %[a], %[b]\n\t" \
    "add %[c], %[c], %[a], lsr #16\n\t" \
    "add %[c], %[c], %[b], lsl #16\n\t" \
    "ssat %[c], #8, %[c], asr #" #shift "\n\t" \
    "strb %[c], [%[y]], #1\n\t"
#define EQ_ARMV7EM_NORMALIZE(to, from, scales, biases, count, times, plus, by, shift) \
    do { \
        int8_t *eq_y = (to); \
        const int8_t *eq_x = (from); \
        const int32_t *eq_scale = (scales), *eq_bias = (biases); \
        int32_t eq_n = (count), eq_a, eq_b, eq_c; \
        __asm__ volatile( \
            "lsrs %[n], %[n], #1\n\t" \
            "bcc 1f\n\t" \
            EQ_ARMV7EM_NORMALIZE1(shift) \
            "1:\n\tcmp %[n], #0\n\t" \
            "beq 3f\n" \
            "2:\n\t" \
            EQ_ARMV7EM_NORMALIZE1(shift) EQ_ARMV7EM_NORMALIZE1(shift) \
            "subs %[n], %[n], #1\n\t" \
            "bne 2b\n" \
            "3:" \
            : [y] "+&r"(eq_y), [x] "+&r"(eq_x), [scale] "+&r"(eq_scale), [bias] "+&r"(eq_bias), [n] "+&r"(eq_n), [a] "=&r"(eq_a), \
              [b] "=&r"(eq_b), [c] "=&r"(eq_c) \
            : [step] "r"(times), [less] "r"(plus), [factor] "r"(by) \
            : "cc", "memory"); \
    } while (0)
#else
#define EQ_ARMV7EM_NORMALIZE(to, from, scales, biases, count, times, plus, by, shift) \
    for (int32_t eq_i = 0; eq_i < (count); eq_i++) { \
        const int32_t eq_normal = eq_armv7em_high_mul_rounded((int32_t)((uint32_t)(from)[eq_i] * (times) + (plus)), by); \
        const int32_t eq_steps = (int32_t)(((int64_t)eq_normal * (scales)[eq_i]) >> 16) + (biases)[eq_i]; \
        (to)[eq_i] = (int8_t)eq_armv7em_saturated(eq_steps >> (shift)); \
    }
#endif

#endif
