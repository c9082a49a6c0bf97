/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Inner products with weights of four bits, with MVE; plain C where the compiler builds for another computer.
 *
 * A byte of layout "nibble_chunks" is 16 * b + a for the weights a and b of two channels. Shifted left by four bits it is 16 * a. With the
 * sums A of the products of the latter and B of those of the byte, 16 * b gives B - A / 16, so that nothing is masked out. */
#ifndef EQ_SIMD_MVE_NIBBLES_H
#define EQ_SIMD_MVE_NIBBLES_H

#include "eq_nibbles.h"
#include "eq_simd_mve.h"
#include "eq_simd_mve_products.h"

#if EQ_MVE
/* 16 times the inner products of three rows with the two channels whose weights lie at `w`. Returns the end of the weights. */
static inline const int8_t *eq_mve_nibble_dots3x2(int32_t a[6], const int8_t *x0, const int8_t *x1, const int8_t *x2, const int8_t *w, int32_t n)
{
    int32_t a0 = 0, a1 = 0, a2 = 0, b0 = 0, b1 = 0, b2 = 0;
    register int32_t count __asm__("lr") = n; /* takes no other register: a frame pointer must fit, too */
    __asm__ volatile("dlstp.8 lr, lr\n1:\n"
                     "vldrb.8 q3, [%9], #32\n"
                     "vldrb.8 q0, [%6], #16\n"
                     "vmladava.s8 %3, q0, q3\n"
                     "vldrb.8 q1, [%7], #16\n"
                     "vmladava.s8 %4, q1, q3\n"
                     "vldrb.8 q2, [%8], #16\n"
                     "vmladava.s8 %5, q2, q3\n"
                     "vshl.i8 q3, q3, #4\n"
                     "vmladava.s8 %0, q0, q3\n"
                     "vmladava.s8 %1, q1, q3\n"
                     "vmladava.s8 %2, q2, q3\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(a2), "+Te"(b0), "+Te"(b1), "+Te"(b2), "+r"(x0), "+r"(x1), "+r"(x2), "+r"(w), "+r"(count)
                     :
                     : "q0", "q1", "q2", "q3", "memory");
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = b0 - (a0 >> 4), a[4] = b1 - (a1 >> 4), a[5] = b2 - (a2 >> 4);
    return w;
}

/* The inner products, from 16 times them, added to the four biases. */
static inline eq_mve_i32x4 eq_mve_nibble_sums(const int32_t *bias, eq_mve_i32x4 v)
{
    return vaddq_s32(vshrq_n_s32(v, 4), vldrwq_s32(bias));
}
#else
/* The inner product of n elements with channel c of a block, added to its bias. */
static inline int32_t eq_mve_nibble_dot(const int8_t *x, const int32_t *block, int32_t c, int32_t n)
{
    const int8_t *const w = (const int8_t *)(block + 4);
    int32_t sum = block[c];
    for (int32_t k = 0; k < n; k++) {
        const int32_t byte = w[k / 16 * 32 + 16 * (c & 1) + k % 16], low = ((byte & 15) ^ 8) - 8;
        sum += x[k] * (c < 2 ? low : (byte - low) / 16);
    }
    return sum;
}
#endif

/* Inner products of n >= 1 elements with four output channels, added to their biases. Returns where the block's multipliers are. */
static inline const int32_t *eq_mve_nibble_dots1(eq_mve_i32x4 sums[1], const int8_t *x, const int32_t *block, int32_t n)
{
#if EQ_MVE
    const int8_t *w = (const int8_t *)(block + 4);
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    __asm__ volatile("dlstp.8 lr, %6\n1:\n"
                     "vldrb.8 q0, [%4], #16\n"
                     "vldrb.8 q1, [%5], #32\n"
                     "vmladava.s8 %2, q0, q1\n"
                     "vshl.i8 q1, q1, #4\n"
                     "vmladava.s8 %0, q0, q1\n"
                     "vldrb.8 q2, [%5, #-16]\n"
                     "vmladava.s8 %3, q0, q2\n"
                     "vshl.i8 q2, q2, #4\n"
                     "vmladava.s8 %1, q0, q2\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(a2), "+Te"(a3), "+r"(x), "+r"(w)
                     : "r"(n)
                     : "q0", "q1", "q2", "lr", "memory");
    sums[0] = eq_mve_nibble_sums(block, eq_mve_join4(a0, a1, a2 - (a0 >> 4), a3 - (a1 >> 4)));
    return (const int32_t *)(const void *)w;
#else
    for (int32_t i = 0; i < 4; i++) {
        sums[0].lane[i] = eq_mve_nibble_dot(x, block, i, n);
    }
    return block + 4 + (n + 15) / 16 * 8;
#endif
}

/* The same of three rows. */
static inline const int32_t *eq_mve_nibble_dots3(eq_mve_i32x4 sums[3], const int8_t *x0, const int8_t *x1, const int8_t *x2, const int32_t *block, int32_t n)
{
#if EQ_MVE
    const int8_t *const w = (const int8_t *)(block + 4);
    int32_t even[6], odd[6]; /* channels 0 and 2, 1 and 3 */
    eq_mve_i32x4 v0, v1, v2; /* made at once (volatile), for fourteen registers do not hold twelve sums */
    eq_mve_nibble_dots3x2(even, x0, x1, x2, w, n);
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v0) : "r"(even[0]), "r"(even[3]));
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v1) : "r"(even[1]), "r"(even[4]));
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v2) : "r"(even[2]), "r"(even[5]));
    const int8_t *const end = eq_mve_nibble_dots3x2(odd, x0, x1, x2, w + 16, n) - 16;
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v0) : "r"(odd[0]), "r"(odd[3]));
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v1) : "r"(odd[1]), "r"(odd[4]));
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v2) : "r"(odd[2]), "r"(odd[5]));
    sums[0] = eq_mve_nibble_sums(block, v0), sums[1] = eq_mve_nibble_sums(block, v1), sums[2] = eq_mve_nibble_sums(block, v2);
    return (const int32_t *)(const void *)end;
#else
    eq_mve_nibble_dots1(sums, x0, block, n);
    eq_mve_nibble_dots1(sums + 1, x1, block, n);
    return eq_mve_nibble_dots1(sums + 2, x2, block, n);
#endif
}

/* Sixteen weights, of which a byte holds two, the first in its low half. */
static inline eq_mve_i8x16 eq_mve_nibbles16(const uint8_t *from)
{
#if EQ_MVE
    const uint16x8_t bytes = vldrbq_u16(from);
    const uint16x8_t first = vandq_u16(vshlq_n_u16(bytes, 4), vdupq_n_u16(0xf0)), second = vandq_u16(vshlq_n_u16(bytes, 8), vdupq_n_u16(0xf000));
    return vshrq_n_s8(vreinterpretq_s8_u16(vorrq_u16(first, second)), 4);
#else
    eq_mve_i8x16 v;
    for (int32_t i = 0; i < 16; i++) {
        v.lane[i] = (int8_t)eq_nibble(from, i);
    }
    return v;
#endif
}

#endif
