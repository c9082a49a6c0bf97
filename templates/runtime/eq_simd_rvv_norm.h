/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Layer normalization of int8 with RISC-V vectors; see eq_simd_rvv.h. */
#ifndef EQ_SIMD_RVV_NORM_H
#define EQ_SIMD_RVV_NORM_H

#include "eq_numerics.h"
#include "eq_rvv.h"

/* The sum of n >= 1 int8; that of their squares goes to `squares`. */
static inline int32_t eq_rvv_moments(const int8_t *x, int32_t n, int32_t *squares)
{
    int32_t sum = 0, square = 0;
#if EQ_RVV
    int32_t vl;
    __asm__ volatile(
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.s.x v0, zero\n\t"
        "vmv.s.x v1, zero\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e8, m2, ta, ma\n\t"
        "vle8.v v4, (%[x])\n\t"
        "add %[x], %[x], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vwmul.vv v8, v4, v4\n\t"
        "vsetvli zero, zero, e16, m4, ta, ma\n\t"
        "vsext.vf2 v12, v4\n\t"
        "vwredsum.vs v1, v8, v1\n\t"
        "vwredsum.vs v0, v12, v0\n\t"
        "bnez %[n], 1b\n\t"
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.x.s %[sum], v0\n\t"
        "vmv.x.s %[square], v1\n\t"
        : [vl] "=&r"(vl), [x] "+&r"(x), [n] "+&r"(n), [sum] "=&r"(sum), [square] "=&r"(square)
        :
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        sum += x[i];
        square += x[i] * x[i];
    }
#endif
    *squares = square;
    return sum;
}

/* Of n >= 1 int8 x: the rounded high word of (x * step - less) * factor, times a scale, less 16 bits, plus a bias, shifted right,
 * saturated. */
static inline void eq_rvv_normalize(
    int8_t *y, const int8_t *x, const int32_t *scales, const int32_t *biases, int32_t n, uint32_t step, uint32_t less, int32_t factor, int32_t shift)
{
#if EQ_RVV
    int32_t vl, t;
    __asm__ volatile(
        "csrwi vxrm, 2\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e32, m4, ta, ma\n\t"
        "vle8.v v20, (%[x])\n\t"
        "vle32.v v8, (%[scales])\n\t"
        "vle32.v v12, (%[biases])\n\t"
        "vsext.vf4 v0, v20\n\t"
        "slli %[t], %[vl], 2\n\t"
        "add %[scales], %[scales], %[t]\n\t"
        "add %[biases], %[biases], %[t]\n\t"
        "add %[x], %[x], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vmul.vx v0, v0, %[step]\n\t"
        "vsub.vx v0, v0, %[less]\n\t"
        "vmul.vx v4, v0, %[factor]\n\t"
        "vmulh.vx v0, v0, %[factor]\n\t"
        "vsrl.vi v4, v4, 31\n\t"
        "vadd.vv v0, v0, v4\n\t"
        "vmul.vv v4, v0, v8\n\t"
        "vmulh.vv v0, v0, v8\n\t"
        "vsrl.vi v4, v4, 16\n\t"
        "vsll.vi v0, v0, 16\n\t"
        "vadd.vv v0, v0, v4\n\t"
        "vadd.vv v0, v0, v12\n\t"
        "vsetvli zero, zero, e16, m2, ta, ma\n\t"
        "vnclip.wx v16, v0, %[shift]\n\t"
        "vsetvli zero, zero, e8, m1, ta, ma\n\t"
        "vnclip.wi v18, v16, 0\n\t"
        "vse8.v v18, (%[y])\n\t"
        "add %[y], %[y], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [t] "=&r"(t), [y] "+&r"(y), [x] "+&r"(x), [scales] "+&r"(scales), [biases] "+&r"(biases), [n] "+&r"(n)
        : [step] "r"(step), [less] "r"(less), [factor] "r"(factor), [shift] "r"(shift)
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        const int32_t normal = eq_high_mul_rounded((int32_t)((uint32_t)x[i] * step - less), factor);
        const int32_t steps = (int32_t)(((int64_t)normal * scales[i]) >> 16) + biases[i];
        y[i] = (int8_t)eq_clamp(steps >> shift, -128, 127);
    }
#endif
}

#endif
