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

/* Four int8 from any address: compilers would load them one by one. */
static inline uint32_t eq_xcv_load4(const int8_t *from)
{
#if EQ_XCV
    uint32_t word;
    __asm__("lw %0, %1" : "=r"(word) : "m"(*(const int8_t(*)[4])from));
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
    __asm__("sw %1, %0" : "=m"(*(int8_t(*)[4])to) : "r"(word));
#else
    for (int32_t i = 0; i < 4; i++, word >>= 8) {
        to[i] = (int8_t)(word & 255u);
    }
#endif
}

#endif
