/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* XCV: products of rows of inputs with rows of weights; see eq_simd_xcv.h. */
#ifndef EQ_SIMD_XCV_PRODUCTS_H
#define EQ_SIMD_XCV_PRODUCTS_H

#include "eq_simd_xcv.h"

/* Products of `quads` words of inputs at a and at b with four rows of weights (layout quads(4)): a's are added to sums[0] to sums[3], b's to
 * sums[4] to sums[7]. Returns the end of the weights. Fourteen instructions for 32 products. */
static inline const uint32_t *eq_xcv_tile(int32_t sums[8], const int8_t *a, const int8_t *b, const uint32_t *w, int32_t quads)
{
#if EQ_XCV
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3], s4 = sums[4], s5 = sums[5], s6 = sums[6], s7 = sums[7];
    uint32_t x0, x1, w0, w1, w2, w3;
    __asm__ volatile(
        EQ_XCV_LOOP("%[n]", "15")
        EQ_XCV_NEXT("%[x0]", "%[a]") EQ_XCV_NEXT("%[x1]", "%[b]")
        EQ_XCV_NEXT("%[w0]", "%[w]") EQ_XCV_NEXT("%[w1]", "%[w]") EQ_XCV_NEXT("%[w2]", "%[w]") EQ_XCV_NEXT("%[w3]", "%[w]")
        EQ_XCV_DOT("%[s0]", "%[x0]", "%[w0]") EQ_XCV_DOT("%[s1]", "%[x0]", "%[w1]")
        EQ_XCV_DOT("%[s2]", "%[x0]", "%[w2]") EQ_XCV_DOT("%[s3]", "%[x0]", "%[w3]")
        EQ_XCV_DOT("%[s4]", "%[x1]", "%[w0]") EQ_XCV_DOT("%[s5]", "%[x1]", "%[w1]")
        EQ_XCV_DOT("%[s6]", "%[x1]", "%[w2]") EQ_XCV_DOT("%[s7]", "%[x1]", "%[w3]")
        EQ_XCV_END
        : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [s4] "+r"(s4), [s5] "+r"(s5), [s6] "+r"(s6), [s7] "+r"(s7),
          [a] "+r"(a), [b] "+r"(b), [w] "+r"(w),
          [x0] "=&r"(x0), [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2), [w3] "=&r"(w3)
        : [n] "r"(quads)
        : "memory");
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3, sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
#else
    for (; quads > 0; quads--, a += 4, b += 4, w += 4) {
        const uint32_t x0 = eq_xcv_load4(a), x1 = eq_xcv_load4(b);
        for (int32_t i = 0; i < 4; i++) {
            sums[i] = eq_xcv_dot4(sums[i], x0, w[i]);
            sums[i + 4] = eq_xcv_dot4(sums[i + 4], x1, w[i]);
        }
    }
#endif
    return w;
}

/* Products of `quads` words of inputs at x with four rows of weights (layout quads(4)), added to sums[0] to sums[3]; returns the weights' end. */
static inline const uint32_t *eq_xcv_rows4(int32_t sums[4], const int8_t *x, const uint32_t *w, int32_t quads)
{
#if EQ_XCV
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    uint32_t x0, w0, w1;
    __asm__ volatile(
        EQ_XCV_LOOP("%[n]", "10")
        EQ_XCV_NEXT("%[x0]", "%[x]")
        EQ_XCV_NEXT("%[w0]", "%[w]") EQ_XCV_NEXT("%[w1]", "%[w]") EQ_XCV_DOT("%[s0]", "%[x0]", "%[w0]") EQ_XCV_DOT("%[s1]", "%[x0]", "%[w1]")
        EQ_XCV_NEXT("%[w0]", "%[w]") EQ_XCV_NEXT("%[w1]", "%[w]") EQ_XCV_DOT("%[s2]", "%[x0]", "%[w0]") EQ_XCV_DOT("%[s3]", "%[x0]", "%[w1]")
        EQ_XCV_END
        : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [x] "+r"(x), [w] "+r"(w), [x0] "=&r"(x0), [w0] "=&r"(w0), [w1] "=&r"(w1)
        : [n] "r"(quads)
        : "memory");
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
#else
    for (; quads > 0; quads--, x += 4, w += 4) {
        for (int32_t i = 0; i < 4; i++) {
            sums[i] = eq_xcv_dot4(sums[i], eq_xcv_load4(x), w[i]);
        }
    }
#endif
    return w;
}

