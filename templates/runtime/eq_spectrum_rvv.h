/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Windows, energies of bands and cosine transforms on integers with RISC-V vectors, for any VLEN; plain C where they are absent. */
#ifndef EQ_SPECTRUM_RVV_H
#define EQ_SPECTRUM_RVV_H

#include "eq_fft.h"
#include "eq_rvv.h"

/* A number of as many bits as the largest magnitude of n >= 1 int16. */
static inline int32_t eq_rvv_loudest_s16(const int16_t *x, int32_t n)
{
    int32_t any = 0;
#if EQ_RVV
    int32_t vl, t;
    __asm__ volatile(
        "vsetvli %[vl], zero, e16, m1, ta, ma\n\t"
        "vmv.s.x v0, zero\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e16, m4, ta, ma\n\t"
        "vle16.v v4, (%[x])\n\t"
        "slli %[t], %[vl], 1\n\t"
        "add %[x], %[x], %[t]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vsra.vi v8, v4, 15\n\t"
        "vxor.vv v4, v4, v8\n\t"
        "vredor.vs v0, v4, v0\n\t"
        "bnez %[n], 1b\n\t"
        "vmv.x.s %[any], v0\n\t"
        : [vl] "=&r"(vl), [t] "=&r"(t), [x] "+&r"(x), [n] "+&r"(n), [any] "=&r"(any)
        :
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        any |= x[i] ^ (x[i] >> 15);
    }
#endif
    return any;
}

/* The same of n >= 1 int32. */
static inline uint32_t eq_rvv_loudest_s32(const int32_t *x, int32_t n)
{
    uint32_t any = 0;
#if EQ_RVV
    int32_t vl, t;
    __asm__ volatile(
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.s.x v0, zero\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e32, m4, ta, ma\n\t"
        "vle32.v v4, (%[x])\n\t"
        "slli %[t], %[vl], 2\n\t"
        "add %[x], %[x], %[t]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vsra.vi v8, v4, 31\n\t"
        "vxor.vv v4, v4, v8\n\t"
        "vredor.vs v0, v4, v0\n\t"
        "bnez %[n], 1b\n\t"
        "vmv.x.s %[any], v0\n\t"
        : [vl] "=&r"(vl), [t] "=&r"(t), [x] "+&r"(x), [n] "+&r"(n), [any] "=&r"(any)
        :
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        any |= (uint32_t)(x[i] ^ (x[i] >> 31));
    }
#endif
    return any;
}

/* n >= 1 samples shifted left, times weights: high words. */
static inline void eq_rvv_windowed(int32_t *y, const int16_t *x, const int32_t *w, int32_t shift, int32_t n)
{
#if EQ_RVV
    int32_t vl, t;
    __asm__ volatile(
        "1:\n\t"
        "vsetvli %[vl], %[n], e32, m4, ta, ma\n\t"
        "vle16.v v8, (%[x])\n\t"
        "vle32.v v4, (%[w])\n\t"
        "vsext.vf2 v0, v8\n\t"
        "slli %[t], %[vl], 1\n\t"
        "add %[x], %[x], %[t]\n\t"
        "slli %[t], %[vl], 2\n\t"
        "add %[w], %[w], %[t]\n\t"
        "vsll.vx v0, v0, %[shift]\n\t"
        "vmulh.vv v0, v0, v4\n\t"
        "vse32.v v0, (%[y])\n\t"
        "add %[y], %[y], %[t]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [t] "=&r"(t), [x] "+&r"(x), [w] "+&r"(w), [y] "+&r"(y), [n] "+&r"(n)
        : [shift] "r"(shift)
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        y[i] = eq_high_word(eq_shift_left(x[i], shift), w[i]);
    }
#endif
}

/* The sum of weights times the squared magnitudes of n >= 1 bins, real and imaginary parts in turn, shifted left; high words of squares.
 * Vectors sum up the high words of products, and both halves of the low ones. */
