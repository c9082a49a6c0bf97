/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* RISC-V vectors: sums and maxima of windows, and products of matrices, whose rescaling is the same for all outputs; see eq_simd_rvv.h. */
#ifndef EQ_SIMD_RVV_SUMS_H
#define EQ_SIMD_RVV_SUMS_H

#include "eq_simd_rvv_elements.h"

/* What is summed up for one output: `rows` of `columns` elements `across` apart; `down` lead from the end of a row to the next. */
typedef struct {
    int32_t rows, columns, across, down;
} eq_rvv_window_t;

/* n outputs side by side: `start` plus the elements of a window, which moves by `step` per output; then
 * rescaled. n, rows and columns > 0. */
static inline void eq_rvv_sums(
    int8_t *y, const int8_t *x, int32_t step, int32_t n, const eq_rvv_window_t *window, int32_t start, int kind, const eq_rvv_scale_t *scale)
{
#if EQ_RVV
    int32_t vl, t, r, c;
    const int8_t *from;
#define EQ_RVV_SUMS(LOAD, SCALE) \
    __asm__ volatile( \
        "csrwi vxrm, 0\n\t" \
        "1:\n\t" \
        "vsetvli %[vl], %[n], e32, m8, ta, ma\n\t" \
        "vmv.v.x v0, %[start]\n\t" \
        "mv %[from], %[x]\n\t" \
        "lw %[r], 0(%[j])\n\t" \
        "2:\n\t" \
        "lw %[c], 4(%[j])\n\t" \
        "lw %[t], 8(%[j])\n\t" \
        "3:\n\t" \
        LOAD \
        "add %[from], %[from], %[t]\n\t" \
        "vsext.vf4 v16, v8\n\t" \
        "vadd.vv v0, v0, v16\n\t" \
        "addi %[c], %[c], -1\n\t" \
        "bnez %[c], 3b\n\t" \
        "lw %[t], 12(%[j])\n\t" \
        "add %[from], %[from], %[t]\n\t" \
        "addi %[r], %[r], -1\n\t" \
        "bnez %[r], 2b\n\t" \
        SCALE("v0") EQ_RVV_STORE_NARROWED \
        "mul %[t], %[vl], %[step]\n\t" \
        "add %[x], %[x], %[t]\n\t" \
        "add %[y], %[y], %[vl]\n\t" \
        "sub %[n], %[n], %[vl]\n\t" \
        "bnez %[n], 1b\n\t" \
        : [vl] "=&r"(vl), [t] "=&r"(t), [r] "=&r"(r), [c] "=&r"(c), [from] "=&r"(from), [n] "+&r"(n), [x] "+&r"(x), [y] "+&r"(y) \
        : [j] "r"(window), [step] "r"(step), [start] "r"(start), EQ_RVV_LIMIT_OPERANDS, EQ_RVV_SCALE_OPERANDS \
        : EQ_RVV_CLOBBERED)
#define EQ_RVV_CHOOSE_STEP(SCALE) \
    if (step == 1) { \
        EQ_RVV_SUMS("vle8.v v8, (%[from])\n\t", SCALE); \
    } else { \
        EQ_RVV_SUMS("vlse8.v v8, (%[from]), %[step]\n\t", SCALE); \
    }
    if (kind == EQ_RVV_DIVIDE) {
        EQ_RVV_CHOOSE_STEP(EQ_RVV_SCALE_DIVIDE)
    } else if (kind == EQ_RVV_SINGLE) {
        EQ_RVV_CHOOSE_STEP(EQ_RVV_SCALE_SINGLE)
    } else {
        EQ_RVV_CHOOSE_STEP(EQ_RVV_SCALE_TFLM)
    }
#else
    for (; n > 0; n--, x += step) {
        const int8_t *from = x;
        int32_t sum = start;
        for (int32_t r = window->rows; r > 0; r--, from += window->down) {
            for (int32_t c = window->columns; c > 0; c--, from += window->across) {
                sum += *from;
            }
        }
        *y++ = eq_rvv_scaled(kind, sum, scale);
    }
#endif
}