#if EQ_XCV
/* Sums of rows at 4 * i and 4 * i + 4 bytes: their weights loaded, and then multiplied. */
#define EQ_XCV_TWO(i, j)                                                                                                \
    EQ_XCV_NEXT("%[w0]", "%[w]") EQ_XCV_NEXT("%[w1]", "%[w]") EQ_XCV_DOT("%[s" i "]", "%[x0]", "%[w0]") EQ_XCV_DOT("%[s" j "]", "%[x0]", "%[w1]")
#define EQ_XCV_LOAD(i, at) "lw %[s" i "], " at "(%[x0])\n\t"
#define EQ_XCV_STORE(i, at) "sw %[s" i "], " at "(%[sums])\n\t"
#define EQ_XCV_SUM(i) [s##i] "=&r"(s##i)
#endif

/* sums[i] = start[i] + the products of `quads` words of inputs at x with row i of sixteen (layout quads(16)); returns the weights' end.
 * 33 instructions for 64 products. */
static inline const uint32_t *eq_xcv_rows16(int32_t sums[16], const int32_t start[16], const int8_t *x, const uint32_t *w, int32_t quads)
{
#if EQ_XCV
    int32_t s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15;
    uint32_t x0 = (uint32_t)(uintptr_t)start, w0, w1 = (uint32_t)quads; /* registers are few */
    __asm__ volatile(
        EQ_XCV_LOAD("0", "0") EQ_XCV_LOAD("1", "4") EQ_XCV_LOAD("2", "8") EQ_XCV_LOAD("3", "12")
        EQ_XCV_LOAD("4", "16") EQ_XCV_LOAD("5", "20") EQ_XCV_LOAD("6", "24") EQ_XCV_LOAD("7", "28")
        EQ_XCV_LOAD("8", "32") EQ_XCV_LOAD("9", "36") EQ_XCV_LOAD("10", "40") EQ_XCV_LOAD("11", "44")
        EQ_XCV_LOAD("12", "48") EQ_XCV_LOAD("13", "52") EQ_XCV_LOAD("14", "56") EQ_XCV_LOAD("15", "60")
        EQ_XCV_LOOP("%[w1]", "34")
        EQ_XCV_NEXT("%[x0]", "%[x]")
        EQ_XCV_TWO("0", "1") EQ_XCV_TWO("2", "3") EQ_XCV_TWO("4", "5") EQ_XCV_TWO("6", "7")
        EQ_XCV_TWO("8", "9") EQ_XCV_TWO("10", "11") EQ_XCV_TWO("12", "13") EQ_XCV_TWO("14", "15")
        EQ_XCV_END "\n\t"
        EQ_XCV_STORE("0", "0") EQ_XCV_STORE("1", "4") EQ_XCV_STORE("2", "8") EQ_XCV_STORE("3", "12")
        EQ_XCV_STORE("4", "16") EQ_XCV_STORE("5", "20") EQ_XCV_STORE("6", "24") EQ_XCV_STORE("7", "28")
        EQ_XCV_STORE("8", "32") EQ_XCV_STORE("9", "36") EQ_XCV_STORE("10", "40") EQ_XCV_STORE("11", "44")
        EQ_XCV_STORE("12", "48") EQ_XCV_STORE("13", "52") EQ_XCV_STORE("14", "56") EQ_XCV_STORE("15", "60")
        : EQ_XCV_SUM(0), EQ_XCV_SUM(1), EQ_XCV_SUM(2), EQ_XCV_SUM(3), EQ_XCV_SUM(4), EQ_XCV_SUM(5), EQ_XCV_SUM(6), EQ_XCV_SUM(7),
          EQ_XCV_SUM(8), EQ_XCV_SUM(9), EQ_XCV_SUM(10), EQ_XCV_SUM(11), EQ_XCV_SUM(12), EQ_XCV_SUM(13), EQ_XCV_SUM(14), EQ_XCV_SUM(15),
          [x] "+r"(x), [w] "+r"(w), [x0] "+&r"(x0), [w0] "=&r"(w0), [w1] "+&r"(w1)
        : [sums] "r"(sums)
        : "memory");
#else
    for (int32_t i = 0; i < 16; i++) {
        sums[i] = start[i];
    }
    for (; quads > 0; quads--, x += 4, w += 16) {
        for (int32_t i = 0; i < 16; i++) {
            sums[i] = eq_xcv_dot4(sums[i], eq_xcv_load4(x), w[i]);
        }
    }
#endif
    return w;
}

