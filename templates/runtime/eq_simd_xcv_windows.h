/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* XCV: windows of depthwise layers, from a ring of lines, and sums of columns; see eq_simd_xcv.h. */
#ifndef EQ_SIMD_XCV_WINDOWS_H
#define EQ_SIMD_XCV_WINDOWS_H

#include "eq_simd_xcv.h"

/* Takes a further line of inputs, `count` positions of four channels that lie `step` bytes apart, into a ring of lines: per position four words,
 * a channel's each, whose bytes are the channel's inputs on the last four lines, the newest on top. */
static inline void eq_xcv_push(uint32_t *ring, const int8_t *from, int32_t step, int32_t count)
{
#if EQ_XCV
    uint32_t x, w0, w1, w2, w3;
    if (count > 0) {
        __asm__ volatile(
            EQ_XCV_LOOP("%[n]", "14")
            ".insn r 0x2b, 3, 0x02, %[x], %[from], %[step]\n\t" /* cv.lw x, (from), step */
            "lw %[w0], 0(%[ring])\n\tlw %[w1], 4(%[ring])\n\tlw %[w2], 8(%[ring])\n\tlw %[w3], 12(%[ring])\n\t"
            ".insn r 0x7b, 1, 0x70, %[w0], %[x], %[m0]\n\t.insn r 0x7b, 1, 0x70, %[w1], %[x], %[m1]\n\t" /* cv.shuffle2.b */
            ".insn r 0x7b, 1, 0x70, %[w2], %[x], %[m2]\n\t.insn r 0x7b, 1, 0x70, %[w3], %[x], %[m3]\n\t"
            ".insn s 0x2b, 2, %[w0], 4(%[ring])\n\t.insn s 0x2b, 2, %[w1], 4(%[ring])\n\t" /* cv.sw w, (ring), 4 */
            ".insn s 0x2b, 2, %[w2], 4(%[ring])\n\t.insn s 0x2b, 2, %[w3], 4(%[ring])\n\t"
            EQ_XCV_END
            : [ring] "+r"(ring), [from] "+r"(from), [x] "=&r"(x), [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2), [w3] "=&r"(w3)
            : [n] "r"(count), [step] "r"(step), [m0] "r"(0x04030201u), [m1] "r"(0x05030201u), [m2] "r"(0x06030201u), [m3] "r"(0x07030201u)
            : "memory");
    }
#else
    for (; count > 0; count--, from += step, ring += 4) {
        for (int32_t c = 0; c < 4; c++) {
            ring[c] = ring[c] >> 8 | (uint32_t)(uint8_t)from[c] << 24;
        }
    }
#endif
}

#if EQ_XCV
/* A line of outputs, of windows that are three positions wide: `requant` makes an output of the sum in %[s] and the registers below, `limit` limits it. */
#define EQ_XCV_LINE3(end, requant, limit)                                                                               \
    __asm__ volatile(                                                                                                   \
        EQ_XCV_LOOP("%[n]", end)                                                                                        \
        "lw %[x1], 16(%[ring])\n\tlw %[x2], 32(%[ring])\n\t.insn r 0x2b, 3, 0x02, %[x0], %[ring], %[step]\n\tmv %[s], %[bias]\n\t" \
        EQ_XCV_DOT("%[s]", "%[x1]", "%[w1]") EQ_XCV_DOT("%[s]", "%[x2]", "%[w2]") EQ_XCV_DOT("%[s]", "%[x0]", "%[w0]")  \
        requant limit ".insn r 0x2b, 3, 0x10, %[across], %[y], %[s]\n\t" /* cv.sb s, (y), across */                     \
        EQ_XCV_END                                                                                                      \
        : [ring] "+r"(ring), [y] "+r"(y), [s] "=&r"(s), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2)                  \
        : [n] "r"(count), [step] "r"(step), [across] "r"(across), [w0] "r"(w[0]), [w1] "r"(w[1]), [w2] "r"(w[2]), [bias] "r"(bias), \
          [m] "r"(multiplier), [shift] "r"(shift), [round] "r"(rounding), [low] "r"(low), [high] "r"(high), [two] "r"(2) \
        : "memory")
