/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Products with weights of four bits, by the DSP extension; plain C where it is absent.
 *
 * A word of layout "nibbles" holds four weights of two channels: its bytes 0 and 2 are those of the first, 1 and 3 of the second, each
 * byte one weight in its high nibble, a, and one plus 8 in its low nibble, u = b + 8. With B = 16 * a + u, which is the byte, and inputs
 * x and y
 *
 *     B * x + u * (16 * y + 2048 - x) = 16 * (a * x + b * y) + 128 * y + 2048 * u
 *
 * so that two instructions unpack four weights. 128 * y is the same for all channels: `less` takes it away again, 2048 * u the bias. */
#ifndef EQ_SIMD_ARMV7EM_NIBBLES_H
#define EQ_SIMD_ARMV7EM_NIBBLES_H

#include "eq_simd_armv7em.h"
#include "eq_simd_armv7em_loops.h"

/* Expands `count` quads of inputs from any address into one of `columns`, 1 or 3, a literal: `to[0]`, `to[2 * columns]`, ... are the even
 * lanes x, `columns` words further is 16 * y + 2048 - x of the odd lanes y. To `less` goes the sum of -128 * y - 16384. Returns the end. */
static inline uint32_t *eq_armv7em_expand_nibbles(uint32_t *to, const int8_t *from, int32_t count, int32_t columns, int32_t *less)
{
    int32_t sum = *less;
#if EQ_DSP
#define EQ_ARMV7EM_EXPAND_NIBBLES(store) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "%[word]", \
            "ldr %[word], [%[from]], #4\n\t" \
            "sxtb16 %[even], %[word]\n\t" \
            "eor %[word], %[word], #0x80008000\n\t" \
            "and %[word], %[word], #0xff00ff00\n\t" \
            "lsr %[word], %[word], #4\n\t" \
            "smlad %[sum], %[word], %[eight], %[sum]\n\t" \
            "ssub16 %[word], %[word], %[even]\n\t" \
            store) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [sum] "+r"(sum), [word] "=&r"(word), [even] "=&r"(even) \
        : [eight] "r"(eight) \
        : "cc", "memory")
    const uint32_t eight = 0xfff8fff8u;
    uint32_t word, even;
    if (columns == 3) {
        EQ_ARMV7EM_EXPAND_NIBBLES("str %[word], [%[to], #12]\n\tstr %[even], [%[to]], #24\n\t");
    } else {
        EQ_ARMV7EM_EXPAND_NIBBLES("strd %[even], %[word], [%[to]], #8\n\t");
    }
#undef EQ_ARMV7EM_EXPAND_NIBBLES
#else
    for (; count > 0; count--, from += 4, to += 2 * columns) {
        const uint32_t word = eq_armv7em_load4(from), even = eq_armv7em_even(word), odd = ((word ^ 0x80008000u) & 0xff00ff00u) >> 4;
        sum = eq_armv7em_mac2(sum, odd, 0xfff8fff8u);
        to[0] = even;
        to[columns] = eq_armv7em_pair((int32_t)(odd & 0xffffu) - (int16_t)(even & 0xffffu), (int32_t)(odd >> 16) - (int16_t)(even >> 16));
    }
#endif
    *less = sum;
    return to;
}

/* The weights' side: B of the first channel and of the second, then their u. */
#if EQ_DSP
#define EQ_ARMV7EM_NIBBLES(word, spare, first, second, x, y) \
    "sxtb16 " spare ", " word "\n\t" x(first, spare) \
    "sxtb16 " spare ", " word ", ror #8\n\t" x(second, spare) \
    y \
    "and " spare ", " spare ", #0x000f000f\n\t" x(second, spare) \
    "and " word ", " word ", #0x000f000f\n\t" x(first, word)
#endif

/* Adds to a[2 * r + c] the products of column r of three with channel c of two, `count` quads of each, at least 1. Returns the end of
 * the weights. A call, for it takes every register: inside a large function GCC may have none left. */
