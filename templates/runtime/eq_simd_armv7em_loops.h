/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Products of rows and columns of int8 with the DSP extension; plain C where it is absent. */
#ifndef EQ_SIMD_ARMV7EM_LOOPS_H
#define EQ_SIMD_ARMV7EM_LOOPS_H

#include "eq_simd_armv7em.h"

/* 1 for cores that charge LDM and LDRD by the word, so Cortex-M4: single loads side by side take fewer cycles there. */
#ifndef EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_BY_WORDS 0
#endif

/* Of the same in C, compilers make something that runs out of registers. A round is four
 * steps, and is entered where `count`, at least 1, leaves a whole number of rounds. */
#if EQ_DSP
#define EQ_ARMV7EM_ROUND(count, spare, step) \
    "ands " spare ", " count ", #3\n\tbeq 1f\n\tcmp " spare ", #2\n\tbhi 2f\n\tbeq 3f\n\tb 4f\n" \
    "1:\n\t" step "2:\n\t" step "3:\n\t" step "4:\n\t" step

/* Functions of assembly alone: it uses all registers, and keeps them for callers that look at what a function changes. */
#define EQ_ARMV7EM_NAKED __attribute__((naked, noinline, unused))
#endif

/* Expands `count` quads of inputs from any address into one of three columns: `to[0]`, `to[6]`, ... are the even lanes;
 * three words further are the odd lanes, or what eq_armv7em_mixed gives where `mixed`, a literal. Returns the end. */
static inline uint32_t *eq_armv7em_expand(uint32_t *to, const int8_t *from, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_EXPAND1(word, second, at, on) \
    "sxtb16 %[even], " word "\n\t" second(word) "\n\tstr " word ", [%[to], #" at "+12]\n\tstr %[even], [%[to]" on "\n\t"
#define EQ_ARMV7EM_EXPAND4(second) \
    "ldr %[d], [%[from], #12]\n\tldr %[c], [%[from], #8]\n\tldr %[b], [%[from], #4]\n\tldr %[a], [%[from]], #16\n\t" \
    EQ_ARMV7EM_EXPAND1("%[d]", second, "72", ", #72]") EQ_ARMV7EM_EXPAND1("%[c]", second, "48", ", #48]") \
    EQ_ARMV7EM_EXPAND1("%[b]", second, "24", ", #24]") EQ_ARMV7EM_EXPAND1("%[a]", second, "0", "], #96")
#define EQ_ARMV7EM_EXPAND(second) \
    __asm__ volatile( \
        "subs %[count], %[count], #4\n\tblt 3f\n\ttst %[count], #4\n\tbeq 2f\n" \
        "1:\n\t" EQ_ARMV7EM_EXPAND4(second) "2:\n\t" EQ_ARMV7EM_EXPAND4(second) \
        "subs %[count], %[count], #8\n\tbge 1b\n" \
        "3:\n\tlsls %[count], %[count], #31\n\tbcc 4f\n\t" /* two quads, and one */ \
        "ldr %[b], [%[from], #4]\n\tldr %[a], [%[from]], #8\n\t" \
        EQ_ARMV7EM_EXPAND1("%[b]", second, "24", ", #24]") EQ_ARMV7EM_EXPAND1("%[a]", second, "0", "], #48") \
        "4:\n\tbpl 5f\n\t" \
        "ldr %[a], [%[from]]\n\t" EQ_ARMV7EM_EXPAND1("%[a]", second, "0", "], #24") \
        "5:" \
        : [to] "+r"(to), [from] "+r"(from), [count] "+r"(count), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [even] "=&r"(even) \
        : \
        : "cc", "memory")
#define EQ_ARMV7EM_MIXED(word) "eor " word ", " word ", #0x007f007f"
#define EQ_ARMV7EM_ODD(word) "sxtb16 " word ", " word ", ror #8"
    uint32_t a, b, c, d, even;
    if (mixed) {
        EQ_ARMV7EM_EXPAND(EQ_ARMV7EM_MIXED);
    } else {
        EQ_ARMV7EM_EXPAND(EQ_ARMV7EM_ODD);
    }
#undef EQ_ARMV7EM_ODD
#undef EQ_ARMV7EM_MIXED
#undef EQ_ARMV7EM_EXPAND4
#undef EQ_ARMV7EM_EXPAND1
#undef EQ_ARMV7EM_EXPAND
#else
    for (; count > 0; count--, from += 4, to += 6) {
        const uint32_t word = eq_armv7em_load4(from);
        to[0] = eq_armv7em_even(word);
        to[3] = mixed ? eq_armv7em_mixed(word) : eq_armv7em_odd(word);
    }
#endif
    return to;
}