#define EQ_XCV_ROUND ".insn r 0x2b, 3, 0x42, %[s], %[round], %[shift]\n\t" /* cv.addrnr */
#define EQ_XCV_SINGLE "mulh %[s], %[s], %[m]\n\t" EQ_XCV_ROUND
#define EQ_XCV_TFLM "slli %[s], %[s], 2\n\tmulh %[s], %[s], %[m]\n\tslt %[x0], %[s], x0\n\t.insn r 0x2b, 3, 0x49, %[s], %[x0], %[two]\n\t" EQ_XCV_ROUND
#define EQ_XCV_CLIP ".insn r 0x2b, 3, 0x38, %[s], %[s], x8\n\t"
#define EQ_XCV_LIMIT ".insn r 0x2b, 3, 0x2d, %[s], %[s], %[low]\n\t.insn r 0x2b, 3, 0x2b, %[s], %[s], %[high]\n\t"
#endif

/* `count` outputs of a channel of a depthwise layer, `across` bytes apart from y on: each of three words of the ring, four words apart, and of the next
 * `step` bytes further on. Rounding "tflm" or "single"; limits as eq_rescale_tflm's. */
static inline void eq_xcv_line3(
    int8_t *y, int32_t across, const uint32_t *ring, int32_t step, int32_t count, const uint32_t w[3], int32_t bias, int32_t multiplier, int32_t shift,
    int32_t offset, int32_t low, int32_t high, int32_t tflm)
{
#if EQ_XCV
    int32_t s;
    uint32_t x0, x1, x2;
    const int32_t rounding = tflm ? (int32_t)((uint32_t)offset << (shift + 1)) + 1 : (int32_t)((uint32_t)offset << shift);
    shift += tflm;
    if (tflm && low == -128 && high == 127) {
        EQ_XCV_LINE3("15", EQ_XCV_TFLM, EQ_XCV_CLIP);
    } else if (tflm) {
        EQ_XCV_LINE3("16", EQ_XCV_TFLM, EQ_XCV_LIMIT);
    } else if (low == -128 && high == 127) {
        EQ_XCV_LINE3("12", EQ_XCV_SINGLE, EQ_XCV_CLIP);
    } else {
        EQ_XCV_LINE3("13", EQ_XCV_SINGLE, EQ_XCV_LIMIT);
    }
#else
    for (; count > 0; count--, ring += step / 4, y += across) {
        const int32_t sum = eq_xcv_dot4(eq_xcv_dot4(eq_xcv_dot4(bias, ring[0], w[0]), ring[4], w[1]), ring[8], w[2]);
        const int32_t scaled = tflm ? eq_xcv_rescale_tflm(sum, multiplier, shift) : eq_xcv_rescale_single(sum, multiplier, shift);
        *y = (int8_t)eq_xcv_limited(scaled + offset, low, high);
    }
#endif
}

/* Adds to sums[i] byte i of each of `count` words, at least one, that lie `step` bytes apart: dot products with ones. */
static inline void eq_xcv_columns(int32_t sums[4], const int8_t *from, int32_t step, int32_t count)
{
#if EQ_XCV
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    uint32_t x;
    __asm__ volatile(
        EQ_XCV_LOOP("%[n]", "6")
        ".insn r 0x2b, 3, 0x02, %[x], %[from], %[step]\n\t" /* cv.lw x, (from), step */
        EQ_XCV_DOT("%[s0]", "%[x]", "%[e0]") EQ_XCV_DOT("%[s1]", "%[x]", "%[e1]")
        EQ_XCV_DOT("%[s2]", "%[x]", "%[e2]") EQ_XCV_DOT("%[s3]", "%[x]", "%[e3]")
        EQ_XCV_END
        : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [from] "+r"(from), [x] "=&r"(x)
        : [n] "r"(count), [step] "r"(step), [e0] "r"(1), [e1] "r"(1 << 8), [e2] "r"(1 << 16), [e3] "r"(1 << 24)
        : "memory");
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
#else
    for (; count > 0; count--, from += step) {
        for (int32_t i = 0; i < 4; i++) {
            sums[i] += from[i];
        }
    }
#endif
}

