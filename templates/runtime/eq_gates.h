/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Gates of recurrent layers: TFLM's int16 sigmoid and tanh by one table; twins of edgeq/numerics.py. Freestanding ISO C99. */
#ifndef EQ_GATES_H
#define EQ_GATES_H

#include "eq_numerics.h"

/* The table at |x| / 2^bits in Q0.(16 + bits), as far as its last interval reaches; `sign` is -1 where x < 0, else 0. */
static inline int32_t eq_gate_table(const uint16_t *table, int32_t x, int32_t sign, int32_t bits)
{
    const int32_t last = (255 << bits) - 1;
#if defined(EQ_HAS_XCV)
    /* cv.abs, cv.min; both values of the table as one word, by cv.lw with an index; cv.pack of their weights, cv.dotup.h */
    int32_t at, sum;
    uint32_t both, weights;
    __asm__(".insn r 0x2b, 3, 0x28, %0, %1, x0\n\t.insn r 0x2b, 3, 0x2b, %0, %0, %2" : "=&r"(at) : "r"(x), "r"(last));
    const int32_t part = at & ((1 << bits) - 1);
    __asm__(".insn r 0x7b, 0, 0x78, %0, %1, %2" : "=r"(weights) : "r"(part), "r"((1 << bits) - part));
    __asm__(".insn r 0x2b, 3, 0x06, %0, %1, %2" : "=r"(both) : "r"(table), "r"((at >> bits) * 2));
    __asm__(".insn r 0x7b, 0, 0x40, %0, %1, %2" : "=r"(sum) : "r"(both), "r"(weights));
    (void)sign;
    return sum;
#else
    const int32_t at = last - eq_positive(last - ((x ^ sign) - sign));
    const int32_t low = table[at >> bits], high = table[(at >> bits) + 1];
    return (low << bits) + (at & ((1 << bits) - 1)) * (high - low);
#endif
}

/* (x + y) / 2^n, rounded to nearest. */
static inline int32_t eq_gate_rounded(int32_t x, int32_t y, int32_t n)
{
#if defined(EQ_HAS_XCV)
    __asm__(".insn r 0x2b, 3, 0x42, %0, %1, %2" : "+r"(x) : "r"(y), "r"(n)); /* cv.addrnr */
    return x;
#else
    return (x + y + (1 << (n - 1))) >> n;
#endif
}

/* Sigmoid of x in units of 2^-12 / 3, |x| < 2^30; Q0.15. */
static inline int32_t eq_sigmoid_q15(const uint16_t *table, int32_t x)
{
    const int32_t sign = x >> 31;
    return eq_gate_rounded(eq_gate_table(table, x, sign, 9) ^ sign, sign & (1 << 25), 10);
}

/* Tanh, likewise. */
static inline int32_t eq_tanh_q15(const uint16_t *table, int32_t x)
{
    const int32_t sign = x >> 31;
    return eq_gate_rounded((eq_gate_table(table, x, sign, 8) - (1 << 23)) ^ sign, 0, 8);
}

/* x m / 2^n, rounded to nearest, limited to int16; |x| < 2^47, 1 <= n <= 62. */
static inline int32_t eq_requantize_words(int64_t x, int32_t m, int32_t n)
{
    const int64_t y = (x * m + ((int64_t)1 << (n - 1))) >> n;
    return y > 32767 ? 32767 : y < -32768 ? -32768 : (int32_t)y;
}

/* x limited to int16. */
static inline int32_t eq_saturate16(int32_t x)
{
#if defined(__ARM_FEATURE_SAT)
    int32_t y;
    __asm__("ssat %0, #16, %1" : "=r"(y) : "r"(x));
    return y;
#elif defined(EQ_HAS_XCV)
    int32_t y;
    __asm__(".insn r 0x2b, 3, 0x38, %0, %1, x16" : "=r"(y) : "r"(x)); /* cv.clip */
    return y;
#else
    return eq_clamp(x, -32768, 32767);
#endif
}

/* x m / 2^n, rounded to nearest, limited to int16; 0 <= m < 2^15, 17 <= n <= 47: what x m has below 2^16 does not count. */
static inline int32_t eq_requantize_near_words(int32_t x, int32_t m, int32_t n)
{
    const int32_t high = (int32_t)(((int64_t)x * (m * 65536)) >> 32);
    return eq_saturate16((high + (1 << (n - 17))) >> (n - 16));
}

#endif
