/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products of halves with int8 weights by the FPU of Cortex-M4, M7 and M33; plain C where there is none.
 *
 * Four weights are a word (layouts magnitudes4 and magnitudes16). Two masks make four subnormal halves of it, units of 2^-24, which
 * the FPU converts as it does any others; the inputs are 2^24 times as large. */
#ifndef EQ_HALF_ARMV7EM_BYTES_H
#define EQ_HALF_ARMV7EM_BYTES_H

#include "eq_half_armv7em.h"

/* A half as the factor of an int8 weight. */
static inline float eq_armv7em_byte_input(uint16_t x)
{
    return eq_float_from_half(x) * 0x1p24f;
}

#if EQ_HALF_CONVERSIONS
/* The channels a, b, c and d whose weights are in the core register `w`, with the input `x`. */
#define EQ_ARMV7EM_BYTE_FOUR(a, b, c, d, w, s, t, u, v, x) \
    "and lr, %[mask], " #w ", ror #8\n\tand " #w ", %[mask], " #w "\n\tvmov " #s ", " #t ", " #w ", lr\n\t" \
    "vcvtt.f32.f16 " #u ", " #s "\n\tvcvtb.f32.f16 " #s ", " #s "\n\tvcvtt.f32.f16 " #v ", " #t "\n\tvcvtb.f32.f16 " #t ", " #t "\n\t" \
    "vfma.f32 " #b ", " #u ", " #x "\n\tvfma.f32 " #a ", " #s ", " #x "\n\tvfma.f32 " #d ", " #v ", " #x "\n\tvfma.f32 " #c ", " #t ", " #x "\n\t"
#define EQ_ARMV7EM_BYTE_SIXTEEN(x) \
    "ldmia %[w]!, {r8, r9, r10, r12}\n\t" EQ_ARMV7EM_BYTE_FOUR(s0, s1, s2, s3, r8, s16, s17, s18, s19, x) \
        EQ_ARMV7EM_BYTE_FOUR(s4, s5, s6, s7, r9, s20, s21, s22, s23, x) EQ_ARMV7EM_BYTE_FOUR(s8, s9, s10, s11, r10, s24, s25, s26, s27, x) \
            EQ_ARMV7EM_BYTE_FOUR(s12, s13, s14, s15, r12, s16, s17, s18, s19, x)

/* Four channels, whose weights are in the core register `w`, in four rows. */
#define EQ_ARMV7EM_BYTE_TILE(w) \
    "vldmia %[x]!, {s20-s23}\n\t" \
    "and lr, %[mask], " #w ", ror #8\n\tand " #w ", %[mask], " #w "\n\tvmov s24, s25, " #w ", lr\n\t" \
    "vcvtt.f32.f16 s26, s24\n\tvcvtb.f32.f16 s24, s24\n\tvcvtt.f32.f16 s27, s25\n\tvcvtb.f32.f16 s25, s25\n\t" \
        EQ_ARMV7EM_HALF_FOUR(s24, s0, s1, s2, s3) EQ_ARMV7EM_HALF_FOUR(s26, s4, s5, s6, s7) EQ_ARMV7EM_HALF_FOUR(s25, s8, s9, s10, s11) EQ_ARMV7EM_HALF_FOUR(s27, s12, s13, s14, s15)
#define EQ_ARMV7EM_BYTE_ZEROS \
    "mov lr, #0\n\tvmov s0, lr\n\tvmov.f32 s1, s0\n\tvmov.f32 s2, s0\n\tvmov.f32 s3, s0\n\tvmov.f32 s4, s0\n\tvmov.f32 s5, s0\n\tvmov.f32 s6, s0\n\t" \
    "vmov.f32 s7, s0\n\tvmov.f32 s8, s0\n\tvmov.f32 s9, s0\n\tvmov.f32 s10, s0\n\tvmov.f32 s11, s0\n\tvmov.f32 s12, s0\n\t" \
    "vmov.f32 s13, s0\n\tvmov.f32 s14, s0\n\tvmov.f32 s15, s0\n\t"
/* Sixteen sums over `count` elements, four at a time: `fours` loads what differs between them to a, b, c and d, `one` to a. */
#define EQ_ARMV7EM_BYTE_LOOP(fours, what, a, b, c, d, one) \
    do { \
        int32_t left = count; \
        __asm__ volatile(EQ_ARMV7EM_BYTE_ZEROS \
                         "subs %[left], %[left], #4\n\t" \
                         "blt 2f\n" \
                         "1:\n\t" fours "\n\t" \
                         "subs %[left], %[left], #4\n\t" \
                         what(a) what(b) what(c) what(d) \
                         "bge 1b\n" \
                         "2:\n\t" \
                         "adds %[left], %[left], #4\n\t" \
                         "beq 4f\n" \
                         "3:\n\t" one "\n\t" \
                         "subs %[left], %[left], #1\n\t" \
                         what(a) \
                         "bne 3b\n" \
                         "4:\n\t" \
                         "vstmia %[sums], {s0-s15}" \
                         : [x] "+r"(x), [w] "+r"(w), [left] "+r"(left) \
                         : [sums] "r"(sums), [mask] "r"(0x807f807f) \
                         : "cc", "memory", "r8", "r9", "r10", "r12", "lr", EQ_ARMV7EM_FPU_REGISTERS); \
    } while (0)
#else
/* Weight `c` of a word. */
static inline float eq_armv7em_byte_weight(uint32_t word, int32_t c)
{
    const uint32_t turned = c & 2 ? word >> 8 | word << 24 : word;
    return eq_float_from_half((uint16_t)(turned >> 16 * (c & 1) & 0x807fu));
}
#endif

/* Sums of sixteen channels: sums[c] = x[0] * w[0][c] + x[1] * w[1][c] + ... of `count` elements; `x` are eq_armv7em_byte_input's; four words
 * of weights per element. */
static inline void eq_armv7em_byte_sixteen(const float *x, const uint32_t *w, int32_t count, float *sums)
{
#if EQ_HALF_CONVERSIONS
    EQ_ARMV7EM_BYTE_LOOP("vldmia %[x]!, {s28-s31}", EQ_ARMV7EM_BYTE_SIXTEEN, s28, s29, s30, s31, "vldmia %[x]!, {s28}");
#else
    for (int32_t c = 0; c < 16; c++) {
        float sum = 0;
        for (int32_t k = 0; k < count; k++) {
            sum += x[k] * eq_armv7em_byte_weight(w[4 * k + c / 4], c % 4);
        }
        sums[c] = sum;
    }
#endif
}

/* Sums of four channels in four rows: sums[4 * c + r] = x[0][r] * w[0][c] + x[1][r] * w[1][c] + ... of `count` elements; one word of
 * weights per element. */
static inline void eq_armv7em_byte_tile(const float *x, const uint32_t *w, int32_t count, float *sums)
{
#if EQ_HALF_CONVERSIONS
    EQ_ARMV7EM_BYTE_LOOP("ldmia %[w]!, {r8, r9, r10, r12}", EQ_ARMV7EM_BYTE_TILE, r8, r9, r10, r12, "ldr r8, [%[w]], #4");
#else
    for (int32_t i = 0; i < 16; i++) {
        float sum = 0;
        for (int32_t k = 0; k < count; k++) {
            sum += x[4 * k + i % 4] * eq_armv7em_byte_weight(w[k], i / 4);
        }
        sums[i] = sum;
    }
#endif
}

#endif
