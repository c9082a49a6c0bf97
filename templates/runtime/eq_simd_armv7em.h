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

/* Has compilers compute `x` here: they keep a loop of a few rounds as it is. */
#if EQ_DSP
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

/* sum + a.low * b.low + a.high * b.high, modulo 2^32 */
static inline int32_t eq_mac2(int32_t sum, uint32_t a, uint32_t b)
{
#if EQ_DSP
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    const int32_t low = (int16_t)(a & 0xffffu) * (int16_t)(b & 0xffffu), high = (int16_t)(a >> 16) * (int16_t)(b >> 16);
    return (int32_t)((uint32_t)sum + (uint32_t)low + (uint32_t)high);
#endif
}

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

/* The inputs' side of a product by words of layout "pairs": for elements 0 to 3 the pair (256 * x1 - x0 + 127,
 * 256 * x3 - x2 + 127). With the pairs (x0, x2) above and (256 * w0 + w1, 256 * w2 + w3) there, whose low bytes are (w1, w3),
 *
 *     (256 * w0 + w1) * x0 + w1 * (256 * x1 - x0 + 127) = 256 * (w0 * x0 + w1 * x1) + 127 * w1
 *
 * so that one word of weights is unpacked once instead of twice. */
static inline uint32_t eq_mixed(uint32_t word)
{
    return word ^ 0x007f007fu;
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

/* x saturated to int8. */
static inline int32_t eq_saturated(int32_t x)
{
#if EQ_DSP
    int32_t y;
    __asm__("ssat %0, #8, %1" : "=r"(y) : "r"(x));
    return y;
#else
    return x < -128 ? -128 : x > 127 ? 127 : x;
#endif
}

/* x / 2^(n + 1) to the nearest, halves away from zero. */
static inline int32_t eq_round_half(int32_t x, int32_t n)
{
    return (((x + (x >> 31)) >> n) + 1) >> 1;
}

/* a + b modulo 2^32 */
static inline int32_t eq_plus(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* Copies `count` bytes, at least 1, from any address to any other; returns the end. */
static inline int8_t *eq_copy(int8_t *to, const int8_t *from, int32_t count)
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
static inline void eq_spread(int16_t *to, const int8_t *from, int32_t step, int32_t count)
{
#if EQ_DSP
    int32_t x0, x1, step3 = 3 * step;
    __asm__ volatile(
        "subs %[count], %[count], #4\n\tblt 2f\n"
        "1:\n\tldrsb %[x0], [%[from]]\n\tldrsb %[x1], [%[from], %[step]]\n\t"
        "strh %[x0], [%[to]], #8\n\tstrh %[x1], [%[to], #-6]\n\t"
        "ldrsb %[x0], [%[from], %[step], lsl #1]\n\tldrsb %[x1], [%[from], %[step3]]\n\t"
        "strh %[x0], [%[to], #-4]\n\tstrh %[x1], [%[to], #-2]\n\t"
        "subs %[count], %[count], #4\n\tadd %[from], %[from], %[step], lsl #2\n\tbge 1b\n"
        "2:\n\tadds %[count], %[count], #4\n\tbeq 4f\n"
        "3:\n\tldrsb %[x0], [%[from]]\n\tsubs %[count], %[count], #1\n\tadd %[from], %[from], %[step]\n\t"
        "strh %[x0], [%[to]], #2\n\tbne 3b\n"
        "4:"
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [x0] "=&r"(x0), [x1] "=&r"(x1)
        : [step] "r"(step), [step3] "r"(step3)
        : "cc", "memory");
#else
    for (; count > 0; count--, from += step) {
        *to++ = *from;
    }
#endif
}

/* `count` int16 of one `value`. */
static inline void eq_fill16(int16_t *to, int16_t value, int32_t count)
{
    for (; count > 0; count--) {
        *to++ = value;
        EQ_IN_TURN(count);
    }
}

/* `count` times `value`; returns the end. */
static inline int8_t *eq_fill(int8_t *to, int8_t value, int32_t count)
{
    for (; count > 0; count--) {
        *to++ = value;
        EQ_IN_TURN(count);
    }
    return to;
}

/* Below, inner loops in assembly: of the same in C, compilers make something that runs out of registers. A round is four
 * steps, and is entered where `count`, at least 1, leaves a whole number of rounds. */
#if EQ_DSP
#define EQ_ROUND(count, spare, step) \
    "ands " spare ", " count ", #3\n\tbeq 1f\n\tcmp " spare ", #2\n\tbhi 2f\n\tbeq 3f\n\tb 4f\n" \
    "1:\n\t" step "2:\n\t" step "3:\n\t" step "4:\n\t" step
#endif

/* Expands `count` quads of inputs from any address into one of three columns: `to[0]`, `to[6]`, ... are the even lanes;
 * three words further are the odd lanes, or what eq_mixed gives where `mixed`, a literal. Returns the end. */
static inline uint32_t *eq_expand(uint32_t *to, const int8_t *from, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_EXPAND(second) \
    __asm__ volatile( \
        EQ_ROUND("%[count]", "%[word]", \
            "ldr %[word], [%[from]], #4\n\t" \
            "sxtb16 %[even], %[word]\n\t" \
            second "\n\t" \
            "str %[word], [%[to], #12]\n\t" \
            "str %[even], [%[to]], #24\n\t") \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [word] "=&r"(word), [even] "=&r"(even) \
        : \
        : "cc", "memory")
    uint32_t word, even;
    if (mixed) {
        EQ_EXPAND("eor %[word], %[word], #0x007f007f");
    } else {
        EQ_EXPAND("sxtb16 %[word], %[word], ror #8");
    }
#undef EQ_EXPAND
#else
    for (; count > 0; count--, from += 4, to += 6) {
        const uint32_t word = eq_load4(from);
        to[0] = eq_even(word);
        to[3] = mixed ? eq_mixed(word) : eq_odd(word);
    }
#endif
    return to;
}

/* Adds to a[2 * r + c] the products of column r of three with channel c of two, `count` quads of each; `mixed`, a literal,
 * says what the columns hold, and that the weights have layout "pairs" instead of "quads". Returns the end of the weights. */
static inline const uint32_t *eq_tile(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_MAC3(channel, weights) \
    "smlad %[a0" channel "], r8, " weights ", %[a0" channel "]\n\t" \
    "smlad %[a1" channel "], r9, " weights ", %[a1" channel "]\n\t" \
    "smlad %[a2" channel "], r10, " weights ", %[a2" channel "]\n\t"
#define EQ_UNPACK(rotation) "sxtb16 %[w0], %[w0]" rotation "\n\tsxtb16 %[w1], %[w1]" rotation "\n\t"
#define EQ_TILE(first, between) \
    __asm__ volatile( \
        "push {%[w1]}\n\t" \
        EQ_ROUND("%[w0]", "r8", \
            "ldm %[x]!, {r8, r9, r10}\n\t" \
            "ldrd %[w0], %[w1], [%[w]], #8\n\t" \
            first \
            "ldm %[x]!, {r8, r9, r10}\n\t" \
            between \
            EQ_MAC3("0", "%[w0]") \
            EQ_MAC3("1", "%[w1]")) \
        "ldr r8, [sp]\n\t" \
        "cmp %[x], r8\n\t" \
        "bne 1b\n\t" \
        "pop {%[w1]}" \
        : [a00] "+r"(a00), [a01] "+r"(a01), [a10] "+r"(a10), [a11] "+r"(a11), [a20] "+r"(a20), [a21] "+r"(a21), \
          [x] "+r"(x), [w] "+r"(w), [w0] "+r"(count), [w1] "+r"(end) \
        : \
        : "r8", "r9", "r10", "cc", "memory")
    int32_t a00 = a[0], a01 = a[1], a10 = a[2], a11 = a[3], a20 = a[4], a21 = a[5];
    const uint32_t *end = x + 6 * count; /* kept on the stack: all registers are in use */
    if (mixed) {
        EQ_TILE(EQ_MAC3("0", "%[w0]") EQ_MAC3("1", "%[w1]"), EQ_UNPACK(""));
    } else {
        EQ_TILE(
            EQ_UNPACK("") EQ_MAC3("0", "%[w0]") EQ_MAC3("1", "%[w1]"),
            "ldrd %[w0], %[w1], [%[w], #-8]\n\t" EQ_UNPACK(", ror #8"));
    }
    a[0] = a00, a[1] = a01, a[2] = a10, a[3] = a11, a[4] = a20, a[5] = a21;
#undef EQ_TILE
#undef EQ_UNPACK
#undef EQ_MAC3
#else
    for (; count > 0; count--, x += 6, w += 2) {
        for (int32_t i = 0; i < 6; i++) {
            const uint32_t word = w[i & 1], even = eq_even(word);
            a[i] = eq_mac2(eq_mac2(a[i], x[i >> 1], mixed ? word : even), x[3 + (i >> 1)], mixed ? even : eq_odd(word));
        }
    }
#endif
    return w;
}

/* Adds to a[c] the products of `count` quads of inputs, from any address, with channel c of four; `mixed` as above.
 * Returns the end of the weights. */
static inline const uint32_t *eq_row(int32_t *a, const int8_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_MAC4(x) \
    "smlad %[a0], " x ", r8, %[a0]\n\tsmlad %[a1], " x ", r9, %[a1]\n\t" \
    "smlad %[a2], " x ", r10, %[a2]\n\tsmlad %[a3], " x ", r12, %[a3]\n\t"
#define EQ_UNPACK(rotation) \
    "sxtb16 r8, r8" rotation "\n\tsxtb16 r9, r9" rotation "\n\tsxtb16 r10, r10" rotation "\n\tsxtb16 r12, r12" rotation "\n\t"
#define EQ_ROW(first, between) \
    __asm__ volatile( \
        EQ_ROUND("%[count]", "r8", \
            "ldr %[second], [%[x]], #4\n\t" \
            "ldm %[w]!, {r8, r9, r10, r12}\n\t" \
            "sxtb16 %[even], %[second]\n\t" \
            first EQ_MAC4("%[even]") \
            between EQ_MAC4("%[second]")) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), \
          [even] "=&r"(even), [second] "=&r"(second) \
        : \
        : "r8", "r9", "r10", "r12", "cc", "memory")
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    uint32_t even, second;
    if (mixed) {
        EQ_ROW("eor %[second], %[second], #0x007f007f\n\t", EQ_UNPACK(""));
    } else {
        EQ_ROW(
            "sxtb16 %[second], %[second], ror #8\n\t" EQ_UNPACK(""),
            "ldmdb %[w], {r8, r9, r10, r12}\n\t" EQ_UNPACK(", ror #8"));
    }
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_ROW
#undef EQ_UNPACK
#undef EQ_MAC4
#else
    for (; count > 0; count--, x += 4, w += 4) {
        const uint32_t word = eq_load4(x), even = eq_even(word), second = mixed ? eq_mixed(word) : eq_odd(word);
        for (int32_t c = 0; c < 4; c++) {
            const uint32_t low = eq_even(w[c]);
            a[c] = eq_mac2(eq_mac2(a[c], even, mixed ? w[c] : low), second, mixed ? low : eq_odd(w[c]));
        }
    }
#endif
    return w;
}

/* Adds to a[0] to a[3] the products of three lines of int16 with the taps of 3x3 windows that start at columns 0, `stride`,
 * 2 * `stride` and 3 * `stride`, 1 or 2, a literal. `taps` holds per line the pairs (w0, w1) and (w1, w2). */
static inline void eq_windows3(int32_t *a, const int16_t *l0, const int16_t *l1, const int16_t *l2, const uint32_t *taps, int32_t stride)
{
#if EQ_DSP
#define EQ_LINE1(line) \
    "ldrd %[w0], %[w1], [%[taps]], #8\n\tldrd %[x0], %[x1], [" line "]\n\t" \
    "smlad %[a0], %[x0], %[w0], %[a0]\n\tsmlatb %[a1], %[x0], %[w0], %[a1]\n\tldr %[x0], [" line ", #8]\n\t" \
    "smlabt %[a0], %[x1], %[w1], %[a0]\n\tsmlad %[a1], %[x1], %[w1], %[a1]\n\t" \
    "smlad %[a2], %[x1], %[w0], %[a2]\n\tsmlatb %[a3], %[x1], %[w0], %[a3]\n\t" \
    "smlabt %[a2], %[x0], %[w1], %[a2]\n\tsmlad %[a3], %[x0], %[w1], %[a3]\n\t"
#define EQ_LINE2(line) \
    "ldrd %[w0], %[w1], [%[taps]], #8\n\tldrd %[x0], %[x1], [" line "]\n\t" \
    "smlad %[a0], %[x0], %[w0], %[a0]\n\tsmlabt %[a0], %[x1], %[w1], %[a0]\n\tsmlad %[a1], %[x1], %[w0], %[a1]\n\t" \
    "ldrd %[x0], %[x1], [" line ", #8]\n\t" \
    "smlabt %[a1], %[x0], %[w1], %[a1]\n\tsmlad %[a2], %[x0], %[w0], %[a2]\n\tldr %[x0], [" line ", #16]\n\t" \
    "smlabt %[a2], %[x1], %[w1], %[a2]\n\tsmlad %[a3], %[x1], %[w0], %[a3]\n\tsmlabt %[a3], %[x0], %[w1], %[a3]\n\t"
#define EQ_WINDOWS(line) \
    __asm__ volatile( \
        line("%[l0]") line("%[l1]") line("%[l2]") \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [taps] "+r"(taps), \
          [w0] "=&r"(w0), [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1) \
        : [l0] "r"(l0), [l1] "r"(l1), [l2] "r"(l2) \
        : "memory")
    uint32_t w0, w1, x0, x1;
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    if (stride == 1) {
        EQ_WINDOWS(EQ_LINE1);
    } else {
        EQ_WINDOWS(EQ_LINE2);
    }
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_WINDOWS
#undef EQ_LINE1
#undef EQ_LINE2
#else
    const int16_t *const lines[3] = {l0, l1, l2};
    for (int32_t k = 0; k < 3; k++, taps += 2) {
        for (int32_t i = 0; i < 4; i++) {
            const int16_t *const x = lines[k] + stride * i;
            a[i] = eq_mac2(eq_mac2(a[i], eq_pair(x[0], x[1]), taps[0]), eq_pair(0, x[2]), taps[1]);
        }
    }
#endif
}

/* a[0] to a[3] plus the products of a line of int16 with the taps of windows that start at column 0, 1, 2 and 3. `taps` are
 * `count` times two pairs: (w0, w1), (0, w0), (w2, w3), (w1, w2), ... with zeros at the end. */
static inline void eq_windows4(int32_t *a, const int16_t *line, const uint32_t *taps, int32_t count)
{
#if EQ_DSP
#define EQ_STEP(x0, x1) \
    "ldrd %[w0], %[w1], [%[taps]], #8\n\tldr " x1 ", [%[line]], #4\n\t" \
    "smlad %[a0], " x0 ", %[w0], %[a0]\n\tsmlad %[a1], " x0 ", %[w1], %[a1]\n\t" \
    "smlad %[a2], " x1 ", %[w0], %[a2]\n\tsmlad %[a3], " x1 ", %[w1], %[a3]\n\tsubs %[count], %[count], #1\n\t"
    uint32_t w0, w1, x0, x1;
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    __asm__ volatile(
        "ldr %[x0], [%[line]], #4\n"
        "1:\n\t" EQ_STEP("%[x0]", "%[x1]") "beq 2f\n\t" EQ_STEP("%[x1]", "%[x0]") "bne 1b\n"
        "2:"
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [line] "+r"(line), [taps] "+r"(taps),
          [count] "+r"(count), [w0] "=&r"(w0), [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1)
        :
        : "cc", "memory");
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_STEP
#else
    for (; count > 0; count--, line += 2, taps += 2) {
        for (int32_t i = 0; i < 4; i++) {
            a[i] = eq_mac2(a[i], eq_pair(line[i & 2], line[(i & 2) + 1]), taps[i & 1]);
        }
    }
#endif
}

#endif
