/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* XCV, the CORE-V extensions of CV32E40P and of the clusters it comes from: four products of int8 at once, post-increment loads, hardware
 * loops; plain C where they are absent.
 *
 * Instructions are encoded by .insn, so that assemblers need not know them. Words of four int8 are little-endian: the first in the low byte. */
#ifndef EQ_SIMD_XCV_H
#define EQ_SIMD_XCV_H

#include <stdint.h>

#if defined(__riscv) && (defined(__riscv_xcvsimd) || defined(EQ_HAS_XCV))
#define EQ_XCV 1
#else
#define EQ_XCV 0
#endif

/* A hardware loop of `count` rounds, at least one, over the `body` instructions that follow; none of them a jump. */
#define EQ_XCV_LOOP(count, end) ".balign 4\n\t.option push\n\t.option norvc\n\t.insn i 0x2b, 4, x14, " count ", " end "\n\t"
#define EQ_XCV_END ".option pop"
/* cv.lw rd, (from), 4 and cv.sdotsp.b sum, a, b. */
#define EQ_XCV_NEXT(rd, from) ".insn i 0x0b, 2, " rd ", 4(" from ")\n\t"
#define EQ_XCV_DOT(sum, a, b) ".insn r 0x7b, 1, 0x54, " sum ", " a ", " b "\n\t"

/* Four int8 from any address. */
static inline uint32_t eq_xcv_load4(const int8_t *from)
{
#if EQ_XCV
    uint32_t word;
    __builtin_memcpy(&word, from, 4);
    return word;
#else
    const uint32_t low = (uint32_t)(uint8_t)from[0] | (uint32_t)(uint8_t)from[1] << 8;
    return low | (uint32_t)(uint8_t)from[2] << 16 | (uint32_t)(uint8_t)from[3] << 24;
#endif
}

