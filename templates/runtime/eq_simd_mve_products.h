/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Inner products with MVE, and what gathers for them; plain C where the compiler builds for another computer. */
#ifndef EQ_SIMD_MVE_PRODUCTS_H
#define EQ_SIMD_MVE_PRODUCTS_H

#include "eq_simd_mve.h"

/* `columns` groups of n (1 to 8) int8, `step` bytes apart: each is spread over planes of `plane` bytes, at most 9362, `pitch`
 * bytes after the one before. */
static inline void eq_mve_spread(int8_t *to, int32_t plane, int32_t pitch, const int8_t *from, int32_t step, int32_t n, int32_t columns)
{
#if EQ_MVE
    const uint16x8_t at = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)plane);
    for (; columns > 0; columns--, from += step, to += pitch) {
        __asm__ volatile("dlstp.16 lr, %2\n1:\n"
                         "vldrb.s16 q0, [%0]\n"
                         "vstrb.16 q0, [%1, %q3]\n"
                         "letp lr, 1b"
                         :
                         : "l"(from), "r"(to), "r"(n), "w"(at)
                         : "q0", "lr", "memory");
    }
#else
    for (; columns > 0; columns--, from += step, to += pitch) {
        for (int32_t i = 0; i < n; i++) {
            to[i * plane] = from[i];
        }
    }
#endif
}