/* `count` quads of `zeros` into one of three columns, as eq_armv7em_expand puts them. Returns the end. */
static inline uint32_t *eq_armv7em_expand_zeros(uint32_t *to, uint32_t zeros, int32_t count, int32_t mixed)
{
    const uint32_t even = eq_armv7em_even(zeros), second = mixed ? eq_armv7em_mixed(zeros) : eq_armv7em_odd(zeros);
    for (; count > 0; count--, to += 6) {
        to[0] = even;
        to[3] = second;
        EQ_ARMV7EM_IN_TURN(count);
    }
    return to;
}

/* Expands a part of an input into one of three columns, row by row; all numbers of bytes are multiples of four. A call: inside a large
 * function compilers run out of registers. Returns the end. */
static EQ_ARMV7EM_CALLED uint32_t *eq_armv7em_expand_part(uint32_t *to, const int8_t *from, const eq_armv7em_part *part)
{
    const int32_t width = part->width, pitch = part->pitch, left = part->left, top = part->top;
    const int32_t over = left + width - pitch;
    from += top * pitch + left;
    int32_t height = part->height;
    if (left >= 0 && over <= 0 && top >= 0 && top + height <= part->rows) {
        for (const int32_t count = width / 4; height > 0; height--, from += pitch) {
            to = eq_armv7em_expand(to, from, count, 1);
            EQ_ARMV7EM_IN_TURN(height);
        }
        return to;
    }
    const int32_t near = left < 0 ? -left : 0, far = over > 0 ? over : 0, count = width - near - far;
    const int32_t rows = count > 0 ? part->rows : 0, end = top + height;
    const uint32_t zeros = ((uint32_t)part->zero & 0xffu) * 0x01010101u;
    for (int32_t row = top; row < end; row++, from += pitch) {
        const int32_t inside = row >= 0 && row < rows;
        to = eq_armv7em_expand_zeros(to, zeros, (inside ? near : width) / 4, 1);
        if (inside) {
            to = eq_armv7em_expand(to, from + near, count / 4, 1);
            to = eq_armv7em_expand_zeros(to, zeros, far / 4, 1);
        }
    }
    return to;
}

/* Adds to a[2 * r + c] the products of column r of three with channel c of two, `count` quads of each; `mixed`, a literal,
 * says what the columns hold, and that the weights have layout "pairs" instead of "quads". Returns the end of the weights. */