/* sum + the products of four int8 with four others, modulo 2^32. */
static inline int32_t eq_xcv_dot4(int32_t sum, uint32_t a, uint32_t b)
{
#if EQ_XCV
    __asm__(EQ_XCV_DOT("%0", "%1", "%2") : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    for (int32_t i = 0; i < 32; i += 8) {
        sum = (int32_t)((uint32_t)sum + (uint32_t)((int8_t)(a >> i & 255u) * (int8_t)(b >> i & 255u)));
    }
    return sum;
#endif
}

/* (x + y + 2^(n - 1)) >> n, 1 <= n <= 31; the sum must fit. */
static inline int32_t eq_xcv_add_rounded(int32_t x, int32_t y, int32_t n)
{
#if EQ_XCV
    __asm__(".insn r 0x2b, 3, 0x42, %0, %1, %2" : "+r"(x) : "r"(y), "r"(n));
    return x;
#else
    return (x + y + (int32_t)(1u << (n - 1))) >> n;
#endif
}

/* x limited to int8. */
static inline int32_t eq_xcv_saturated(int32_t x)
{
#if EQ_XCV
    int32_t y;
    __asm__(".insn r 0x2b, 3, 0x38, %0, %1, x8" : "=r"(y) : "r"(x));
    return y;
#else
    return x < -128 ? -128 : x > 127 ? 127 : x;
#endif
}

/* x limited to [low, high]. */
static inline int32_t eq_xcv_limited(int32_t x, int32_t low, int32_t high)
{
#if EQ_XCV
    __asm__(".insn r 0x2b, 3, 0x2d, %0, %0, %1\n\t.insn r 0x2b, 3, 0x2b, %0, %0, %2" : "+r"(x) : "r"(low), "r"(high));
    return x;
#else
    return x < low ? low : x > high ? high : x;
#endif
}

/* sum + a b, modulo 2^32. */
static inline int32_t eq_xcv_mac(int32_t sum, int32_t a, int32_t b)
{
#if EQ_XCV
    __asm__(".insn r 0x2b, 3, 0x48, %0, %1, %2" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return (int32_t)((uint32_t)sum + (uint32_t)a * (uint32_t)b);
#endif
}

/* eq_requantize_tflm_fine. */
static inline int32_t eq_xcv_rescale_fine(int32_t x, int32_t high, int32_t low, int32_t n)
{
    const int32_t scaled = eq_xcv_mac(eq_xcv_add_rounded(x * low, 0, 11), x, high);
    return eq_xcv_add_rounded(scaled, scaled >> 31, n);
}

/* Rounding "single" of x, before the offset. */
static inline int32_t eq_xcv_rescale_single(int32_t x, int32_t m, int32_t n)
{
    return eq_xcv_add_rounded((int32_t)(((int64_t)x * m) >> 32), 0, n);
}

/* Rounding "tflm" of x, before the offset; limits as eq_rescale_tflm's: halves of negative numbers are rounded down by one unit less. */
static inline int32_t eq_xcv_rescale_tflm(int32_t x, int32_t m, int32_t n)
{
    const int32_t twice = (int32_t)(((int64_t)(x * 4) * m) >> 32);
#if EQ_XCV
    int32_t sign;
    __asm__("srai %0, %1, 31\n\tori %0, %0, 1" : "=r"(sign) : "r"(twice)); /* compilers would branch */
#else
    const int32_t sign = twice < 0 ? -1 : 1;
#endif
    return eq_xcv_add_rounded(twice, sign, n + 1);
}

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
#define EQ_XCV_LOAD(i, at) "lw %[s" i "], " at "(%[start])\n\t"
#define EQ_XCV_STORE(i, at) "sw %[s" i "], " at "(%[sums])\n\t"
#define EQ_XCV_SUM(i) [s##i] "=&r"(s##i)
#endif

/* sums[i] = start[i] + the products of `quads` words of inputs at x with row i of sixteen (layout quads(16)); returns the weights' end.
 * 33 instructions for 64 products. */
static inline const uint32_t *eq_xcv_rows16(int32_t sums[16], const int32_t start[16], const int8_t *x, const uint32_t *w, int32_t quads)
{
#if EQ_XCV
    int32_t s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15;
    uint32_t x0, w0, w1;
    __asm__ volatile(
        EQ_XCV_LOAD("0", "0") EQ_XCV_LOAD("1", "4") EQ_XCV_LOAD("2", "8") EQ_XCV_LOAD("3", "12")
        EQ_XCV_LOAD("4", "16") EQ_XCV_LOAD("5", "20") EQ_XCV_LOAD("6", "24") EQ_XCV_LOAD("7", "28")
        EQ_XCV_LOAD("8", "32") EQ_XCV_LOAD("9", "36") EQ_XCV_LOAD("10", "40") EQ_XCV_LOAD("11", "44")
        EQ_XCV_LOAD("12", "48") EQ_XCV_LOAD("13", "52") EQ_XCV_LOAD("14", "56") EQ_XCV_LOAD("15", "60")
        EQ_XCV_LOOP("%[n]", "34")
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
          [x] "+r"(x), [w] "+r"(w), [x0] "=&r"(x0), [w0] "=&r"(w0), [w1] "=&r"(w1)
        : [n] "r"(quads), [sums] "r"(sums), [start] "r"(start)
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

/* The larger of each of four int8, and the smaller. */
static inline uint32_t eq_xcv_max4(uint32_t a, uint32_t b)
{
#if EQ_XCV
    __asm__(".insn r 0x7b, 1, 0x18, %0, %0, %1" : "+r"(a) : "r"(b)); /* cv.max.b */
    return a;
#else
    uint32_t most = 0;
    for (int32_t i = 0; i < 32; i += 8) {
        most |= ((int8_t)(a >> i & 255u) > (int8_t)(b >> i & 255u) ? a : b) & 255u << i;
    }
    return most;
#endif
}

static inline uint32_t eq_xcv_min4(uint32_t a, uint32_t b)
{
#if EQ_XCV
    __asm__(".insn r 0x7b, 1, 0x10, %0, %0, %1" : "+r"(a) : "r"(b)); /* cv.min.b */
    return a;
#else
    return ~eq_xcv_max4(~a, ~b);
#endif
}

/* Four int8 to any address. */
static inline void eq_xcv_store4(int8_t *to, uint32_t word)
{
#if EQ_XCV
    __builtin_memcpy(to, &word, 4);
#else
    for (int32_t i = 0; i < 4; i++, word >>= 8) {
        to[i] = (int8_t)(word & 255u);
    }
#endif
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

/* The sum of 4 * `quads` int8. */
static inline int32_t eq_xcv_total(const int8_t *from, int32_t quads)
{
    int32_t sum = 0;
    for (; quads > 0; quads--, from += 4) {
        sum = eq_xcv_dot4(sum, eq_xcv_load4(from), 0x01010101u);
    }
    return sum;
}

/* The first `count` of four int8, at least one, as a word filled up with zeros. */
static inline uint32_t eq_xcv_load_some(const int8_t *from, int32_t count)
{
    if (count >= 4) {
        return eq_xcv_load4(from);
    }
    uint32_t word = 0;
    for (int32_t i = 0; i < count; i++) {
        word |= (uint32_t)(uint8_t)from[i] << 8 * i;
    }
    return word;
}

#endif