/* Adds to each of n sums, which first become `start` where they are `fresh`, the elements that follow every n bytes, `count` > 0 of them. */
static inline void eq_rvv_add_rows(int32_t *sums, const int8_t *x, int32_t n, int32_t count, int32_t fresh, int32_t start)
{
#if EQ_RVV
    const int32_t across = n;
    int32_t vl, c, t;
    const int8_t *from;
    __asm__ volatile(
        "1:\n\t"
        "vsetvli %[vl], %[n], e32, m8, ta, ma\n\t"
        "vmv.v.x v0, %[start]\n\t"
        "bnez %[fresh], 2f\n\t"
        "vle32.v v0, (%[sums])\n\t"
        "2:\n\t"
        "mv %[from], %[x]\n\t"
        "mv %[c], %[count]\n\t"
        "3:\n\t"
        "vle8.v v8, (%[from])\n\t"
        "add %[from], %[from], %[across]\n\t"
        "vsext.vf4 v16, v8\n\t"
        "vadd.vv v0, v0, v16\n\t"
        "addi %[c], %[c], -1\n\t"
        "bnez %[c], 3b\n\t"
        "vse32.v v0, (%[sums])\n\t"
        "slli %[t], %[vl], 2\n\t"
        "add %[sums], %[sums], %[t]\n\t"
        "add %[x], %[x], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [c] "=&r"(c), [t] "=&r"(t), [from] "=&r"(from), [n] "+&r"(n), [x] "+&r"(x), [sums] "+&r"(sums)
        : [across] "r"(across), [count] "r"(count), [fresh] "r"(fresh), [start] "r"(start) : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = fresh ? start : sums[i];
        for (int32_t k = 0; k < count; k++) {
            sum += x[k * n + i];
        }
        sums[i] = sum;
    }
#endif
}

/* n outputs side by side: the largest element of a window, which moves by 1 per output, limited. n, rows and columns > 0. */
static inline void eq_rvv_largest(int8_t *y, const int8_t *x, int32_t n, const eq_rvv_window_t *window, int32_t low, int32_t high)
{
#if EQ_RVV
    int32_t vl, t, r, c;
    const int8_t *from;
    __asm__ volatile(
        "1:\n\t"
        "vsetvli %[vl], %[n], e8, m8, ta, ma\n\t"
        "vmv.v.x v0, %[low]\n\t"
        "mv %[from], %[x]\n\t"
        "lw %[r], 0(%[j])\n\t"
        "2:\n\t"
        "lw %[c], 4(%[j])\n\t"
        "lw %[t], 8(%[j])\n\t"
        "3:\n\t"
        "vle8.v v8, (%[from])\n\t"
        "add %[from], %[from], %[t]\n\t"
        "addi %[c], %[c], -1\n\t"
        "vmax.vv v0, v0, v8\n\t"
        "bnez %[c], 3b\n\t"
        "lw %[t], 12(%[j])\n\t"
        "add %[from], %[from], %[t]\n\t"
        "addi %[r], %[r], -1\n\t"
        "bnez %[r], 2b\n\t"
        "vmin.vx v0, v0, %[high]\n\t"
        "vse8.v v0, (%[y])\n\t"
        "add %[x], %[x], %[vl]\n\t"
        "add %[y], %[y], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [t] "=&r"(t), [r] "=&r"(r), [c] "=&r"(c), [from] "=&r"(from), [n] "+&r"(n), [x] "+&r"(x), [y] "+&r"(y)
        : [j] "r"(window), [low] "r"(low), [high] "r"(high) : EQ_RVV_CLOBBERED);
#else
    for (; n > 0; n--, x++) {
        const int8_t *from = x;
        int32_t largest = low;
        for (int32_t r = window->rows; r > 0; r--, from += window->down) {
            for (int32_t c = window->columns; c > 0; c--, from += window->across) {
                largest = *from > largest ? *from : largest;
            }
        }
        *y++ = (int8_t)(largest < high ? largest : high);
    }
#endif
}