static EQ_ARMV7EM_CALLED const uint32_t *eq_armv7em_nibble_tile(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count)
{
#if EQ_DSP
#define EQ_ARMV7EM_NIBBLE_MAC(channel, weights) \
    "smlad %[a0" channel "], r8, " weights ", %[a0" channel "]\n\t" \
    "smlad %[a1" channel "], r9, " weights ", %[a1" channel "]\n\t" \
    "smlad %[a2" channel "], r10, " weights ", %[a2" channel "]\n\t"
    int32_t a00 = a[0], a01 = a[1], a10 = a[2], a11 = a[3], a20 = a[4], a21 = a[5];
    const uint32_t *end = x + 6 * count; /* kept on the stack: all registers are in use */
    __asm__ volatile(
        "push {%[w1]}\n\t"
        EQ_ARMV7EM_ROUND("%[w0]", "r8",
            "ldm %[x]!, {r8, r9, r10}\n\t"
            "ldr %[w0], [%[w]], #4\n\t"
            EQ_ARMV7EM_NIBBLES("%[w0]", "%[w1]", "0", "1", EQ_ARMV7EM_NIBBLE_MAC, "ldm %[x]!, {r8, r9, r10}\n\t"))
        "ldr r8, [sp]\n\t"
        "cmp %[x], r8\n\t"
        "bne 1b\n\t"
        "pop {%[w1]}"
        : [a00] "+r"(a00), [a01] "+r"(a01), [a10] "+r"(a10), [a11] "+r"(a11), [a20] "+r"(a20), [a21] "+r"(a21),
          [x] "+r"(x), [w] "+r"(w), [w0] "+r"(count), [w1] "+r"(end)
        :
        : "r8", "r9", "r10", "cc", "memory");
    a[0] = a00, a[1] = a01, a[2] = a10, a[3] = a11, a[4] = a20, a[5] = a21;
#undef EQ_ARMV7EM_NIBBLE_MAC
#else
    for (; count > 0; count--, x += 6, w++) {
        for (int32_t i = 0; i < 6; i++) {
            const uint32_t both = i & 1 ? eq_armv7em_odd(*w) : eq_armv7em_even(*w);
            a[i] = eq_armv7em_mac2(eq_armv7em_mac2(a[i], x[i >> 1], both), x[3 + (i >> 1)], both & 0x000f000fu);
        }
    }
#endif
    return w;
}

/* Adds to a[c] the products of one column of `count` quads, at least 1, with channel c of four, in two words each. Returns the end of
 * the weights. */
static inline const uint32_t *eq_armv7em_nibble_row(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count)
{
#if EQ_DSP
#define EQ_ARMV7EM_NIBBLE_MAC(channel, weights) "smlad %[a" channel "], " weights ", %[x0], %[a" channel "]\n\t"
#define EQ_ARMV7EM_NIBBLE_LAST(channel, weights) "smlad %[a" channel "], " weights ", %[x1], %[a" channel "]\n\t"
#define EQ_ARMV7EM_NIBBLE_TWO(word, first, second) \
    "sxtb16 r10, " word "\n\t" EQ_ARMV7EM_NIBBLE_MAC(first, "r10") \
    "sxtb16 r10, " word ", ror #8\n\t" EQ_ARMV7EM_NIBBLE_MAC(second, "r10") \
    "and r10, r10, #0x000f000f\n\t" EQ_ARMV7EM_NIBBLE_LAST(second, "r10") \
    "and " word ", " word ", #0x000f000f\n\t" EQ_ARMV7EM_NIBBLE_LAST(first, word)
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    uint32_t x0, x1;
    __asm__ volatile(
        EQ_ARMV7EM_ROUND("%[count]", "r8",
            "ldrd %[x0], %[x1], [%[x]], #8\n\t"
            "ldrd r8, r9, [%[w]], #8\n\t"
            EQ_ARMV7EM_NIBBLE_TWO("r8", "0", "1") EQ_ARMV7EM_NIBBLE_TWO("r9", "2", "3"))
        "subs %[count], %[count], #4\n\t"
        "bgt 1b"
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), [x0] "=&r"(x0),
          [x1] "=&r"(x1)
        :
        : "r8", "r9", "r10", "cc", "memory");
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_ARMV7EM_NIBBLE_TWO
#undef EQ_ARMV7EM_NIBBLE_LAST
#undef EQ_ARMV7EM_NIBBLE_MAC
#else
    for (; count > 0; count--, x += 2, w += 2) {
        for (int32_t c = 0; c < 4; c++) {
            const uint32_t both = c & 1 ? eq_armv7em_odd(w[c >> 1]) : eq_armv7em_even(w[c >> 1]);
            a[c] = eq_armv7em_mac2(eq_armv7em_mac2(a[c], x[0], both), x[1], both & 0x000f000fu);
        }
    }
#endif
    return w;
}

#endif