/* The same with eight rows (layout quads(8)). 17 instructions for 32 products. */
static inline const uint32_t *eq_xcv_rows8(int32_t sums[8], const int32_t start[8], const int8_t *x, const uint32_t *w, int32_t quads)
{
#if EQ_XCV
    int32_t s0, s1, s2, s3, s4, s5, s6, s7;
    uint32_t x0 = (uint32_t)(uintptr_t)start, w0, w1 = (uint32_t)quads; /* registers are few */
    __asm__ volatile(
        EQ_XCV_LOAD("0", "0") EQ_XCV_LOAD("1", "4") EQ_XCV_LOAD("2", "8") EQ_XCV_LOAD("3", "12")
        EQ_XCV_LOAD("4", "16") EQ_XCV_LOAD("5", "20") EQ_XCV_LOAD("6", "24") EQ_XCV_LOAD("7", "28")
        EQ_XCV_LOOP("%[w1]", "18")
        EQ_XCV_NEXT("%[x0]", "%[x]")
        EQ_XCV_TWO("0", "1") EQ_XCV_TWO("2", "3") EQ_XCV_TWO("4", "5") EQ_XCV_TWO("6", "7")
        EQ_XCV_END "\n\t"
        EQ_XCV_STORE("0", "0") EQ_XCV_STORE("1", "4") EQ_XCV_STORE("2", "8") EQ_XCV_STORE("3", "12")
        EQ_XCV_STORE("4", "16") EQ_XCV_STORE("5", "20") EQ_XCV_STORE("6", "24") EQ_XCV_STORE("7", "28")
        : EQ_XCV_SUM(0), EQ_XCV_SUM(1), EQ_XCV_SUM(2), EQ_XCV_SUM(3), EQ_XCV_SUM(4), EQ_XCV_SUM(5), EQ_XCV_SUM(6), EQ_XCV_SUM(7),
          [x] "+r"(x), [w] "+r"(w), [x0] "+&r"(x0), [w0] "=&r"(w0), [w1] "+&r"(w1)
        : [sums] "r"(sums)
        : "memory");
#else
    for (int32_t i = 0; i < 8; i++) {
        sums[i] = start[i];
    }
    for (; quads > 0; quads--, x += 4, w += 8) {
        for (int32_t i = 0; i < 8; i++) {
            sums[i] = eq_xcv_dot4(sums[i], eq_xcv_load4(x), w[i]);
        }
    }
#endif
    return w;
}

