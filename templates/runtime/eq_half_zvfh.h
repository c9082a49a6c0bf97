/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products of halves by RISC-V vectors (Zvfh), for any VLEN; plain C where they are absent.
 *
 * A vector runs over outputs, so that every sum is taken in order. A product of halves is exact, so that the fused operation
 * gives the same bits. Halves lie in e16,m4, sums in e32,m8; each function is one assembly statement per vector, as those of
 * eq_simd_rvv.h are. */
#ifndef EQ_HALF_ZVFH_H
#define EQ_HALF_ZVFH_H

#include "eq_f16.h"
#include "eq_rvv.h"

#if defined(__riscv_zvfh) && __riscv_xlen == 32
#define EQ_ZVFH 1
#define EQ_ZVFH_HALF_SUMS(from) \
    "vsetvli %[vl], %[n], e32, m8, ta, ma\n\tvle32.v v0, (" from ")\n\tvsetvli zero, zero, e16, m4, ta, ma\n\t"
#define EQ_ZVFH_HALF_STORE_SUMS "vsetvli zero, zero, e32, m8, ta, ma\n\tvse32.v v0, (%[sums])\n\t"
/* `left` elements from `from` on, four at a time; `element` takes one: its place, registers for its weights. */
#define EQ_ZVFH_HALF_LOOP(element) \
    "addi %[left], %[left], -4\n\t" \
    "bltz %[left], 2f\n" \
    "1:\n\t" element("0", "v8", "v24") element("2", "v12", "v26") element("4", "v16", "v28") element("6", "v20", "v30") \
    "addi %[from], %[from], 8\n\t" \
    "addi %[left], %[left], -4\n\t" \
    "bgez %[left], 1b\n" \
    "2:\n\t" \
    "addi %[left], %[left], 4\n\t" \
    "beqz %[left], 4f\n" \
    "3:\n\t" element("0", "v8", "v24") \
    "addi %[from], %[from], 2\n\t" \
    "addi %[left], %[left], -1\n\t" \
    "bnez %[left], 3b\n" \
    "4:\n\t"
#else
#define EQ_ZVFH 0
#endif

/* sums[c] = start[c] + x[0] * w[c] + x[1] * w[step + c] + ... of `count` elements, for `n` channels. */
static inline void eq_zvfh_half_products(
    const float *start, float *sums, int32_t n, const uint16_t *x, const uint16_t *w, int32_t step, int32_t count)
{
#if EQ_ZVFH
#define EQ_ZVFH_HALF_ELEMENT(at, v, bytes) \
    "flh %[f], " at "(%[from])\n\tvle16.v " v ", (%[v])\n\tadd %[v], %[v], %[step]\n\tvfwmacc.vf v0, %[f], " v "\n\t"
    for (int32_t vl; n > 0; n -= vl, start += vl, sums += vl, w += vl) {
        const uint16_t *from = x, *v = w;
        int32_t left = count;
        float f;
        __asm__ volatile(
            EQ_ZVFH_HALF_SUMS("%[start]")
            EQ_ZVFH_HALF_LOOP(EQ_ZVFH_HALF_ELEMENT)
            EQ_ZVFH_HALF_STORE_SUMS
            : [vl] "=&r"(vl), [from] "+&r"(from), [v] "+&r"(v), [left] "+&r"(left), [f] "=&f"(f)
            : [n] "r"(n), [start] "r"(start), [sums] "r"(sums), [step] "r"(2 * step)
            : EQ_RVV_CLOBBERED);
    }
#undef EQ_ZVFH_HALF_ELEMENT
#else
    for (int32_t c = 0; c < n; c++) {
        float sum = start[c];
        for (int32_t k = 0; k < count; k++) {
            sum = eq_add_product(eq_half_input(x[k]), eq_half_weight(w + k * step + c), sum);
        }
        sums[c] = sum;
    }
#endif
}