#if EQ_XCV
/* Four words of four bytes, x0 to x3, as those of their first, second, third and last bytes: in t0, x0, x2 and t1. */
#define EQ_XCV_TURN                                                                                                     \
    "mv %[t1], %[x0]\n\t.insn r 0x7b, 1, 0x70, %[x0], %[x1], %[m0]\n\t.insn r 0x7b, 1, 0x70, %[t1], %[x1], %[m1]\n\t"   \
    "mv %[t2], %[x2]\n\t.insn r 0x7b, 1, 0x70, %[x2], %[x3], %[m0]\n\t.insn r 0x7b, 1, 0x70, %[t2], %[x3], %[m1]\n\t"   \
    ".insn r 0x7b, 0, 0x78, %[t0], %[x2], %[x0]\n\t.insn r 0x7b, 0, 0x79, %[x0], %[x2], %[x0]\n\t" /* cv.pack, cv.pack.h */ \
    ".insn r 0x7b, 0, 0x78, %[x2], %[t2], %[t1]\n\t.insn r 0x7b, 0, 0x79, %[t1], %[t2], %[t1]\n\t"
#define EQ_XCV_TAPS                                                                                                     \
    EQ_XCV_TURN EQ_XCV_NEXT("%[w0]", "%[w]") EQ_XCV_NEXT("%[w1]", "%[w]") EQ_XCV_DOT("%[s0]", "%[t0]", "%[w0]")         \
    EQ_XCV_DOT("%[s1]", "%[x0]", "%[w1]") EQ_XCV_NEXT("%[w0]", "%[w]") EQ_XCV_NEXT("%[w1]", "%[w]")                     \
    EQ_XCV_DOT("%[s2]", "%[x2]", "%[w0]") EQ_XCV_DOT("%[s3]", "%[t1]", "%[w1]")
#define EQ_XCV_TAPS_OUT                                                                                                 \
    [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [w] "+r"(w), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), \
    [w0] "=&r"(w0), [w1] "=&r"(w1)
#endif

/* Adds to the sums of four channels the products of `taps` words of inputs, a channel's each byte, `step` bytes apart from `from` on, with weights
 * of layout tap_words; returns the weights' end. 22 instructions for four taps. */
static inline const uint32_t *eq_xcv_taps(int32_t sums[4], const int8_t *from, int32_t step, const uint32_t *w, int32_t taps)
{
#if EQ_XCV
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    uint32_t x0, x1, x2, x3, t0, t1, t2, w0, w1;
    if (taps >= 4) {
        __asm__ volatile(
            EQ_XCV_LOOP("%[n]", "23")
            ".insn r 0x2b, 3, 0x02, %[x0], %[from], %[step]\n\t.insn r 0x2b, 3, 0x02, %[x1], %[from], %[step]\n\t" /* cv.lw x, (from), step */
            ".insn r 0x2b, 3, 0x02, %[x2], %[from], %[step]\n\t.insn r 0x2b, 3, 0x02, %[x3], %[from], %[step]\n\t"
            EQ_XCV_TAPS EQ_XCV_END
            : EQ_XCV_TAPS_OUT, [from] "+r"(from), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [x3] "=&r"(x3)
            : [n] "r"(taps / 4), [step] "r"(step), [m0] "r"(0x05010400u), [m1] "r"(0x07030602u)
            : "memory");
    }
    if (taps & 3) {
        x0 = eq_xcv_load4(from);
        x1 = (taps & 3) > 1 ? eq_xcv_load4(from + step) : 0;
        x2 = (taps & 3) > 2 ? eq_xcv_load4(from + 2 * step) : 0;
        x3 = 0;
        __asm__ volatile(
            EQ_XCV_TAPS
            : EQ_XCV_TAPS_OUT, [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3)
            : [m0] "r"(0x05010400u), [m1] "r"(0x07030602u)
            : "memory");
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    return w;
#else
    for (int32_t k = 0; k < taps; k++, from += step) {
        for (int32_t c = 0; c < 4; c++) {
            sums[c] += from[c] * (int8_t)(w[4 * (k / 4) + c] >> 8 * (k % 4) & 255u);
        }
    }
    return w + (taps + 3) / 4 * 4;
#endif
}

#endif
