/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* XCV: bytes moved, filled and turned, and sums of two tensors; see eq_simd_xcv.h. */
#ifndef EQ_SIMD_XCV_ELEMENTS_H
#define EQ_SIMD_XCV_ELEMENTS_H

#include "eq_simd_xcv.h"

/* Copies `count` bytes that lie `step` apart to neighbouring ones. */
static inline void eq_xcv_gather(int8_t *to, const int8_t *from, int32_t step, int32_t count)
{
#if EQ_XCV
    uint32_t t0, t1;
    if (count >= 2) {
        __asm__ volatile(
            EQ_XCV_LOOP("%[n]", "5")
            ".insn r 0x2b, 3, 0x00, %[t0], %[from], %[step]\n\t.insn r 0x2b, 3, 0x00, %[t1], %[from], %[step]\n\t" /* cv.lb */
            ".insn s 0x2b, 0, %[t0], 1(%[to])\n\t.insn s 0x2b, 0, %[t1], 1(%[to])\n\t"                           /* cv.sb */
            EQ_XCV_END
            : [to] "+r"(to), [from] "+r"(from), [t0] "=&r"(t0), [t1] "=&r"(t1)
            : [n] "r"(count >> 1), [step] "r"(step)
            : "memory");
    }
    if (count & 1) {
        *to = *from;
    }
#else
    for (; count > 0; count--, from += step) {
        *to++ = *from;
    }
#endif
}

/* Copies `count` bytes from any address to any other; returns the end. */
static inline int8_t *eq_xcv_copy(int8_t *to, const int8_t *from, int32_t count)
{
#if EQ_XCV
    uint32_t t0, t1;
    if (count >= 8) {
        __asm__ volatile(
            EQ_XCV_LOOP("%[n]", "5")
            EQ_XCV_NEXT("%[t0]", "%[from]") EQ_XCV_NEXT("%[t1]", "%[from]")
            ".insn s 0x2b, 2, %[t0], 4(%[to])\n\t.insn s 0x2b, 2, %[t1], 4(%[to])\n\t"
            EQ_XCV_END
            : [to] "+r"(to), [from] "+r"(from), [t0] "=&r"(t0), [t1] "=&r"(t1)
            : [n] "r"(count >> 3)
            : "memory");
    }
    if (count & 4) {
        const uint32_t word = eq_xcv_load4(from);
        __builtin_memcpy(to, &word, 4);
        to += 4, from += 4;
    }
    count &= 3;
#endif
    for (; count > 0; count--) {
        *to++ = *from++;
    }
    return to;
}

/* `count` times `value`; returns the end. */
static inline int8_t *eq_xcv_fill(int8_t *to, int8_t value, int32_t count)
{
#if EQ_XCV
    const uint32_t word = (uint32_t)(uint8_t)value * 0x01010101u;
    for (; count >= 4; count -= 4, to += 4) {
        __builtin_memcpy(to, &word, 4);
    }
#endif
    for (; count > 0; count--) {
        *to++ = value;
    }
    return to;
}

/* y[i] = ((a[i] ma + b[i] mb + offset) >> shift) + zero, limited, for `count` elements; a step is 0 for an operand that stands still. */
static inline void eq_xcv_add_single(
    int8_t *y, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t count, int32_t ma, int32_t mb, int32_t offset, int32_t shift,
    int32_t zero, int32_t low, int32_t high)
{
#if EQ_XCV
    int32_t s, t;
    if (count > 0) {
        __asm__ volatile(
            EQ_XCV_LOOP("%[n]", "11")
            ".insn r 0x2b, 3, 0x00, %[s], %[a], %[a_step]\n\t.insn r 0x2b, 3, 0x00, %[t], %[b], %[b_step]\n\t" /* cv.lb */
            "mul %[s], %[s], %[ma]\n\t.insn r 0x2b, 3, 0x48, %[s], %[t], %[mb]\n\t"                            /* cv.mac */
            "add %[s], %[s], %[offset]\n\tsra %[s], %[s], %[shift]\n\tadd %[s], %[s], %[zero]\n\t"
            ".insn r 0x2b, 3, 0x2d, %[s], %[s], %[low]\n\t.insn r 0x2b, 3, 0x2b, %[s], %[s], %[high]\n\t"     /* cv.max, cv.min */
            ".insn s 0x2b, 0, %[s], 1(%[y])\n\t"                                                               /* cv.sb */
            EQ_XCV_END
            : [y] "+r"(y), [a] "+r"(a), [b] "+r"(b), [s] "=&r"(s), [t] "=&r"(t)
            : [n] "r"(count), [a_step] "r"(a_step), [b_step] "r"(b_step), [ma] "r"(ma), [mb] "r"(mb), [offset] "r"(offset), [shift] "r"(shift),
              [zero] "r"(zero), [low] "r"(low), [high] "r"(high)
            : "memory");
    }
#else
    for (; count > 0; count--, a += a_step, b += b_step) {
        *y++ = (int8_t)eq_xcv_limited(((*a * ma + offset + *b * mb) >> shift) + zero, low, high);
    }
#endif
}

#if EQ_XCV
/* cv.shuffle2.b low, high, choice; cv.pack and cv.pack.h: the low halves, or the high ones, of two words as one. */
#define EQ_XCV_SHUFFLE(low, high, choice) __asm__(".insn r 0x7b, 1, 0x70, %0, %1, %2" : "+r"(low) : "r"(high), "r"(choice))
#define EQ_XCV_PACK(to, high, low) __asm__(".insn r 0x7b, 0, 0x78, %0, %1, %2" : "=r"(to) : "r"(high), "r"(low))
#define EQ_XCV_PACK_HIGH(to, high, low) __asm__(".insn r 0x7b, 0, 0x79, %0, %1, %2" : "=r"(to) : "r"(high), "r"(low))
#endif

/* Columns of four words of bytes as words: to[i] has byte i of each of r[0] to r[3]. */
static inline void eq_xcv_turn(uint32_t to[4], const uint32_t r[4])
{
#if EQ_XCV
    uint32_t even = r[0], odd = r[0], even2 = r[2], odd2 = r[2];
    EQ_XCV_SHUFFLE(even, r[1], 0x06020400u);
    EQ_XCV_SHUFFLE(odd, r[1], 0x07030501u);
    EQ_XCV_SHUFFLE(even2, r[3], 0x06020400u);
    EQ_XCV_SHUFFLE(odd2, r[3], 0x07030501u);
    EQ_XCV_PACK(to[0], even2, even);
    EQ_XCV_PACK(to[1], odd2, odd);
    EQ_XCV_PACK_HIGH(to[2], even2, even);
    EQ_XCV_PACK_HIGH(to[3], odd2, odd);
#else
    for (int32_t i = 0; i < 4; i++) {
        to[i] = (r[0] >> 8 * i & 255u) | (r[1] >> 8 * i & 255u) << 8 | (r[2] >> 8 * i & 255u) << 16 | (r[3] >> 8 * i & 255u) << 24;
    }
#endif
}

#endif