/* sums[c] = start[c] + scale[c] * (x[0] * w[c] + x[1] * w[step + c] + ...) of `count` elements, for `n` channels. */
static inline void eq_zvfh_byte_products(
    const float *start, float *sums, int32_t n, const uint16_t *x, const int8_t *w, int32_t step, int32_t count, const float *scale)
{
#if EQ_ZVFH
#define EQ_ZVFH_BYTE_ELEMENT(at, v, bytes) \
    "flh %[f], " at "(%[from])\n\tvle8.v " bytes ", (%[v])\n\tadd %[v], %[v], %[step]\n\tvsext.vf2 " v ", " bytes "\n\t" \
    "vfcvt.f.x.v " v ", " v "\n\tvfwmacc.vf v0, %[f], " v "\n\t"
    for (int32_t vl; n > 0; n -= vl, start += vl, sums += vl, w += vl, scale += vl) {
        const uint16_t *from = x;
        const int8_t *v = w;
        int32_t left = count;
        float f;
        __asm__ volatile(
            "vsetvli %[vl], %[n], e32, m8, ta, ma\n\tvmv.v.i v0, 0\n\tvsetvli zero, zero, e16, m4, ta, ma\n\t"
            EQ_ZVFH_HALF_LOOP(EQ_ZVFH_BYTE_ELEMENT)
            "vsetvli zero, zero, e32, m8, ta, ma\n\tvle32.v v8, (%[scale])\n\tvle32.v v16, (%[start])\n\t"
            "vfmul.vv v0, v0, v8\n\tvfadd.vv v0, v0, v16\n\tvse32.v v0, (%[sums])\n\t"
            : [vl] "=&r"(vl), [from] "+&r"(from), [v] "+&r"(v), [left] "+&r"(left), [f] "=&f"(f)
            : [n] "r"(n), [start] "r"(start), [sums] "r"(sums), [step] "r"(step), [scale] "r"(scale)
            : EQ_RVV_CLOBBERED);
    }
#undef EQ_ZVFH_BYTE_ELEMENT
#else
    for (int32_t c = 0; c < n; c++) {
        float sum = 0;
        for (int32_t k = 0; k < count; k++) {
            sum = eq_add_product(eq_float_from_half(x[k]), (float)w[k * step + c], sum);
        }
        sums[c] = start[c] + scale[c] * sum;
    }
#endif
}

/* sums[c] = start[c] + x[taps[0] + c] * w[taps[1] + c] + x[taps[2] + c] * w[taps[3] + c] + ... of `count` taps. */
static inline void eq_zvfh_half_depthwise(
    const float *start, float *sums, int32_t n, const uint16_t *x, const uint16_t *w, const int32_t *taps, int32_t count)
{
#if EQ_ZVFH
    for (int32_t vl; n > 0; n -= vl, start += vl, sums += vl, x += vl, w += vl) {
        const int32_t *tap = taps;
        int32_t left = count, a, b;
        __asm__ volatile(
            EQ_ZVFH_HALF_SUMS("%[start]")
            "beqz %[left], 2f\n"
            "1:\n\t"
            "lw %[a], 0(%[tap])\n\t"
            "lw %[b], 4(%[tap])\n\t"
            "addi %[tap], %[tap], 8\n\t"
            "slli %[a], %[a], 1\n\t"
            "slli %[b], %[b], 1\n\t"
            "add %[a], %[a], %[x]\n\t"
            "add %[b], %[b], %[w]\n\t"
            "vle16.v v8, (%[a])\n\t"
            "vle16.v v12, (%[b])\n\t"
            "addi %[left], %[left], -1\n\t"
            "vfwmacc.vv v0, v8, v12\n\t"
            "bnez %[left], 1b\n"
            "2:\n\t"
            EQ_ZVFH_HALF_STORE_SUMS
            : [vl] "=&r"(vl), [tap] "+&r"(tap), [left] "+&r"(left), [a] "=&r"(a), [b] "=&r"(b)
            : [n] "r"(n), [start] "r"(start), [sums] "r"(sums), [x] "r"(x), [w] "r"(w)
            : EQ_RVV_CLOBBERED);
    }
#else
    for (int32_t c = 0; c < n; c++) {
        float sum = start[c];
        for (int32_t t = 0; t < count; t++) {
            sum = eq_add_product(eq_half_input(x[taps[2 * t] + c]), eq_half_weight(w + taps[2 * t + 1] + c), sum);
        }
        sums[c] = sum;
    }
#endif
}

/* Sums rounded to halves between two limits given as eq_half_order; INT16_MIN and INT16_MAX are none. */
static inline void eq_zvfh_half_outputs(uint16_t *y, const float *sums, int32_t n, int32_t low, int32_t high)
{
#if EQ_ZVFH
#define EQ_ZVFH_HALF_ORDER "vsra.vi v12, v8, 15\n\tvand.vx v12, v12, %[mask]\n\tvxor.vv v8, v8, v12\n\t"
    for (int32_t vl; n > 0; n -= vl, y += vl, sums += vl) {
        __asm__ volatile(
            EQ_ZVFH_HALF_SUMS("%[sums]")
            "vfncvt.f.f.w v8, v0\n\t"
            EQ_ZVFH_HALF_ORDER
            "vmax.vx v8, v8, %[low]\n\t"
            "vmin.vx v8, v8, %[high]\n\t"
            EQ_ZVFH_HALF_ORDER
            "vse16.v v8, (%[y])\n\t"
            : [vl] "=&r"(vl)
            : [n] "r"(n), [sums] "r"(sums), [y] "r"(y), [mask] "r"(0x7fff), [low] "r"(low), [high] "r"(high)
            : EQ_RVV_CLOBBERED);
    }
#undef EQ_ZVFH_HALF_ORDER
#else
    for (int32_t c = 0; c < n; c++) {
        y[c] = eq_half_clamp(eq_half_from_float(sums[c]), low, high);
    }
#endif
}

#endif