/* n >= 0 bytes from one place to another that does not overlap it. */
static inline void eq_mve_copy(int8_t *to, const int8_t *from, int32_t n)
{
#if EQ_MVE
    __asm__ volatile("wlstp.8 lr, %2, 2f\n1:\n"
                     "vldrb.8 q0, [%1], #16\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n2:"
                     : "+r"(to), "+r"(from)
                     : "r"(n)
                     : "q0", "lr", "memory");
#else
    for (int32_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
#endif
}

/* `rows` >= 1 rows of n >= 1 bytes, `pitch` bytes apart, to contiguous memory that they do not overlap. */
static inline void eq_mve_copy_rows(int8_t *to, const int8_t *from, int32_t rows, int32_t pitch, int32_t n)
{
#if EQ_MVE
    const int8_t *source;
    int8_t *end;
    __asm__ volatile("1:\n"
                     "mov %3, %1\n"
                     "mov %4, %0\n"
                     "dlstp.8 lr, %6\n2:\n"
                     "vldrb.8 q0, [%3], #16\n"
                     "vstrb.8 q0, [%4], #16\n"
                     "letp lr, 2b\n"
                     "add %1, %5\n"
                     "add %0, %6\n"
                     "subs %2, #1\n"
                     "bne 1b"
                     : "+r"(to), "+r"(from), "+r"(rows), "=&r"(source), "=&r"(end)
                     : "r"(pitch), "r"(n)
                     : "q0", "lr", "cc", "memory");
#else
    for (; rows > 0; rows--, from += pitch, to += n) {
        eq_mve_copy(to, from, n);
    }
#endif
}

/* n >= 0 bytes of one value. */
static inline void eq_mve_fill(int8_t *to, int8_t value, int32_t n)
{
#if EQ_MVE
    __asm__ volatile("vdup.8 q0, %1\n"
                     "wlstp.8 lr, %2, 2f\n1:\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n2:"
                     : "+r"(to)
                     : "r"(value), "r"(n)
                     : "q0", "lr", "memory");
#else
    for (int32_t i = 0; i < n; i++) {
        to[i] = value;
    }
#endif
}

#if EQ_MVE
/* Four int32 in registers as a vector. */
static inline eq_mve_i32x4 eq_mve_join4(int32_t a0, int32_t a1, int32_t a2, int32_t a3)
{
    eq_mve_i32x4 v;
    __asm__("vmov %q0[2], %q0[0], %1, %2\n"
            "vmov %q0[3], %q0[1], %3, %4"
            : "=&w"(v)
            : "r"(a0), "r"(a2), "r"(a1), "r"(a3));
    return v;
}
#else
/* The inner product of n elements with channel c of a block, added to its bias. */
static inline int32_t eq_mve_dot(const int8_t *x, const int32_t *block, int32_t c, int32_t n)
{
    const int8_t *const w = (const int8_t *)(block + 4);
    int32_t sum = block[c / 2 + c % 2 * 2];
    for (int32_t k = 0; k < n; k++) {
        sum += x[k] * w[k / 16 * 64 + 16 * c + k % 16];
    }
    return sum;
}
#endif

/* Inner products of n >= 1 elements with four output channels, added to their biases. Returns where the block's multipliers are. */
static inline const int32_t *eq_mve_dots1(eq_mve_i32x4 sums[1], const int8_t *x, const int32_t *block, int32_t n)
{
#if EQ_MVE
    const int8_t *w = (const int8_t *)(block + 4);
    int32_t a0 = block[0], a1 = block[2], a2 = block[1], a3 = block[3];
    __asm__ volatile("dlstp.8 lr, %6\n1:\n"
                     "vldrb.8 q0, [%4], #16\n"
                     "vldrb.8 q1, [%5], #64\n"
                     "vmladava.s8 %0, q0, q1\n"
                     "vldrb.8 q2, [%5, #-48]\n"
                     "vmladava.s8 %1, q0, q2\n"
                     "vldrb.8 q1, [%5, #-32]\n"
                     "vmladava.s8 %2, q0, q1\n"
                     "vldrb.8 q2, [%5, #-16]\n"
                     "vmladava.s8 %3, q0, q2\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(a2), "+Te"(a3), "+r"(x), "+r"(w)
                     : "r"(n)
                     : "q0", "q1", "q2", "lr", "memory");
    sums[0] = eq_mve_join4(a0, a1, a2, a3);
    return (const int32_t *)(const void *)w;
#else
    for (int32_t i = 0; i < 4; i++) {
        sums[0].lane[i] = eq_mve_dot(x, block, i, n);
    }
    return block + 4 + (n + 15) / 16 * 16;
#endif
}

#if EQ_MVE
/* Inner products of three rows with the channels whose weights lie at `w` and 32 bytes further, added to bias[0] and bias[1].
 * Returns the end of the weights. */
static inline const int8_t *eq_mve_dots3x2(int32_t a[6], const int32_t *bias, const int8_t *x0, const int8_t *x1, const int8_t *x2, const int8_t *w, int32_t n)
{
    int32_t a0 = bias[0], a1 = a0, a2 = a0, b0 = bias[1], b1 = b0, b2 = b0;
    register int32_t count __asm__("lr") = n; /* takes no other register: a frame pointer must fit, too */
    __asm__ volatile("dlstp.8 lr, lr\n1:\n"
                     "vldrb.8 q3, [%9], #64\n"
                     "vldrb.8 q0, [%6], #16\n"
                     "vmladava.s8 %0, q0, q3\n"
                     "vldrb.8 q1, [%7], #16\n"
                     "vmladava.s8 %1, q1, q3\n"
                     "vldrb.8 q2, [%8], #16\n"
                     "vmladava.s8 %2, q2, q3\n"
                     "vldrb.8 q3, [%9, #-32]\n"
                     "vmladava.s8 %3, q0, q3\n"
                     "vmladava.s8 %4, q1, q3\n"
                     "vmladava.s8 %5, q2, q3\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(a2), "+Te"(b0), "+Te"(b1), "+Te"(b2), "+r"(x0), "+r"(x1), "+r"(x2), "+r"(w), "+r"(count)
                     :
                     : "q0", "q1", "q2", "q3", "memory");
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = b0, a[4] = b1, a[5] = b2;
    return w;
}
#endif

/* The same of three rows. */
static inline const int32_t *eq_mve_dots3(eq_mve_i32x4 sums[3], const int8_t *x0, const int8_t *x1, const int8_t *x2, const int32_t *block, int32_t n)
{
#if EQ_MVE
    const int8_t *const w = (const int8_t *)(block + 4);
    int32_t even[6], odd[6]; /* channels 0 and 2, 1 and 3 */
    eq_mve_i32x4 v0, v1, v2; /* made at once (volatile), for fourteen registers do not hold twelve sums */
    eq_mve_dots3x2(even, block, x0, x1, x2, w, n);
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v0) : "r"(even[0]), "r"(even[3]));
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v1) : "r"(even[1]), "r"(even[4]));
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v2) : "r"(even[2]), "r"(even[5]));
    const int8_t *const end = eq_mve_dots3x2(odd, block + 2, x0, x1, x2, w + 16, n) - 16;
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v0) : "r"(odd[0]), "r"(odd[3]));
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v1) : "r"(odd[1]), "r"(odd[4]));
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v2) : "r"(odd[2]), "r"(odd[5]));
    sums[0] = v0, sums[1] = v1, sums[2] = v2;
    return (const int32_t *)(const void *)end;
#else
    eq_mve_dots1(sums, x0, block, n);
    eq_mve_dots1(sums + 1, x1, block, n);
    return eq_mve_dots1(sums + 2, x2, block, n);
#endif
}

