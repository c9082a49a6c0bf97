/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Fourier transforms on int16 with the DSP extension: a complex number is a word, its real part the low half. The bytes of eq_fft.h. */
#ifndef EQ_FFT_ARMV7EM_H
#define EQ_FFT_ARMV7EM_H

#include "eq_fft.h"
#include "eq_simd_armv7em_words.h"

static inline void eq_armv7em_fft_store(int16_t *to, uint32_t z)
{
#if EQ_DSP
    __builtin_memcpy(to, &z, 4);
#else
    to[0] = (int16_t)(z & 0xffffu);
    to[1] = (int16_t)(z >> 16);
#endif
}

/* Both parts divided by 2 or 4, rounded; the imaginary part times `sign`, 1 or -1, before. */
static inline uint32_t eq_armv7em_fft_divided(uint32_t z, int32_t by, int32_t sign)
{
#if EQ_DSP
    const int32_t share = 2 * (32767 / by);
    uint32_t low, high;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(low) : "r"(z), "r"(share), "r"(1 << 15));
    __asm__("smlatb %0, %1, %2, %3" : "=r"(high) : "r"(z), "r"(sign * share), "r"(1 << 15));
    return eq_armv7em_pack_high(low, high);
#else
    return eq_armv7em_pair(eq_fft_divided_s16((int16_t)(z & 0xffffu), by), eq_fft_divided_s16(sign * (int16_t)(z >> 16), by));
#endif
}

/* A product, rounded. */
static inline uint32_t eq_armv7em_fft_mul(uint32_t a, uint32_t w)
{
#if EQ_DSP
    uint32_t re, im;
    __asm__("smlsd %0, %1, %2, %3" : "=r"(re) : "r"(a), "r"(w), "r"(1 << 14));
    __asm__("smladx %0, %1, %2, %3" : "=r"(im) : "r"(a), "r"(w), "r"(1 << 14));
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #1" : "=r"(pair) : "r"((int32_t)re >> 15), "r"(im));
    return pair;
#else
    const int16_t r = (int16_t)(a & 0xffffu), i = (int16_t)(a >> 16), c = (int16_t)(w & 0xffffu), d = (int16_t)(w >> 16);
    return eq_armv7em_pair(eq_fft_re_s16(r, i, c, d), eq_fft_im_s16(r, i, c, d));
#endif
}

/* What an instruction computes of the halves of two words; `low` and `high` say it in C, of int32. */
#if EQ_DSP
#define EQ_ARMV7EM_FFT_BOTH(name, instruction, low, high) \
    static inline uint32_t eq_armv7em_fft_##name(uint32_t a, uint32_t b) \
    { \
        uint32_t pair; \
        __asm__(instruction " %0, %1, %2" : "=r"(pair) : "r"(a), "r"(b) : "cc"); \
        return pair; \
    }
#else
#define EQ_ARMV7EM_FFT_BOTH(name, instruction, low, high) \
    static inline uint32_t eq_armv7em_fft_##name(uint32_t a, uint32_t b) \
    { \
        const int32_t ar = (int16_t)(a & 0xffffu), ai = (int16_t)(a >> 16), br = (int16_t)(b & 0xffffu), bi = (int16_t)(b >> 16); \
        return eq_armv7em_pair(low, high); \
    }
#endif

EQ_ARMV7EM_FFT_BOTH(add, "sadd16", ar + br, ai + bi)
EQ_ARMV7EM_FFT_BOTH(sub, "ssub16", ar - br, ai - bi)
EQ_ARMV7EM_FFT_BOTH(add_turned, "sasx", ar - bi, ai + br)   /* a + i b */
EQ_ARMV7EM_FFT_BOTH(sub_turned, "ssax", ar + bi, ai - br)   /* a - i b */
EQ_ARMV7EM_FFT_BOTH(add_halved, "shadd16", (ar + br) >> 1, (ai + bi) >> 1)
EQ_ARMV7EM_FFT_BOTH(sub_halved, "shsub16", (ar - br) >> 1, (ai - bi) >> 1)