/* The same with twelve rows (layout quads(12)). 25 instructions for 48 products. */
static inline const uint32_t *eq_xcv_rows12(int32_t sums[12], const int32_t start[12], const int8_t *x, const uint32_t *w, int32_t quads)
{
#if EQ_XCV
    int32_t s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11;
    uint32_t x0 = (uint32_t)(uintptr_t)start, w0, w1 = (uint32_t)quads; /* registers are few */
    __asm__ volatile(
        EQ_XCV_LOAD("0", "0") EQ_XCV_LOAD("1", "4") EQ_XCV_LOAD("2", "8") EQ_XCV_LOAD("3", "12") EQ_XCV_LOAD("4", "16") EQ_XCV_LOAD("5", "20")
        EQ_XCV_LOAD("6", "24") EQ_XCV_LOAD("7", "28") EQ_XCV_LOAD("8", "32") EQ_XCV_LOAD("9", "36") EQ_XCV_LOAD("10", "40") EQ_XCV_LOAD("11", "44")
        EQ_XCV_LOOP("%[w1]", "26")
        EQ_XCV_NEXT("%[x0]", "%[x]")
        EQ_XCV_TWO("0", "1") EQ_XCV_TWO("2", "3") EQ_XCV_TWO("4", "5") EQ_XCV_TWO("6", "7") EQ_XCV_TWO("8", "9") EQ_XCV_TWO("10", "11")
        EQ_XCV_END "\n\t"
        EQ_XCV_STORE("0", "0") EQ_XCV_STORE("1", "4") EQ_XCV_STORE("2", "8") EQ_XCV_STORE("3", "12") EQ_XCV_STORE("4", "16") EQ_XCV_STORE("5", "20")
        EQ_XCV_STORE("6", "24") EQ_XCV_STORE("7", "28") EQ_XCV_STORE("8", "32") EQ_XCV_STORE("9", "36") EQ_XCV_STORE("10", "40") EQ_XCV_STORE("11", "44")
        : EQ_XCV_SUM(0), EQ_XCV_SUM(1), EQ_XCV_SUM(2), EQ_XCV_SUM(3), EQ_XCV_SUM(4), EQ_XCV_SUM(5), EQ_XCV_SUM(6), EQ_XCV_SUM(7),
          EQ_XCV_SUM(8), EQ_XCV_SUM(9), EQ_XCV_SUM(10), EQ_XCV_SUM(11), [x] "+r"(x), [w] "+r"(w), [x0] "+&r"(x0), [w0] "=&r"(w0), [w1] "+&r"(w1)
        : [sums] "r"(sums)
        : "memory");
#else
    for (int32_t i = 0; i < 12; i++) {
        sums[i] = start[i];
    }
    for (; quads > 0; quads--, x += 4, w += 12) {
        for (int32_t i = 0; i < 12; i++) {
            sums[i] = eq_xcv_dot4(sums[i], eq_xcv_load4(x), w[i]);
        }
    }
#endif
    return w;
}

#if EQ_XCV
/* Rounding "single" of `count` sums by a hardware loop of so many instructions; `more` comes before the product. */
#define EQ_XCV_RESCALE16(instructions, more)                                                                                    \
    EQ_XCV_LOOP("%[count]", instructions)                                                                                       \
    "lw %[s], 0(%[sums])\n\t" EQ_XCV_NEXT("%[m]", "%[multiplier]") ".insn i 0x0b, 0, %[n], 1(%[shift])\n\t" /* cv.lb n, (shift), 1 */ \
    more "mulh %[s], %[s], %[m]\n\t"                                                                                            \
    ".insn r 0x2b, 3, 0x42, %[s], x0, %[n]\n\t"                                                                                 \
    ".insn r 0x2b, 3, 0x38, %[s], %[s], x16\n\t"                                                                                \
    ".insn s 0x2b, 2, %[s], 4(%[sums])\n\t" EQ_XCV_END
#endif

/* `count` sums times 2^left, at least one, by rounding "single", limited to int16; each with its multiplier and shift. Twelve cycles a sum. */
static inline void eq_xcv_rescale16_left(int32_t *sums, const int32_t *multiplier, const int8_t *shift, int32_t count, int32_t left)
{
#if EQ_XCV
    int32_t s, m, n;
    __asm__ volatile(EQ_XCV_RESCALE16("9", "sll %[s], %[s], %[left]\n\t")
                     : [sums] "+r"(sums), [multiplier] "+r"(multiplier), [shift] "+r"(shift), [s] "=&r"(s), [m] "=&r"(m), [n] "=&r"(n)
                     : [count] "r"(count), [left] "r"(left)
                     : "memory");
#else
    for (int32_t i = 0; i < count; i++) {
        const int32_t y = eq_xcv_rescale_single((int32_t)((uint32_t)sums[i] << left), multiplier[i], shift[i]);
        sums[i] = y < -32768 ? -32768 : y > 32767 ? 32767 : y;
    }
#endif
}

