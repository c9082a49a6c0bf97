/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Attention and normalization with the DSP extension; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_ATTENTION_H
#define EQ_SIMD_ARMV7EM_ATTENTION_H

#include "eq_simd_armv7em.h"

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
