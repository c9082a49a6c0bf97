/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products of halves by the FPU of Cortex-M4, M7 and M33: two halves a word, converted by vcvtb and vcvtt; plain
 * C where there is none. A product of halves is exact, so that the fused operation gives the same bits. */
#ifndef EQ_HALF_ARMV7EM_H
#define EQ_HALF_ARMV7EM_H

#include "eq_f16.h"

/* Two halves from any address, the first in the low bits. */
static inline uint32_t eq_armv7em_load_halves(const uint16_t *from)
{
#if EQ_HALF_CONVERSIONS
    uint32_t word;
    __builtin_memcpy(&word, from, 4);
    return word;
#else
    return (uint32_t)from[0] | (uint32_t)from[1] << 16;
#endif
}

/* The two halves of a word. */
static inline float eq_armv7em_low_half(uint32_t word)
{
#if EQ_HALF_CONVERSIONS
    float y;
    __asm__("vcvtb.f32.f16 %0, %1" : "=t"(y) : "t"(eq_from_bits((int32_t)word)));
    return y;
#else
    return eq_float_from_half((uint16_t)(word & 0xffffu));
#endif
}

static inline float eq_armv7em_high_half(uint32_t word)
{
#if EQ_HALF_CONVERSIONS
    float y;
    __asm__("vcvtt.f32.f16 %0, %1" : "=t"(y) : "t"(eq_from_bits((int32_t)word)));
    return y;
#else
    return eq_float_from_half((uint16_t)(word >> 16));
#endif
}

#if EQ_HALF_CONVERSIONS
#define EQ_ARMV7EM_FPU_REGISTERS \
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16", "s17", "s18", "s19", \
        "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31"

/* Two channels, whose weights are in `w`, with the input `x`. */
#define EQ_ARMV7EM_HALF_TWO(a, b, w, t, x) \
    "vcvtt.f32.f16 " #t ", " #w "\n\tvcvtb.f32.f16 " #w ", " #w "\n\tvfma.f32 " #b ", " #t ", " #x "\n\tvfma.f32 " #a ", " #w ", " #x "\n\t"
#define EQ_ARMV7EM_HALF_SIXTEEN(x) \
    "vldmia %[w]!, {s16-s23}\n\t" EQ_ARMV7EM_HALF_TWO(s0, s1, s16, s24, x) EQ_ARMV7EM_HALF_TWO(s2, s3, s17, s25, x) EQ_ARMV7EM_HALF_TWO(s4, s5, s18, s26, x) \
        EQ_ARMV7EM_HALF_TWO(s6, s7, s19, s27, x) EQ_ARMV7EM_HALF_TWO(s8, s9, s20, s24, x) EQ_ARMV7EM_HALF_TWO(s10, s11, s21, s25, x) EQ_ARMV7EM_HALF_TWO(s12, s13, s22, s26, x) \
            EQ_ARMV7EM_HALF_TWO(s14, s15, s23, s27, x)

/* Four inputs in s20 ... s23 with the weight `w`. */
#define EQ_ARMV7EM_HALF_FOUR(w, a, b, c, d) \
    "vfma.f32 " #a ", s20, " #w "\n\tvfma.f32 " #b ", s21, " #w "\n\tvfma.f32 " #c ", s22, " #w "\n\tvfma.f32 " #d ", s23, " #w "\n\t"
#define EQ_ARMV7EM_HALF_TILE \
    "vldmia %[x]!, {s16, s17}\n\tvldmia %[w]!, {s18, s19}\n\t" \
    "vcvtb.f32.f16 s20, s16\n\tvcvtt.f32.f16 s21, s16\n\tvcvtb.f32.f16 s22, s17\n\tvcvtt.f32.f16 s23, s17\n\t" \
    "vcvtb.f32.f16 s24, s18\n\tvcvtt.f32.f16 s25, s18\n\tvcvtb.f32.f16 s26, s19\n\tvcvtt.f32.f16 s27, s19\n\t" \
        EQ_ARMV7EM_HALF_FOUR(s24, s0, s1, s2, s3) EQ_ARMV7EM_HALF_FOUR(s25, s4, s5, s6, s7) EQ_ARMV7EM_HALF_FOUR(s26, s8, s9, s10, s11) EQ_ARMV7EM_HALF_FOUR(s27, s12, s13, s14, s15)