/* The same where left is 0: eleven cycles a sum. */
static inline void eq_xcv_rescale16(int32_t *sums, const int32_t *multiplier, const int8_t *shift, int32_t count)
{
#if EQ_XCV
    int32_t s, m, n;
    __asm__ volatile(EQ_XCV_RESCALE16("8", "")
                     : [sums] "+r"(sums), [multiplier] "+r"(multiplier), [shift] "+r"(shift), [s] "=&r"(s), [m] "=&r"(m), [n] "=&r"(n)
                     : [count] "r"(count)
                     : "memory");
#else
    eq_xcv_rescale16_left(sums, multiplier, shift, count, 0);
#endif
}

#if EQ_XCV
/* The products of one pixel's word with four rows, whose sums are s<a> to s<d>. */
#define EQ_XCV_FOUR(x, a, b, c, d)                                                                       \
    EQ_XCV_DOT("%[s" a "]", x, "%[w0]") EQ_XCV_DOT("%[s" b "]", x, "%[w1]")                               \
    EQ_XCV_DOT("%[s" c "]", x, "%[w2]") EQ_XCV_DOT("%[s" d "]", x, "%[w3]")
#define EQ_XCV_BEGIN(a, b, c, d, at) EQ_XCV_LOAD(a, at) "mv %[s" b "], %[s" a "]\n\tmv %[s" c "], %[s" a "]\n\tmv %[s" d "], %[s" a "]\n\t"
#endif

/* sums[4 * j + i] = start[i] + the products of `quads` words of pixel j of four, a word of each in turn at x, with row i of four (layout
 * quads(4)); returns the weights' end. 24 instructions for 64 products. */
static inline const uint32_t *eq_xcv_tile4(int32_t sums[16], const int32_t start[4], const uint32_t *x, const uint32_t *w, int32_t quads)
{
#if EQ_XCV
    int32_t s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15;
    uint32_t x0 = (uint32_t)(uintptr_t)start, x1, w0, w1, w2, w3 = (uint32_t)quads; /* registers are few */
    __asm__ volatile(
        EQ_XCV_BEGIN("0", "4", "8", "12", "0") EQ_XCV_BEGIN("1", "5", "9", "13", "4")
        EQ_XCV_BEGIN("2", "6", "10", "14", "8") EQ_XCV_BEGIN("3", "7", "11", "15", "12")
        EQ_XCV_LOOP("%[w3]", "25")
        EQ_XCV_NEXT("%[w0]", "%[w]") EQ_XCV_NEXT("%[w1]", "%[w]") EQ_XCV_NEXT("%[w2]", "%[w]") EQ_XCV_NEXT("%[w3]", "%[w]")
        EQ_XCV_NEXT("%[x0]", "%[x]") EQ_XCV_NEXT("%[x1]", "%[x]")
        EQ_XCV_FOUR("%[x0]", "0", "1", "2", "3") EQ_XCV_NEXT("%[x0]", "%[x]") EQ_XCV_FOUR("%[x1]", "4", "5", "6", "7") EQ_XCV_NEXT("%[x1]", "%[x]")
        EQ_XCV_FOUR("%[x0]", "8", "9", "10", "11") EQ_XCV_FOUR("%[x1]", "12", "13", "14", "15")
        EQ_XCV_END "\n\t"
        EQ_XCV_STORE("0", "0") EQ_XCV_STORE("1", "4") EQ_XCV_STORE("2", "8") EQ_XCV_STORE("3", "12")
        EQ_XCV_STORE("4", "16") EQ_XCV_STORE("5", "20") EQ_XCV_STORE("6", "24") EQ_XCV_STORE("7", "28")
        EQ_XCV_STORE("8", "32") EQ_XCV_STORE("9", "36") EQ_XCV_STORE("10", "40") EQ_XCV_STORE("11", "44")
        EQ_XCV_STORE("12", "48") EQ_XCV_STORE("13", "52") EQ_XCV_STORE("14", "56") EQ_XCV_STORE("15", "60")
        : EQ_XCV_SUM(0), EQ_XCV_SUM(1), EQ_XCV_SUM(2), EQ_XCV_SUM(3), EQ_XCV_SUM(4), EQ_XCV_SUM(5), EQ_XCV_SUM(6), EQ_XCV_SUM(7),
          EQ_XCV_SUM(8), EQ_XCV_SUM(9), EQ_XCV_SUM(10), EQ_XCV_SUM(11), EQ_XCV_SUM(12), EQ_XCV_SUM(13), EQ_XCV_SUM(14), EQ_XCV_SUM(15),
          [x] "+r"(x), [w] "+r"(w), [x0] "+&r"(x0), [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2), [w3] "+&r"(w3)
        : [sums] "r"(sums)
        : "memory");
#else
    for (int32_t i = 0; i < 16; i++) {
        sums[i] = start[i & 3];
    }
    for (; quads > 0; quads--, x += 4, w += 4) {
        for (int32_t i = 0; i < 16; i++) {
            sums[i] = eq_xcv_dot4(sums[i], x[i >> 2], w[i & 3]);
        }
    }
#endif
    return w;
}