static inline const uint32_t *eq_armv7em_tile(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC3(channel, weights) \
    "smlad %[a0" channel "], r8, " weights ", %[a0" channel "]\n\t" \
    "smlad %[a1" channel "], r9, " weights ", %[a1" channel "]\n\t" \
    "smlad %[a2" channel "], r10, " weights ", %[a2" channel "]\n\t"
#define EQ_ARMV7EM_UNPACK(rotation) "sxtb16 %[w0], %[w0]" rotation "\n\tsxtb16 %[w1], %[w1]" rotation "\n\t"
#define EQ_ARMV7EM_TILE(first, between) \
    __asm__ volatile( \
        "push {%[w1]}\n\t" \
        EQ_ARMV7EM_ROUND("%[w0]", "r8", \
            "ldm %[x]!, {r8, r9, r10}\n\t" \
            "ldrd %[w0], %[w1], [%[w]], #8\n\t" \
            first \
            "ldm %[x]!, {r8, r9, r10}\n\t" \
            between \
            EQ_ARMV7EM_MAC3("0", "%[w0]") \
            EQ_ARMV7EM_MAC3("1", "%[w1]")) \
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
        EQ_ARMV7EM_TILE(EQ_ARMV7EM_MAC3("0", "%[w0]") EQ_ARMV7EM_MAC3("1", "%[w1]"), EQ_ARMV7EM_UNPACK(""));
    } else {
        EQ_ARMV7EM_TILE(
            EQ_ARMV7EM_UNPACK("") EQ_ARMV7EM_MAC3("0", "%[w0]") EQ_ARMV7EM_MAC3("1", "%[w1]"),
            "ldrd %[w0], %[w1], [%[w], #-8]\n\t" EQ_ARMV7EM_UNPACK(", ror #8"));
    }
    a[0] = a00, a[1] = a01, a[2] = a10, a[3] = a11, a[4] = a20, a[5] = a21;
#undef EQ_ARMV7EM_TILE
#undef EQ_ARMV7EM_UNPACK
#undef EQ_ARMV7EM_MAC3
#else
    for (; count > 0; count--, x += 6, w += 2) {
        for (int32_t i = 0; i < 6; i++) {
            const uint32_t word = w[i & 1], even = eq_armv7em_even(word);
            a[i] = eq_armv7em_mac2(eq_armv7em_mac2(a[i], x[i >> 1], mixed ? word : even), x[3 + (i >> 1)], mixed ? even : eq_armv7em_odd(word));
        }
    }
#endif
    return w;
}

/* The same of two columns of three. */
static inline const uint32_t *eq_armv7em_tile2(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC2 \
    "smlad %[a00], %[x0], %[w0], %[a00]\n\tsmlad %[a10], %[x1], %[w0], %[a10]\n\t" \
    "smlad %[a01], %[x0], %[w1], %[a01]\n\tsmlad %[a11], %[x1], %[w1], %[a11]\n\t"
#define EQ_ARMV7EM_UNPACK(rotation) "sxtb16 %[w0], %[w0]" rotation "\n\tsxtb16 %[w1], %[w1]" rotation "\n\t"
#define EQ_ARMV7EM_TILE(first, between) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "%[w0]", \
            "ldrd %[w0], %[w1], [%[w]], #8\n\t" \
            first \
            "ldrd %[x0], %[x1], [%[x]], #12\n\t" \
            EQ_ARMV7EM_MAC2 \
            between \
            "ldrd %[x0], %[x1], [%[x]], #12\n\t" \
            EQ_ARMV7EM_MAC2) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [a00] "+r"(a00), [a01] "+r"(a01), [a10] "+r"(a10), [a11] "+r"(a11), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), \
          [w0] "=&r"(w0), [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1) \
        : \
        : "cc", "memory")
    int32_t a00 = a[0], a01 = a[1], a10 = a[2], a11 = a[3];
    uint32_t w0, w1, x0, x1;
    if (mixed) {
        EQ_ARMV7EM_TILE("", EQ_ARMV7EM_UNPACK(""));
    } else {
        EQ_ARMV7EM_TILE(EQ_ARMV7EM_UNPACK(""), "ldrd %[w0], %[w1], [%[w], #-8]\n\t" EQ_ARMV7EM_UNPACK(", ror #8"));
    }
    a[0] = a00, a[1] = a01, a[2] = a10, a[3] = a11;
#undef EQ_ARMV7EM_TILE
#undef EQ_ARMV7EM_UNPACK
#undef EQ_ARMV7EM_MAC2
#else
    for (; count > 0; count--, x += 6, w += 2) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t word = w[i & 1], even = eq_armv7em_even(word);
            a[i] = eq_armv7em_mac2(eq_armv7em_mac2(a[i], x[i >> 1], mixed ? word : even), x[3 + (i >> 1)], mixed ? even : eq_armv7em_odd(word));
        }
    }
#endif
    return w;
}

#if EQ_DSP && EQ_ARMV7EM_BY_WORDS
#define EQ_ARMV7EM_FOUR(w) "ldr r8, [" w "], #16\n\tldr r9, [" w ", #-12]\n\tldr r10, [" w ", #-8]\n\tldr r12, [" w ", #-4]\n\t"
#else
#define EQ_ARMV7EM_FOUR(w) "ldm " w "!, {r8, r9, r10, r12}\n\t"
#endif