#endif

/* Sums of sixteen channels: sums[c] += x[k] * w[k][c] for k = 0, 1, ..., count - 1; `x` are eq_half_input's; eight words
 * of weights per k. */
static inline void eq_armv7em_half_sixteen(const float *x, const uint32_t *w, int32_t count, float *sums)
{
#if EQ_HALF_CONVERSIONS
    int32_t fours = count >> 2, rest = count & 3;
    __asm__ volatile("vldmia %[sums], {s0-s15}\n\t"
                     "cmp %[fours], #0\n\t"
                     "beq 2f\n"
                     "1:\n\t"
                     "vldmia %[x]!, {s28-s31}\n\t"
                     "subs %[fours], %[fours], #1\n\t"
                     EQ_ARMV7EM_HALF_SIXTEEN(s28)
                     EQ_ARMV7EM_HALF_SIXTEEN(s29)
                     EQ_ARMV7EM_HALF_SIXTEEN(s30)
                     EQ_ARMV7EM_HALF_SIXTEEN(s31)
                     "bne 1b\n"
                     "2:\n\t"
                     "cmp %[rest], #0\n\t"
                     "beq 4f\n"
                     "3:\n\t"
                     "vldmia %[x]!, {s28}\n\t"
                     "subs %[rest], %[rest], #1\n\t"
                     EQ_ARMV7EM_HALF_SIXTEEN(s28)
                     "bne 3b\n"
                     "4:\n\t"
                     "vstmia %[sums], {s0-s15}"
                     : [x] "+r"(x), [w] "+r"(w), [fours] "+r"(fours), [rest] "+r"(rest)
                     : [sums] "r"(sums)
                     : "cc", "memory", EQ_ARMV7EM_FPU_REGISTERS);
#else
    for (int32_t k = 0; k < count; k++, w += 8) {
        for (int32_t c = 0; c < 16; c++) {
            const uint16_t weight = (uint16_t)(w[c / 2] >> 16 * (c % 2) & 0xffffu);
            sums[c] = eq_add_product(x[k], eq_half_weight(&weight), sums[c]);
        }
    }
#endif
}

/* Sums of four channels in four rows: sums[4 * c + r] += x[k][r] * w[k][c] for k = 0, 1, ..., count - 1; two words of each
 * per k. No product may be of an infinite weight. */
static inline void eq_armv7em_half_tile(const uint32_t *x, const uint32_t *w, int32_t count, float *sums)
{
#if EQ_HALF_CONVERSIONS
    int32_t pairs = count >> 1;
    __asm__ volatile("vldmia %[sums], {s0-s15}\n\t"
                     "cmp %[pairs], #0\n\t"
                     "beq 2f\n"
                     "1:\n\t"
                     "subs %[pairs], %[pairs], #1\n\t"
                     EQ_ARMV7EM_HALF_TILE
                     EQ_ARMV7EM_HALF_TILE
                     "bne 1b\n"
                     "2:\n\t"
                     "lsls %[pairs], %[count], #31\n\t"
                     "beq 3f\n\t"
                     EQ_ARMV7EM_HALF_TILE
                     "3:\n\t"
                     "vstmia %[sums], {s0-s15}"
                     : [x] "+r"(x), [w] "+r"(w), [pairs] "+r"(pairs)
                     : [sums] "r"(sums), [count] "r"(count)
                     : "cc", "memory", EQ_ARMV7EM_FPU_REGISTERS);
#else
    for (int32_t k = 0; k < count; k++, x += 2, w += 2) {
        for (int32_t i = 0; i < 16; i++) {
            const uint16_t value = (uint16_t)(x[i % 4 / 2] >> 16 * (i % 2) & 0xffffu);
            const uint16_t weight = (uint16_t)(w[i / 8] >> 16 * (i / 4 % 2) & 0xffffu);
            sums[i] = eq_add_product(eq_half_input(value), eq_half_weight(&weight), sums[i]);
        }
    }
#endif
}

#endif
