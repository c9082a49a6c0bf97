/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* The DSP extension of Armv7E-M and Armv8-M Mainline (Cortex-M4, M7, M33); plain C where it is absent.
 *
 * A word of four int8 becomes two pairs: the even lanes (elements 0 and 2) and the odd lanes (elements 1 and 3), each a word
 * of two int16. */
#ifndef EQ_SIMD_ARMV7EM_H
#define EQ_SIMD_ARMV7EM_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define EQ_DSP 1
#else
#define EQ_DSP 0
#endif

/* Of functions that are calls. */
#if EQ_DSP
#define EQ_ARMV7EM_CALLED __attribute__((noinline, unused))
#else
#define EQ_ARMV7EM_CALLED inline
#endif

/* Has compilers compute `x` here: they keep a loop of a few rounds as it is. */
#if EQ_DSP
#define EQ_ARMV7EM_IN_TURN(x) __asm__ volatile("" : "+r"(x))
#else
#define EQ_ARMV7EM_IN_TURN(x) ((void)0)
#endif

/* Four int8 from any address. */
static inline uint32_t eq_armv7em_load4(const int8_t *from)
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

/* Two int16 as a word; each in the range of int16. */
static inline uint32_t eq_armv7em_pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
}

/* The low halves of `low` and `high` as a word. */
static inline uint32_t eq_armv7em_pack_low(int32_t low, int32_t high)
{
#if EQ_DSP
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
#else
    return eq_armv7em_pair(low, (int16_t)((uint32_t)high & 0xffffu));
#endif
}

/* The high halves of `low` and `high` as a word. */
static inline uint32_t eq_armv7em_pack_high(uint32_t low, uint32_t high)
{
#if EQ_DSP
    uint32_t pair;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
#else
    return (high & 0xffff0000u) | low >> 16;
#endif
}

/* a + b of two pairs of int16, modulo 2^16. */
static inline uint32_t eq_armv7em_add2(uint32_t a, uint32_t b)
{
#if EQ_DSP
    uint32_t pair;
    __asm__("sadd16 %0, %1, %2" : "=r"(pair) : "r"(a), "r"(b) : "cc");
    return pair;
#else
    return ((a + b) & 0xffffu) | ((a & 0xffff0000u) + (b & 0xffff0000u));
#endif
}

/* Elements 0 and 2 of four int8, sign extended. */
static inline uint32_t eq_armv7em_even(uint32_t word)
{
#if EQ_DSP
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
#else
    return eq_armv7em_pair((int8_t)(word & 0xffu), (int8_t)(word >> 16 & 0xffu));
#endif
}

/* Elements 1 and 3 of four int8, sign extended. */
static inline uint32_t eq_armv7em_odd(uint32_t word)
{
#if EQ_DSP
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return eq_armv7em_even(word >> 8);
#endif
}

/* sum + a.low * b.low + a.high * b.high, modulo 2^32 */
static inline int32_t eq_armv7em_mac2(int32_t sum, uint32_t a, uint32_t b)
{
#if EQ_DSP
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    const int32_t low = (int16_t)(a & 0xffffu) * (int16_t)(b & 0xffffu), high = (int16_t)(a >> 16) * (int16_t)(b >> 16);
    return (int32_t)((uint32_t)sum + (uint32_t)low + (uint32_t)high);
#endif
}

