/* The DSP extension of Armv7E-M and Armv8-M Mainline (Cortex-M4, M7, M33); plain C where it is absent.
 *
 * A word of four int8 becomes two pairs: the even lanes (elements 0 and 2) and the odd lanes (elements 1 and 3),
 * each a word of two int16. */
#ifndef EQ_SIMD_ARMV7EM_H
#define EQ_SIMD_ARMV7EM_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define EQ_DSP 1
#else
#define EQ_DSP 0
#endif

/* Has Clang compute `x` here; else it loads ahead of the products and runs out of registers. */
#if EQ_DSP && defined(__clang__)
#define EQ_IN_TURN(x) __asm__ volatile("" : "+r"(x))
#else
#define EQ_IN_TURN(x) ((void)0)
#endif

/* Four int8 from any address. */
static inline uint32_t eq_load4(const int8_t *from)
{
#if EQ_DSP
    uint32_t word;
    __builtin_memcpy(&word, from, 4);
    return word;
#else
    const uint32_t low = (uint32_t)(uint8_t)from[0] | (uint32_t)(uint8_t)from[1] << 8;
    return low | (uint32_t)(uint8_t)from[2] << 16 | (uint32_t)(uint8_t)from[3] << 24;
#endif
}

/* Four int8 to any address. */
static inline void eq_store4(int8_t *to, uint32_t word)
{
#if EQ_DSP
    __builtin_memcpy(to, &word, 4);
#else
    for (int32_t i = 0; i < 4; i++, word >>= 8) {
        to[i] = (int8_t)(word & 0xffu);
    }
#endif
}

/* Two int16 as a word; each in the range of int16. */
static inline uint32_t eq_pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
}

/* Elements 0 and 2 of four int8, sign extended. */
static inline uint32_t eq_even(uint32_t word)
{
#if EQ_DSP
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
#else
    return eq_pair((int8_t)(word & 0xffu), (int8_t)(word >> 16 & 0xffu));
#endif
}

/* Elements 1 and 3 of four int8, sign extended. */
static inline uint32_t eq_odd(uint32_t word)
{
#if EQ_DSP
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return eq_even(word >> 8);
#endif
}

/* sum + a.low * b.low + a.high * b.high */
static inline int32_t eq_mac2(int32_t sum, uint32_t a, uint32_t b)
{
#if EQ_DSP
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return sum + (int16_t)(a & 0xffffu) * (int16_t)(b & 0xffffu) + (int16_t)(a >> 16) * (int16_t)(b >> 16);
#endif
}

/* sum + a.low * b.low */
static inline int32_t eq_mac_low(int32_t sum, uint32_t a, uint32_t b)
{
#if EQ_DSP
    __asm__("smlabb %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return sum + (int16_t)(a & 0xffffu) * (int16_t)(b & 0xffffu);
#endif
}

/* sum + a.high * b.high */
static inline int32_t eq_mac_high(int32_t sum, uint32_t a, uint32_t b)
{
#if EQ_DSP
    __asm__("smlatt %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return sum + (int16_t)(a >> 16) * (int16_t)(b >> 16);
#endif
}

/* Two words from `offset` bytes, a literal, past the uint32_t at `from`. */
#if EQ_DSP
#define EQ_GET2(a, b, from, offset) \
    __asm__ volatile("ldrd %0, %1, [%2, #" #offset "]" : "=&r"(a), "=&r"(b) : "r"(from) : "memory")
#else
#define EQ_GET2(a, b, from, offset) ((void)((a) = (from)[(offset) / 4], (b) = (from)[(offset) / 4 + 1]))
#endif

/* Two words from `*from`, which moves past them. */
static inline void eq_take2(const uint32_t **from, uint32_t *a, uint32_t *b)
{
#if EQ_DSP
    __asm__ volatile("ldrd %0, %1, [%2], #8" : "=&r"(*a), "=&r"(*b), "+r"(*from) : : "memory");
#else
    *a = (*from)[0];
    *b = (*from)[1];
    *from += 2;
#endif
}

/* One word from `*from`, which moves past it. */
static inline uint32_t eq_take(const uint32_t **from)
{
    uint32_t word;
#if EQ_DSP
    __asm__ volatile("ldr %0, [%1], #4" : "=&r"(word), "+r"(*from) : : "memory");
#else
    word = (*from)[0];
    *from += 1;
#endif
    return word;
}

/* Two words to `to`. */
static inline void eq_put2(uint32_t *to, uint32_t a, uint32_t b)
{
#if EQ_DSP
    __asm__ volatile("strd %1, %2, [%0]" : : "r"(to), "r"(a), "r"(b) : "memory");
#else
    to[0] = a;
    to[1] = b;
#endif
}

/* (a * b + 2^31) >> 32 */
static inline int32_t eq_high_mul_rounded(int32_t a, int32_t b)
{
#if EQ_DSP
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
#else
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
#endif
}

/* x >> 1, saturated to int8. */
static inline int32_t eq_half_saturated(int32_t x)
{
#if EQ_DSP
    int32_t y;
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(y) : "r"(x));
    return y;
#else
    x >>= 1;
    return x < -128 ? -128 : x > 127 ? 127 : x;
#endif
}

#endif