/* Adds to a[c] the products of `count` quads of inputs, from any address, with channel c of four; `mixed` as above.
 * Returns the end of the weights. */
static inline const uint32_t *eq_armv7em_row(int32_t *a, const int8_t *x, const uint32_t *w, int32_t count, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC4(x) \
    "smlad %[a0], " x ", r8, %[a0]\n\tsmlad %[a1], " x ", r9, %[a1]\n\t" \
    "smlad %[a2], " x ", r10, %[a2]\n\tsmlad %[a3], " x ", r12, %[a3]\n\t"
#define EQ_ARMV7EM_UNPACK(rotation) \
    "sxtb16 r8, r8" rotation "\n\tsxtb16 r9, r9" rotation "\n\tsxtb16 r10, r10" rotation "\n\tsxtb16 r12, r12" rotation "\n\t"
#define EQ_ARMV7EM_ROW(first, between) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "r8", \
            "ldr %[second], [%[x]], #4\n\t" EQ_ARMV7EM_FOUR("%[w]") \
            "sxtb16 %[even], %[second]\n\t" \
            first EQ_ARMV7EM_MAC4("%[even]") \
            between EQ_ARMV7EM_MAC4("%[second]")) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), \
          [even] "=&r"(even), [second] "=&r"(second) \
        : \
        : "r8", "r9", "r10", "r12", "cc", "memory")
    int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    uint32_t even, second;
    if (mixed) {
        EQ_ARMV7EM_ROW("eor %[second], %[second], #0x007f007f\n\t", EQ_ARMV7EM_UNPACK(""));
    } else {
        EQ_ARMV7EM_ROW(
            "sxtb16 %[second], %[second], ror #8\n\t" EQ_ARMV7EM_UNPACK(""),
            "ldmdb %[w], {r8, r9, r10, r12}\n\t" EQ_ARMV7EM_UNPACK(", ror #8"));
    }
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
#undef EQ_ARMV7EM_ROW
#undef EQ_ARMV7EM_UNPACK
#undef EQ_ARMV7EM_MAC4
#else
    for (; count > 0; count--, x += 4, w += 4) {
        const uint32_t word = eq_armv7em_load4(x), even = eq_armv7em_even(word), second = mixed ? eq_armv7em_mixed(word) : eq_armv7em_odd(word);
        for (int32_t c = 0; c < 4; c++) {
            const uint32_t low = eq_armv7em_even(w[c]);
            a[c] = eq_armv7em_mac2(eq_armv7em_mac2(a[c], even, mixed ? w[c] : low), second, mixed ? low : eq_armv7em_odd(w[c]));
        }
    }
#endif
    return w;
}

/* Expands `count` elements from any address to quads of two words: the even lanes, then the odd ones or what eq_armv7em_mixed gives
 * where `mixed`. What is missing in the last quad is 0. */
static inline void eq_armv7em_expand_quads(uint32_t *to, const int8_t *from, int32_t count, int32_t mixed)
{
    for (; count > 0; count -= 4, from += 4, to += 2) {
        uint32_t word = 0;
        if (count >= 4) {
            word = eq_armv7em_load4(from);
        } else {
            for (int32_t i = 0; i < count; i++) {
                word |= (uint32_t)(uint8_t)from[i] << 8 * i;
            }
        }
        eq_armv7em_put2(to, eq_armv7em_even(word), mixed ? eq_armv7em_mixed(word) : eq_armv7em_odd(word));
    }
}