/* Copies `count` words from any address to every fourth word; returns the end. */
static inline uint32_t *eq_xcv_spread(uint32_t *to, const int8_t *from, int32_t count)
{
    if (count >= 2) {
#if EQ_XCV
        uint32_t a, b;
        __asm__ volatile(
            EQ_XCV_LOOP("%[n]", "5")
            EQ_XCV_NEXT("%[a]", "%[from]") EQ_XCV_NEXT("%[b]", "%[from]")
            ".insn s 0x2b, 2, %[a], 16(%[to])\n\t.insn s 0x2b, 2, %[b], 16(%[to])\n\t" /* cv.sw a, (to), 16 */
            EQ_XCV_END
            : [from] "+r"(from), [to] "+r"(to), [a] "=&r"(a), [b] "=&r"(b)
            : [n] "r"(count / 2)
            : "memory");
#else
        for (int32_t i = count / 2; i > 0; i--, from += 8, to += 8) {
            to[0] = eq_xcv_load4(from);
            to[4] = eq_xcv_load4(from + 4);
        }
#endif
    }
    if (count & 1) {
        *to = eq_xcv_load4(from);
        to += 4;
    }
    return to;
}

/* Stores `count` times `word` to every fourth word; returns the end. */
static inline uint32_t *eq_xcv_spread_one(uint32_t *to, uint32_t word, int32_t count)
{
    for (; count > 0; count--, to += 4) {
        *to = word;
    }
    return to;
}

/* The sums of `count` int8 at a and at b times `factor`; as many words as hold them are read. */
static inline void eq_xcv_totals(int32_t to[2], const int8_t *a, const int8_t *b, int32_t count, int32_t factor)
{
    int32_t s0 = 0, s1 = 0;
    if (count >= 4) {
#if EQ_XCV
        uint32_t x0, x1;
        __asm__ volatile(
            EQ_XCV_LOOP("%[n]", "5")
            EQ_XCV_NEXT("%[x0]", "%[a]") EQ_XCV_NEXT("%[x1]", "%[b]") EQ_XCV_DOT("%[s0]", "%[x0]", "%[ones]") EQ_XCV_DOT("%[s1]", "%[x1]", "%[ones]")
            EQ_XCV_END
            : [s0] "+r"(s0), [s1] "+r"(s1), [a] "+r"(a), [b] "+r"(b), [x0] "=&r"(x0), [x1] "=&r"(x1)
            : [n] "r"(count / 4), [ones] "r"(0x01010101u)
            : "memory");
#else
        for (int32_t quads = count / 4; quads > 0; quads--, a += 4, b += 4) {
            s0 = eq_xcv_dot4(s0, eq_xcv_load4(a), 0x01010101u);
            s1 = eq_xcv_dot4(s1, eq_xcv_load4(b), 0x01010101u);
        }
#endif
    }
    if (count % 4 != 0) {
        const uint32_t ones = 0x00010101u >> 8 * (3 - count % 4);
        s0 = eq_xcv_dot4(s0, eq_xcv_load4(a), ones);
        s1 = eq_xcv_dot4(s1, eq_xcv_load4(b), ones);
    }
    to[0] = factor * s0;
    to[1] = factor * s1;
}

#endif