/* a.low * b.low + a.high * b.high, modulo 2^32 */
static inline int32_t eq_armv7em_mul2(uint32_t a, uint32_t b)
{
#if EQ_DSP
    int32_t sum;
    __asm__("smuad %0, %1, %2" : "=r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return eq_armv7em_mac2(0, a, b);
#endif
}

/* Two words to `to`. */
static inline void eq_armv7em_put2(uint32_t *to, uint32_t a, uint32_t b)
{
#if EQ_DSP
    __asm__ volatile("strd %1, %2, [%0]" : : "r"(to), "r"(a), "r"(b) : "memory");
#else
    to[0] = a;
    to[1] = b;
#endif
}

/* The inputs' side of a product by words of layout "pairs": for elements 0 to 3 the pair (256 * x1 - x0 + 127,
 * 256 * x3 - x2 + 127). With the pairs (x0, x2) above and (256 * w0 + w1, 256 * w2 + w3) there, whose low bytes are (w1, w3),
 *
 *     (256 * w0 + w1) * x0 + w1 * (256 * x1 - x0 + 127) = 256 * (w0 * x0 + w1 * x1) + 127 * w1
 *
 * so that one word of weights is unpacked once instead of twice. */
static inline uint32_t eq_armv7em_mixed(uint32_t word)
{
    return word ^ 0x007f007fu;
}

/* (a * b + 2^31) >> 32 */
static inline int32_t eq_armv7em_high_mul_rounded(int32_t a, int32_t b)
{
#if EQ_DSP
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
#else
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
#endif
}

/* Leading zeros of x, 32 of 0. */
static inline int32_t eq_armv7em_leading_zeros(uint32_t x)
{
#if EQ_DSP
    int32_t zeros;
    __asm__("clz %0, %1" : "=r"(zeros) : "r"(x));
    return zeros;
#else
    int32_t zeros = 32;
    for (; x > 0; x >>= 1) {
        zeros--;
    }
    return zeros;
#endif
}

/* x >> 1, saturated to int8. */
static inline int32_t eq_armv7em_half_saturated(int32_t x)
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

/* x saturated to int8. */
static inline int32_t eq_armv7em_saturated(int32_t x)
{
#if EQ_DSP
    int32_t y;
    __asm__("ssat %0, #8, %1" : "=r"(y) : "r"(x));
    return y;
#else
    return x < -128 ? -128 : x > 127 ? 127 : x;
#endif
}

/* x saturated to uint8. */
static inline int32_t eq_armv7em_saturated_byte(int32_t x)
{
#if EQ_DSP
    int32_t y;
    __asm__("usat %0, #8, %1" : "=r"(y) : "r"(x));
    return y;
#else
    return x < 0 ? 0 : x > 255 ? 255 : x;
#endif
}

/* The larger of each two int8. */
static inline uint32_t eq_armv7em_max4(uint32_t a, uint32_t b)
{
#if EQ_DSP
    uint32_t larger;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b) : "cc");
    return larger;
#else
    uint32_t larger = 0;
    for (int32_t i = 0; i < 32; i += 8) {
        const int8_t x = (int8_t)(a >> i), y = (int8_t)(b >> i);
        larger |= (uint32_t)(uint8_t)(x > y ? x : y) << i;
    }
    return larger;
#endif
}

/* (a * b + 2^31) >> 32 of unsigned numbers */
static inline uint32_t eq_armv7em_high_mul_unsigned_rounded(uint32_t a, uint32_t b)
{
    return (uint32_t)(((uint64_t)a * b + 0x80000000u) >> 32);
}

/* x, one less where it is negative. */
static inline int32_t eq_armv7em_away(int32_t x)
{
    return x + (x >> 31);
}