/* As eq_armv7em_row, of expanded inputs with `rows` channels, 2, 3 or 4, a literal. */
static inline const uint32_t *eq_armv7em_expanded_row(int32_t *a, const uint32_t *x, const uint32_t *w, int32_t count, int32_t rows, int32_t mixed)
{
#if EQ_DSP
#define EQ_ARMV7EM_MAC2(x) "smlad %[a0], " x ", r8, %[a0]\n\tsmlad %[a1], " x ", r9, %[a1]\n\t"
#define EQ_ARMV7EM_MAC3(x) EQ_ARMV7EM_MAC2(x) "smlad %[a2], " x ", r10, %[a2]\n\t"
#define EQ_ARMV7EM_MAC4(x) EQ_ARMV7EM_MAC3(x) "smlad %[a3], " x ", r12, %[a3]\n\t"
#define EQ_ARMV7EM_UNPACK2(rotation) "sxtb16 r8, r8" rotation "\n\tsxtb16 r9, r9" rotation "\n\t"
#define EQ_ARMV7EM_UNPACK3(rotation) EQ_ARMV7EM_UNPACK2(rotation) "sxtb16 r10, r10" rotation "\n\t"
#define EQ_ARMV7EM_UNPACK4(rotation) EQ_ARMV7EM_UNPACK3(rotation) "sxtb16 r12, r12" rotation "\n\t"
#define EQ_ARMV7EM_EXPANDED_ROW(registers, first, mac, between) \
    __asm__ volatile( \
        EQ_ARMV7EM_ROUND("%[count]", "r8", \
            "ldrd %[even], %[second], [%[x]], #8\n\t" \
            "ldm %[w]!, " registers "\n\t" \
            first mac("%[even]") \
            between mac("%[second]")) \
        "subs %[count], %[count], #4\n\t" \
        "bgt 1b" \
        : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x), [w] "+r"(w), [count] "+r"(count), \
          [even] "=&r"(even), [second] "=&r"(second) \
        : \
        : "r8", "r9", "r10", "r12", "cc", "memory")
    int32_t a0 = a[0], a1 = a[1], a2 = rows > 2 ? a[2] : 0, a3 = rows > 3 ? a[3] : 0;
    uint32_t even, second;
    if (rows == 4 && mixed) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10, r12}", "", EQ_ARMV7EM_MAC4, EQ_ARMV7EM_UNPACK4(""));
    } else if (rows == 4) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10, r12}", EQ_ARMV7EM_UNPACK4(""), EQ_ARMV7EM_MAC4, "ldmdb %[w], {r8, r9, r10, r12}\n\t" EQ_ARMV7EM_UNPACK4(", ror #8"));
    } else if (rows == 3 && mixed) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10}", "", EQ_ARMV7EM_MAC3, EQ_ARMV7EM_UNPACK3(""));
    } else if (rows == 3) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9, r10}", EQ_ARMV7EM_UNPACK3(""), EQ_ARMV7EM_MAC3, "ldmdb %[w], {r8, r9, r10}\n\t" EQ_ARMV7EM_UNPACK3(", ror #8"));
    } else if (mixed) {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9}", "", EQ_ARMV7EM_MAC2, EQ_ARMV7EM_UNPACK2(""));
    } else {
        EQ_ARMV7EM_EXPANDED_ROW("{r8, r9}", EQ_ARMV7EM_UNPACK2(""), EQ_ARMV7EM_MAC2, "ldmdb %[w], {r8, r9}\n\t" EQ_ARMV7EM_UNPACK2(", ror #8"));
    }
    a[0] = a0, a[1] = a1;
    if (rows > 2) {
        a[2] = a2;
    }
    if (rows > 3) {
        a[3] = a3;
    }
#undef EQ_ARMV7EM_EXPANDED_ROW
#undef EQ_ARMV7EM_UNPACK4
#undef EQ_ARMV7EM_UNPACK3
#undef EQ_ARMV7EM_UNPACK2
#undef EQ_ARMV7EM_MAC4
#undef EQ_ARMV7EM_MAC3
#undef EQ_ARMV7EM_MAC2
#else
    for (; count > 0; count--, x += 2, w += rows) {
        for (int32_t c = 0; c < rows; c++) {
            const uint32_t low = eq_armv7em_even(w[c]);
            a[c] = eq_armv7em_mac2(eq_armv7em_mac2(a[c], x[0], mixed ? w[c] : low), x[1], mixed ? low : eq_armv7em_odd(w[c]));
        }
    }
#endif
    return w;
}

#endif