static inline uint64_t eq_rvv_band_energy(const int32_t *bins, const int16_t *w, int32_t shift, int32_t n)
{
    uint64_t total = 0;
#if EQ_RVV
    int32_t vl, t;
    uint32_t high, middle, low;
    __asm__ volatile(
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.s.x v0, zero\n\t"
        "vmv.s.x v1, zero\n\t"
        "vmv.s.x v2, zero\n\t"
        "lui %[low], 16\n\t"
        "addi %[low], %[low], -1\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e32, m2, ta, ma\n\t"
        "vlseg2e32.v v4, (%[bins])\n\t"
        "vle16.v v3, (%[w])\n\t"
        "slli %[t], %[vl], 3\n\t"
        "add %[bins], %[bins], %[t]\n\t"
        "slli %[t], %[vl], 1\n\t"
        "add %[w], %[w], %[t]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vzext.vf2 v8, v3\n\t"
        "vsll.vx v4, v4, %[shift]\n\t"
        "vsll.vx v6, v6, %[shift]\n\t"
        "vmulh.vv v4, v4, v4\n\t"
        "vmulh.vv v6, v6, v6\n\t"
        "vadd.vv v4, v4, v6\n\t"
        "vmulhu.vv v6, v4, v8\n\t"
        "vmul.vv v4, v4, v8\n\t"
        "vredsum.vs v0, v6, v0\n\t"
        "vsrl.vi v6, v4, 16\n\t"
        "vand.vx v4, v4, %[low]\n\t"
        "vredsum.vs v1, v6, v1\n\t"
        "vredsum.vs v2, v4, v2\n\t"
        "bnez %[n], 1b\n\t"
        "vmv.x.s %[high], v0\n\t"
        "vmv.x.s %[middle], v1\n\t"
        "vmv.x.s %[low], v2\n\t"
        : [vl] "=&r"(vl), [t] "=&r"(t), [bins] "+&r"(bins), [w] "+&r"(w), [n] "+&r"(n), [high] "=&r"(high), [middle] "=&r"(middle), [low] "=&r"(low)
        : [shift] "r"(shift)
        : EQ_RVV_CLOBBERED);
    total = ((uint64_t)high << 32) + ((uint64_t)middle << 16) + low;
#else
    for (int32_t i = 0; i < n; i++) {
        const int32_t re = eq_shift_left(bins[2 * i], shift), im = eq_shift_left(bins[2 * i + 1], shift);
        const uint32_t energy = (uint32_t)(eq_high_word(re, re) + eq_high_word(im, im)), weight = (uint32_t)w[i];
        total += (uint64_t)energy * weight;
    }
#endif
    return total;
}

/* sum + the products of two rows of n int16, 1 <= n < 2^15; vectors sum up both halves of products. */
static inline int64_t eq_rvv_long_products(int64_t sum, const int16_t *x, const int16_t *w, int32_t n)
{
#if EQ_RVV
    int32_t vl, t, high;
    uint32_t low;
    __asm__ volatile(
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.s.x v0, zero\n\t"
        "vmv.s.x v1, zero\n\t"
        "lui %[low], 16\n\t"
        "addi %[low], %[low], -1\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e16, m2, ta, ma\n\t"
        "vle16.v v4, (%[x])\n\t"
        "vle16.v v6, (%[w])\n\t"
        "slli %[t], %[vl], 1\n\t"
        "add %[x], %[x], %[t]\n\t"
        "add %[w], %[w], %[t]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vwmul.vv v8, v4, v6\n\t"
        "vsetvli zero, zero, e32, m4, ta, ma\n\t"
        "vsra.vi v12, v8, 16\n\t"
        "vand.vx v8, v8, %[low]\n\t"
        "vredsum.vs v0, v12, v0\n\t"
        "vredsum.vs v1, v8, v1\n\t"
        "bnez %[n], 1b\n\t"
        "vmv.x.s %[high], v0\n\t"
        "vmv.x.s %[low], v1\n\t"
        : [vl] "=&r"(vl), [t] "=&r"(t), [x] "+&r"(x), [w] "+&r"(w), [n] "+&r"(n), [high] "=&r"(high), [low] "=&r"(low)
        :
        : EQ_RVV_CLOBBERED);
    return sum + (int64_t)high * 65536 + (int64_t)low;
#else
    for (int32_t i = 0; i < n; i++) {
        sum += x[i] * w[i];
    }
    return sum;
#endif
}

#endif