/* A stage of radix 4 in place: blocks of 4 m complex numbers. */
static inline void eq_armv7em_fft_radix4(int16_t *z, int32_t count, int32_t m, const int16_t *twiddles, int32_t inverse)
{
    const int32_t stride = count / (4 * m), step = 2 * m;
    for (int32_t u = 0; u < m; u++) {
        const uint32_t w1 = eq_armv7em_load2(twiddles + 2 * stride * u), w2 = eq_armv7em_load2(twiddles + 4 * stride * u);
        const uint32_t w3 = eq_armv7em_load2(twiddles + 6 * stride * u);
        for (int32_t at = 2 * u; at < 2 * count; at += 4 * step) {
            int16_t *const here = z + at;
            const uint32_t z0 = eq_armv7em_fft_divided(eq_armv7em_load2(here), 4, 1);
            const uint32_t z1 = eq_armv7em_fft_mul(eq_armv7em_fft_divided(eq_armv7em_load2(here + step), 4, 1), w1);
            const uint32_t z2 = eq_armv7em_fft_mul(eq_armv7em_fft_divided(eq_armv7em_load2(here + 2 * step), 4, 1), w2);
            const uint32_t z3 = eq_armv7em_fft_mul(eq_armv7em_fft_divided(eq_armv7em_load2(here + 3 * step), 4, 1), w3);
            const uint32_t even = eq_armv7em_fft_add(z0, z2), odd = eq_armv7em_fft_add(z1, z3);
            const uint32_t apart = eq_armv7em_fft_sub(z0, z2), turned = eq_armv7em_fft_sub(z1, z3);
            const uint32_t after = eq_armv7em_fft_add_turned(apart, turned), before = eq_armv7em_fft_sub_turned(apart, turned);
            eq_armv7em_fft_store(here, eq_armv7em_fft_add(even, odd));
            eq_armv7em_fft_store(here + step, inverse ? after : before);
            eq_armv7em_fft_store(here + 2 * step, eq_armv7em_fft_sub(even, odd));
            eq_armv7em_fft_store(here + 3 * step, inverse ? before : after);
        }
    }
}

/* The same of radix 2. */
static inline void eq_armv7em_fft_radix2(int16_t *z, int32_t count, int32_t m, const int16_t *twiddles)
{
    const int32_t stride = count / (2 * m), step = 2 * m;
    for (int32_t u = 0; u < m; u++) {
        const uint32_t w = eq_armv7em_load2(twiddles + 2 * stride * u);
        for (int32_t at = 2 * u; at < 2 * count; at += 2 * step) {
            const uint32_t z0 = eq_armv7em_fft_divided(eq_armv7em_load2(z + at), 2, 1);
            const uint32_t z1 = eq_armv7em_fft_mul(eq_armv7em_fft_divided(eq_armv7em_load2(z + at + step), 2, 1), w);
            eq_armv7em_fft_store(z + at, eq_armv7em_fft_add(z0, z1));
            eq_armv7em_fft_store(z + at + step, eq_armv7em_fft_sub(z0, z1));
        }
    }
}

/* A transform of a power of two in place. */
static inline void eq_armv7em_fft(int16_t *z, int32_t count, const int8_t *radices, int32_t stages, const int16_t *twiddles, int32_t inverse)
{
    int32_t m = 1;
    for (int32_t stage = 0; stage < stages; stage++) {
        if (radices[stage] == 4) {
            eq_armv7em_fft_radix4(z, count, m, twiddles, inverse);
        } else {
            eq_armv7em_fft_radix2(z, count, m, twiddles);
        }
        m *= radices[stage];
    }
}

/* The spectrum of real numbers from that of pairs of them, in place, but for its ends. */
static inline void eq_armv7em_fft_halves(int16_t *y, const int16_t *between, int32_t count)
{
    for (int32_t k = 1; k <= count / 2; k++) {
        int16_t *const here = y + 2 * k, *const there = y + 2 * (count - k);
        const uint32_t a = eq_armv7em_fft_divided(eq_armv7em_load2(here), 2, 1), b = eq_armv7em_fft_divided(eq_armv7em_load2(there), 2, -1);
        const uint32_t even = eq_armv7em_fft_add(a, b);
        const uint32_t odd = eq_armv7em_fft_mul(eq_armv7em_fft_sub(a, b), eq_armv7em_load2(between + 2 * (k - 1)));
        const uint32_t im = eq_armv7em_fft_sub_halved(odd, even);
        eq_armv7em_fft_store(here, eq_armv7em_fft_add_halved(even, odd));
        eq_armv7em_fft_store(there, (eq_armv7em_fft_sub_halved(even, odd) & 0xffffu) | (im & 0xffff0000u));
    }
}

#endif