/* a + b modulo 2^32 */
static inline int32_t eq_armv7em_plus(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* Copies `count` bytes, at least 1, from any address to any other; returns the end. */
static inline int8_t *eq_armv7em_copy(int8_t *to, const int8_t *from, int32_t count)
{
#if EQ_DSP
    uint32_t word;
    __asm__ volatile(
        "subs %[count], %[count], #4\n\tblt 2f\n"
        "1:\n\tldr %[word], [%[from]], #4\n\tsubs %[count], %[count], #4\n\tstr %[word], [%[to]], #4\n\tbge 1b\n"
        "2:\n\tadds %[count], %[count], #4\n\tbeq 4f\n"
        "3:\n\tldrb %[word], [%[from]], #1\n\tsubs %[count], %[count], #1\n\tstrb %[word], [%[to]], #1\n\tbne 3b\n"
        "4:"
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [word] "=&r"(word)
        :
        : "cc", "memory");
#else
    for (; count > 0; count--) {
        *to++ = *from++;
    }
#endif
    return to;
}

/* `count` int8, at least 1, that lie `step` bytes apart, to int16. */
static inline void eq_armv7em_spread(int16_t *to, const int8_t *from, int32_t step, int32_t count)
{
#if EQ_DSP
    int32_t x0, x1, x2, x3, step3 = 3 * step;
#define EQ_ARMV7EM_SPREAD4(at0, at1, at2, at3) \
    "ldrsb %[x0], [%[from]]\n\tldrsb %[x1], [%[from], %[step]]\n\t" \
    "ldrsb %[x2], [%[from], %[step], lsl #1]\n\tldrsb %[x3], [%[from], %[step3]]\n\t" \
    "strh %[x0], [%[to]" at0 "\n\tstrh %[x1], [%[to]" at1 "\n\tstrh %[x2], [%[to]" at2 "\n\tstrh %[x3], [%[to]" at3 "\n\t" \
    "add %[from], %[from], %[step], lsl #2\n\t"
    __asm__ volatile(
        "subs %[count], %[count], #8\n\tblt 2f\n"
        "1:\n\t" EQ_ARMV7EM_SPREAD4("]", ", #2]", ", #4]", ", #6]") EQ_ARMV7EM_SPREAD4(", #8]", ", #10]", ", #12]", ", #14]")
        "add %[to], %[to], #16\n\tsubs %[count], %[count], #8\n\tbge 1b\n"
        "2:\n\tadds %[count], %[count], #8\n\tbeq 4f\n"
        "3:\n\tldrsb %[x0], [%[from]]\n\tsubs %[count], %[count], #1\n\tadd %[from], %[from], %[step]\n\t"
        "strh %[x0], [%[to]], #2\n\tbne 3b\n"
        "4:"
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [x3] "=&r"(x3)
        : [step] "r"(step), [step3] "r"(step3)
        : "cc", "memory");
#undef EQ_ARMV7EM_SPREAD4
#else
    for (; count > 0; count--, from += step) {
        *to++ = *from;
    }
#endif
}

/* `count` int16 of one `value`. */
static inline void eq_armv7em_fill16(int16_t *to, int16_t value, int32_t count)
{
#if EQ_DSP
    const uint32_t pair = eq_armv7em_pack_low(value, value);
    for (; count >= 8; count -= 8, to += 8) {
        __builtin_memcpy(to, &pair, 4);
        __builtin_memcpy(to + 2, &pair, 4);
        __builtin_memcpy(to + 4, &pair, 4);
        __builtin_memcpy(to + 6, &pair, 4);
        EQ_ARMV7EM_IN_TURN(count);
    }
    for (; count >= 2; count -= 2, to += 2) {
        __builtin_memcpy(to, &pair, 4);
        EQ_ARMV7EM_IN_TURN(count);
    }
#endif
    for (; count > 0; count--) {
        *to++ = value;
        EQ_ARMV7EM_IN_TURN(count);
    }
}

/* As eq_armv7em_spread; where `from` is 0 it stores `count` times `value` instead. A call: inside a large function compilers run out of registers. */
static EQ_ARMV7EM_CALLED void eq_armv7em_line(int16_t *to, const int8_t *from, int32_t step, int32_t count, int16_t value)
{
    if (from) {
        eq_armv7em_spread(to, from, step, count);
    } else {
        eq_armv7em_fill16(to, value, count);
    }
}

/* `count` times `value`; returns the end. */
static inline int8_t *eq_armv7em_fill(int8_t *to, int8_t value, int32_t count)
{
    for (; count > 0; count--) {
        *to++ = value;
        EQ_ARMV7EM_IN_TURN(count);
    }
    return to;
}

/* `height` rows of `width` bytes, from row `top` and byte `left` on, of an input of `rows` rows of `pitch` bytes;
 * outside of it lies `zero`. */
typedef struct {
    int32_t height, width, rows, pitch, top, left, zero;
} eq_armv7em_part;

/* Takes a part of an input to `to`, row by row. A call: inside a large function compilers run out of registers. */
static EQ_ARMV7EM_CALLED void eq_armv7em_gather(int8_t *to, const int8_t *from, const eq_armv7em_part *part)
{
    const int32_t width = part->width, pitch = part->pitch, left = part->left;
    const int32_t near = left < 0 ? -left : 0, far = left + width > pitch ? left + width - pitch : 0, count = width - near - far;
    int32_t row = part->top, end = row + part->height;
    const int32_t rows = count > 0 ? part->rows : 0;
    const int8_t zero = (int8_t)part->zero;
    from += row * pitch + left + near;
    for (; row < end; row++, from += pitch) {
        if (row < 0 || row >= rows) {
            to = eq_armv7em_fill(to, zero, width);
        } else {
            to = eq_armv7em_fill(to, zero, near);
            to = eq_armv7em_copy(to, from, count);
            to = eq_armv7em_fill(to, zero, far);
        }
    }
}

/* a + b where b is the even (where `odd`, a literal: the odd) lanes of four int8, as two pairs of int16, modulo 2^16. */
static inline uint32_t eq_armv7em_add_lanes(uint32_t a, uint32_t word, int32_t odd)
{
#if EQ_DSP
    uint32_t pair;
    if (odd) {
        __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(pair) : "r"(a), "r"(word));
    } else {
        __asm__("sxtab16 %0, %1, %2" : "=r"(pair) : "r"(a), "r"(word));
    }
    return pair;
#else
    return eq_armv7em_add2(a, odd ? eq_armv7em_odd(word) : eq_armv7em_even(word));
#endif
}

#endif