/* One row of a matrix product: y = sum over k of (x[k] - x_zero) * (w[k][i] - w_zero), rescaled, for n > 0 columns, depth > 0. */
static inline void eq_rvv_row_times_matrix(
    int8_t *y, const int8_t *x, const int8_t *w, int32_t n, int32_t depth, int32_t x_zero, int32_t w_zero, int kind, const eq_rvv_scale_t *scale)
{
#if EQ_RVV
    const int32_t columns = n;
    int32_t vl, t, k, n0, n1;
    const int8_t *row, *from;
#define EQ_RVV_ROW_TIMES_MATRIX(SCALE) \
    __asm__ volatile( \
        "csrwi vxrm, 0\n\t" \
        "1:\n\t" \
        "vsetvli %[vl], %[n], e8, m4, ta, ma\n\t" \
        "vsetvli %[n1], zero, e32, m8, ta, ma\n\t" \
        "vmv.v.i v0, 0\n\t" \
        "vmv.v.i v8, 0\n\t" \
        "mv %[n0], %[vl]\n\t" \
        "bleu %[vl], %[n1], 2f\n\t" \
        "mv %[n0], %[n1]\n\t" \
        "2:\n\t" \
        "sub %[n1], %[vl], %[n0]\n\t" \
        "mv %[row], %[x]\n\t" \
        "mv %[from], %[w]\n\t" \
        "mv %[k], %[depth]\n\t" \
        "vsetvli zero, %[vl], e8, m4, ta, ma\n\t" \
        "3:\n\t" \
        "lb %[t], 0(%[row])\n\t" \
        "vle8.v v24, (%[from])\n\t" \
        "addi %[row], %[row], 1\n\t" \
        "add %[from], %[from], %[columns]\n\t" \
        "vwsub.vx v16, v24, %[wz]\n\t" \
        "sub %[t], %[t], %[xz]\n\t" \
        "vsetvli zero, %[n0], e16, m4, ta, ma\n\t" \
        "vwmacc.vx v0, %[t], v16\n\t" \
        "vsetvli zero, %[n1], e16, m4, ta, ma\n\t" \
        "vwmacc.vx v8, %[t], v20\n\t" \
        "addi %[k], %[k], -1\n\t" \
        "vsetvli zero, %[vl], e8, m4, ta, ma\n\t" \
        "bnez %[k], 3b\n\t" \
        "vsetvli zero, %[n0], e32, m8, ta, ma\n\t" \
        SCALE("v0") EQ_RVV_STORE_NARROWED \
        "add %[y], %[y], %[n0]\n\t" \
        "vsetvli zero, %[n1], e32, m8, ta, ma\n\t" \
        "vmv.v.v v0, v8\n\t" \
        SCALE("v0") EQ_RVV_STORE_NARROWED \
        "add %[y], %[y], %[n1]\n\t" \
        "add %[w], %[w], %[vl]\n\t" \
        "sub %[n], %[n], %[vl]\n\t" \
        "bnez %[n], 1b\n\t" \
        : [vl] "=&r"(vl), [t] "=&r"(t), [k] "=&r"(k), [n0] "=&r"(n0), [n1] "=&r"(n1), [row] "=&r"(row), [from] "=&r"(from), \
          [n] "+&r"(n), [w] "+&r"(w), [y] "+&r"(y) \
        : [x] "r"(x), [columns] "r"(columns), [depth] "r"(depth), [xz] "r"(x_zero), [wz] "r"(w_zero), EQ_RVV_LIMIT_OPERANDS, \
          EQ_RVV_SCALE_OPERANDS \
        : EQ_RVV_CLOBBERED)
    if (kind == EQ_RVV_SINGLE) {
        EQ_RVV_ROW_TIMES_MATRIX(EQ_RVV_SCALE_SINGLE);
    } else {
        EQ_RVV_ROW_TIMES_MATRIX(EQ_RVV_SCALE_TFLM);
    }
#else
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (int32_t k = 0; k < depth; k++) {
            sum += (x[k] - x_zero) * (w[k * n + i] - w_zero);
        }
        y[i] = eq_rvv_scaled(kind, sum, scale);
    }
#endif
}

#endif