#if EQ_MVE
/* Inner products of two rows with the channels whose weights lie at `w` and 32 bytes further, added to bias[0] and bias[1]. Returns the end of
 * the weights. */
static inline const int8_t *eq_mve_dots2x2(int32_t a[4], const int32_t *bias, const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t n)
{
    int32_t a0 = bias[0], a1 = a0, b0 = bias[1], b1 = b0;
    __asm__ volatile("dlstp.8 lr, %7\n1:\n"
                     "vldrb.8 q2, [%6], #64\n"
                     "vldrb.8 q0, [%4], #16\n"
                     "vmladava.s8 %0, q0, q2\n"
                     "vldrb.8 q1, [%5], #16\n"
                     "vmladava.s8 %1, q1, q2\n"
                     "vldrb.8 q2, [%6, #-32]\n"
                     "vmladava.s8 %2, q0, q2\n"
                     "vmladava.s8 %3, q1, q2\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(b0), "+Te"(b1), "+r"(x0), "+r"(x1), "+r"(w)
                     : "r"(n)
                     : "q0", "q1", "q2", "lr", "memory");
    a[0] = a0, a[1] = a1, a[2] = b0, a[3] = b1;
    return w;
}
#endif

/* Inner products of two rows with four output channels. */
static inline const int32_t *eq_mve_dots2(eq_mve_i32x4 sums[2], const int8_t *x0, const int8_t *x1, const int32_t *block, int32_t n)
{
#if EQ_MVE
    const int8_t *const w = (const int8_t *)(block + 4);
    int32_t even[4], odd[4]; /* channels 0 and 2, 1 and 3 */
    eq_mve_dots2x2(even, block, x0, x1, w, n);
    const int8_t *const end = eq_mve_dots2x2(odd, block + 2, x0, x1, w + 16, n) - 16;
    sums[0] = eq_mve_join4(even[0], odd[0], even[2], odd[2]);
    sums[1] = eq_mve_join4(even[1], odd[1], even[3], odd[3]);
    return (const int32_t *)(const void *)end;
#else
    eq_mve_dots1(sums, x0, block, n);
    return eq_mve_dots1(sums + 1, x1, block, n);
#endif
}

/* Inner products of sixteen weights with four windows of sixteen bytes, each of which begins `step` bytes after the one before. */
static inline eq_mve_i32x4 eq_mve_windows4(const int8_t *x, int32_t step, eq_mve_i8x16 w)
{
#if EQ_MVE
    const int32_t a0 = vmladavq_s8(vldrbq_s8(x), w), a1 = vmladavq_s8(vldrbq_s8(x + step), w);
    const int32_t a2 = vmladavq_s8(vldrbq_s8(x + 2 * step), w), a3 = vmladavq_s8(vldrbq_s8(x + 3 * step), w);
    return eq_mve_join4(a0, a1, a2, a3);
#else
    eq_mve_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = 0;
        for (int32_t k = 0; k < 16; k++) {
            v.lane[i] += x[i * step + k] * w.lane[k];
        }
    }
    return v;
#endif
}

#if EQ_MVE
/* Inner products of n >= 1 weights with two windows. */
static inline void eq_mve_wide_windows2(int32_t a[2], const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t n)
{
    int32_t a0 = 0, a1 = 0;
    __asm__ volatile("dlstp.8 lr, %5\n1:\n"
                     "vldrb.8 q0, [%4], #16\n"
                     "vldrb.8 q1, [%2], #16\n"
                     "vmladava.s8 %0, q0, q1\n"
                     "vldrb.8 q2, [%3], #16\n"
                     "vmladava.s8 %1, q0, q2\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+r"(x0), "+r"(x1), "+r"(w)
                     : "r"(n)
                     : "q0", "q1", "q2", "lr", "memory");
    a[0] = a0, a[1] = a1;
}
#endif

/* Inner products of n >= 1 weights with four windows, each of which begins `step` bytes after the one before. */
static inline eq_mve_i32x4 eq_mve_wide_windows4(const int8_t *x, int32_t step, const int8_t *w, int32_t n)
{
#if EQ_MVE
    int32_t low[2], high[2];
    eq_mve_wide_windows2(low, x, x + step, w, n);
    eq_mve_wide_windows2(high, x + 2 * step, x + 3 * step, w, n);
    return eq_mve_join4(low[0], low[1], high[0], high[1]);
#else
    eq_mve_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = 0;
        for (int32_t k = 0; k < n; k++) {
            v.lane[i] += x[i * step + k] * w[k];
        }
    }
    return v;
#endif
}

#endif
