/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Products of two matrices that are both inputs, by RISC-V vectors: the assembly of eq_simd_rvv.h, or plain C without vectors. */
#ifndef EQ_SIMD_RVV_MATRIX_H
#define EQ_SIMD_RVV_MATRIX_H

#include "eq_simd_rvv_products.h"

/* Rows times the matrix at `p.c.weights`, whose columns are the channels: `p.c.bias` has where their sums start, `p.c.multiplier` and
 * `p.c.shift` one value for all. start[r], with eq_rvv_pairs of the depth, is added to all sums of row r. */
typedef struct {
    eq_rvv_product_t p;
    int32_t start[4]; /* 84 */
} eq_rvv_matrix_t;

/* Two products of -128 with -128 do not fit int16, but fit less one: pairs of elements, and those that stand alone, are summed up from -1 on.
 * How many there are. */
static inline int32_t eq_rvv_pairs(int32_t depth)
{
    return EQ_RVV ? depth / 8 * 4 + depth % 8 : 0;
}

#if EQ_RVV

typedef char eq_rvv_matrix_offsets_required[offsetof(eq_rvv_matrix_t, start) == 84 ? 1 : -1];

/* One multiplier and one shift for all channels. */
#define EQ_RVV_ONE_MULTIPLIER(A) \
    "lw %[a], 8(%[j])\n\t" \
    "lw %[a], 0(%[a])\n\t" \
    "vmv.v.x " A ", %[a]\n\t"
#define EQ_RVV_ONE_SHIFT(A, A8) \
    "lw %[a], 12(%[j])\n\t" \
    "lb %[a], 0(%[a])\n\t" \
    "vmv.v.x " A ", %[a]\n\t"
#define EQ_RVV_HIGH_MUL_ONE(d, A, B) "vmulh.vx " d ", " d ", %[a]\n\t"
#define EQ_RVV_SHIFT_ROUNDED_ONE(d, A, B) "vssra.vx " d ", " d ", %[a]\n\t"
#define EQ_RVV_STAGE_SINGLE_ONE(EACH, A, A8, B) \
    "lw %[a], 8(%[j])\n\t" \
    "lw %[a], 0(%[a])\n\t" EACH(EQ_RVV_HIGH_MUL_ONE, A, B) \
    "lw %[a], 12(%[j])\n\t" \
    "lb %[a], 0(%[a])\n\t" EACH(EQ_RVV_SHIFT_ROUNDED_ONE, A, B)
#define EQ_RVV_STAGE_SINGLE_LEFT_ONE(EACH, A, A8, B) \
    "lw %[t0], 28(%[j])\n\t" EACH(EQ_RVV_SHIFT_LEFT, A, B) EQ_RVV_STAGE_SINGLE_ONE(EACH, A, A8, B)
#define EQ_RVV_STAGE_TFLM_ONE(...) EQ_RVV_STAGE_TFLM_BY(EQ_RVV_ONE_MULTIPLIER, EQ_RVV_ONE_SHIFT, __VA_ARGS__)
#define EQ_RVV_STAGE_TFLM_LEFT_ONE(...) EQ_RVV_STAGE_TFLM_LEFT_BY(EQ_RVV_ONE_MULTIPLIER, EQ_RVV_ONE_SHIFT, __VA_ARGS__)

#define EQ_RVV_CHOOSE_ONE(kind, ASM) /* as EQ_RVV_CHOOSE_STAGE */ \
    if ((kind) == EQ_RVV_SINGLE) { \
        ASM(EQ_RVV_STAGE_SINGLE_ONE); \
    } else if ((kind) == EQ_RVV_SINGLE_LEFT) { \
        ASM(EQ_RVV_STAGE_SINGLE_LEFT_ONE); \
    } else if ((kind) == EQ_RVV_TFLM) { \
        ASM(EQ_RVV_STAGE_TFLM_ONE); \
    } else { \
        ASM(EQ_RVV_STAGE_TFLM_LEFT_ONE); \
    }

#define EQ_RVV_ROW_START(sums, at) \
    "lw %[a], " at "(%[j])\n\t" \
    "vadd.vx " sums ", " sums ", %[a]\n\t"
#define EQ_RVV_FROM_LESS_ONE(d) "vmv.v.i " d ", -1\n\t"
#define EQ_RVV_DEPTH(K, DRAIN, MOVE) /* EQ_RVV_PIECES of one piece; %[k] is where a row's blocks end */ \
    "lw %[k], 36(%[j])\n\t" \
    "slli %[k], %[k], 3\n\t" \
    "add %[k], %[k], %[x0]\n\t" \
    "beq %[k], %[x0], 3f\n\t" \
    "2:\n\t" \
    K("0") K("1") DRAIN K("2") K("3") DRAIN K("4") K("5") DRAIN K("6") K("7") DRAIN \
    MOVE("addi", "8") \
    "bne %[k], %[x0], 2b\n\t" \
    "3:\n\t" \
    "lw %[k], 40(%[j])\n\t" \
    "beqz %[k], 5f\n\t" \
    "4:\n\t" \
    K("0") DRAIN \
    MOVE("addi", "1") \
    "addi %[k], %[k], -1\n\t" \
    "bnez %[k], 4b\n\t" \
    "5:\n\t"

#define EQ_RVV_MATRIX_K4(at) EQ_RVV_K4(EQ_RVV_MAC, at)
#define EQ_RVV_MATRIX_RESET4 \
    EQ_RVV_FROM_LESS_ONE("v16") EQ_RVV_FROM_LESS_ONE("v18") EQ_RVV_FROM_LESS_ONE("v20") EQ_RVV_FROM_LESS_ONE("v22") \
    "vsetvli zero, zero, e8, m1, ta, ma\n\t"
#define EQ_RVV_MATRIX_DRAIN4 \
    "vsetvli zero, zero, e16, m2, ta, ma\n\t" \
    "vwadd.wv v0, v0, v16\n\t" \
    "vwadd.wv v4, v4, v18\n\t" \
    "vwadd.wv v8, v8, v20\n\t" \
    "vwadd.wv v12, v12, v22\n\t" \
    EQ_RVV_MATRIX_RESET4
#define EQ_RVV_MATRIX4(STAGE) \
    EQ_RVV_ASM4_OF( \
        "vsetvli zero, zero, e32, m4, ta, ma\n\t" \
        EQ_RVV_ROW_START("v0", "84") EQ_RVV_ROW_START("v4", "88") EQ_RVV_ROW_START("v8", "92") EQ_RVV_ROW_START("v12", "96") \
        "vsetvli zero, zero, e16, m2, ta, ma\n\t" \
        EQ_RVV_MATRIX_RESET4 EQ_RVV_DEPTH(EQ_RVV_MATRIX_K4, EQ_RVV_MATRIX_DRAIN4, EQ_RVV_MOVE4), STAGE)

#define EQ_RVV_MATRIX_K2(at) EQ_RVV_K2(EQ_RVV_MAC, at)
#define EQ_RVV_MATRIX_RESET2 \
    EQ_RVV_FROM_LESS_ONE("v16") EQ_RVV_FROM_LESS_ONE("v20") \
    "vsetvli zero, zero, e8, m2, ta, ma\n\t"
#define EQ_RVV_MATRIX_DRAIN2 \
    "vsetvli zero, zero, e16, m4, ta, ma\n\t" \
    "vwadd.wv v0, v0, v16\n\t" \
    "vwadd.wv v8, v8, v20\n\t" \
    EQ_RVV_MATRIX_RESET2
#define EQ_RVV_MATRIX2(STAGE) \
    EQ_RVV_ASM2_OF( \
        "vsetvli zero, zero, e32, m8, ta, ma\n\t" \
        EQ_RVV_ROW_START("v0", "84") EQ_RVV_ROW_START("v8", "88") \
        "vsetvli zero, zero, e16, m4, ta, ma\n\t" \
        EQ_RVV_MATRIX_RESET2 EQ_RVV_DEPTH(EQ_RVV_MATRIX_K2, EQ_RVV_MATRIX_DRAIN2, EQ_RVV_MOVE2), STAGE)

#define EQ_RVV_MATRIX_K1(at) EQ_RVV_K1(EQ_RVV_MAC, at)
#define EQ_RVV_MATRIX_RESET1 /* all lanes */ \
    EQ_RVV_FROM_LESS_ONE("v16") EQ_RVV_FROM_LESS_ONE("v20") \
    "vsetvli zero, %[vl], e8, m4, ta, ma\n\t"
#define EQ_RVV_MATRIX_DRAIN1 \
    "vsetvli %[a], zero, e16, m4, ta, ma\n\t" \
    "vwadd.wv v0, v0, v16\n\t" \
    "vwadd.wv v8, v8, v20\n\t" \
    EQ_RVV_MATRIX_RESET1
#define EQ_RVV_MATRIX1(STAGE) \
    EQ_RVV_ASM_ROW_OF( \
        "vsetvli %[a], zero, e32, m8, ta, ma\n\t" \
        EQ_RVV_ROW_START("v0", "84") "vadd.vx v8, v8, %[a]\n\t" \
        "vsetvli %[a], zero, e16, m4, ta, ma\n\t" \
        EQ_RVV_MATRIX_RESET1 EQ_RVV_DEPTH(EQ_RVV_MATRIX_K1, EQ_RVV_MATRIX_DRAIN1, EQ_RVV_MOVE1), \
        EQ_RVV_WIDE_FINISH(STAGE) EQ_RVV_STORE_INT8)

#else
static inline void eq_rvv_matrix_plain(const eq_rvv_matrix_t *m, int32_t rows, int kind)
{
    const eq_rvv_product_t *const job = &m->p;
    const int32_t depth = 8 * job->blocks + job->rest;
    for (int32_t i = 0; i < job->channels * rows; i++) {
        const int32_t r = i % rows, o = i / rows;
        int32_t sum = job->c.bias[o] + m->start[r];
        for (int32_t k = 0; k < depth; k++) {
            sum += job->x[r][k] * job->c.weights[k * job->channels + o];
        }
        const eq_rvv_channels_t one = { 0, 0, job->c.multiplier, job->c.shift, job->c.offset, job->c.low, job->c.high, job->c.left };
        job->y[r][o] = eq_rvv_output(&one, kind, 0, sum);
    }
}
#endif

/* Four rows times all columns, 16 at a time or more. */
static inline void eq_rvv_matrix4(const eq_rvv_matrix_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, x1, x2, x3, t0, t1, t2, t3;
    for (int32_t o = 0; o < job->p.channels; o += vl) {
        EQ_RVV_CHOOSE_ONE(kind, EQ_RVV_MATRIX4)
    }
#else
    eq_rvv_matrix_plain(job, 4, kind);
#endif
}

/* Two rows, 32 columns at a time or more. */
static inline void eq_rvv_matrix2(const eq_rvv_matrix_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, x1, t0, t1;
    for (int32_t o = 0; o < job->p.channels; o += vl) {
        EQ_RVV_CHOOSE_ONE(kind, EQ_RVV_MATRIX2)
    }
#else
    eq_rvv_matrix_plain(job, 2, kind);
#endif
}

/* One row, 64 columns at a time or more. */
static inline void eq_rvv_matrix1(const eq_rvv_matrix_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, t0, n0, n1;
    for (int32_t o = 0; o < job->p.channels; o += vl) {
        EQ_RVV_CHOOSE_ONE(kind, EQ_RVV_MATRIX1)
    }
#else
    eq_rvv_matrix_plain(job, 1, kind);
#endif
}

/* sums[i] = start + factor * (the sum over `depth` > 0 rows of w[k][i]), for n > 0 columns. Sums of 255 rows fit int16. */
static inline void eq_rvv_column_sums(int32_t *sums, const int8_t *w, int32_t n, int32_t depth, int32_t start, int32_t factor)
{
#if EQ_RVV
    const int32_t columns = n;
    int32_t vl, k, left, n0, n1;
    const int8_t *from;
    __asm__ volatile(
        "1:\n\t"
        "vsetvli %[n0], zero, e32, m8, ta, ma\n\t"
        "vmv.v.i v16, 0\n\t"
        "vmv.v.i v24, 0\n\t"
        "mv %[from], %[w]\n\t"
        "mv %[left], %[depth]\n\t"
        "2:\n\t"
        "li %[k], 255\n\t"
        "bleu %[k], %[left], 3f\n\t"
        "mv %[k], %[left]\n\t"
        "3:\n\t"
        "sub %[left], %[left], %[k]\n\t"
        "vsetvli %[vl], zero, e16, m8, ta, ma\n\t"
        "vmv.v.i v8, 0\n\t"
        "vsetvli %[vl], %[n], e8, m4, ta, ma\n\t"
        "4:\n\t"
        "vle8.v v0, (%[from])\n\t"
        "add %[from], %[from], %[columns]\n\t"
        "addi %[k], %[k], -1\n\t"
        "vwadd.wv v8, v8, v0\n\t"
        "bnez %[k], 4b\n\t"
        "vsetvli %[n1], zero, e16, m4, ta, ma\n\t"
        "vwadd.wv v16, v16, v8\n\t"
        "vwadd.wv v24, v24, v12\n\t"
        "bnez %[left], 2b\n\t"
        "bleu %[n0], %[vl], 5f\n\t"
        "mv %[n0], %[vl]\n\t"
        "5:\n\t"
        "sub %[n1], %[vl], %[n0]\n\t"
        "vsetvli zero, %[n0], e32, m8, ta, ma\n\t"
        "vmul.vx v16, v16, %[factor]\n\t"
        "vadd.vx v16, v16, %[start]\n\t"
        "vse32.v v16, (%[sums])\n\t"
        "slli %[k], %[n0], 2\n\t"
        "add %[sums], %[sums], %[k]\n\t"
        "vsetvli zero, %[n1], e32, m8, ta, ma\n\t"
        "vmul.vx v24, v24, %[factor]\n\t"
        "vadd.vx v24, v24, %[start]\n\t"
        "vse32.v v24, (%[sums])\n\t"
        "slli %[k], %[n1], 2\n\t"
        "add %[sums], %[sums], %[k]\n\t"
        "add %[w], %[w], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [k] "=&r"(k), [left] "=&r"(left), [n0] "=&r"(n0), [n1] "=&r"(n1), [from] "=&r"(from), [n] "+&r"(n), [w] "+&r"(w),
          [sums] "+&r"(sums)
        : [columns] "r"(columns), [depth] "r"(depth), [start] "r"(start), [factor] "r"(factor)
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (int32_t k = 0; k < depth; k++) {
            sum += w[k * n + i];
        }
        sums[i] = start + factor * sum;
    }
#endif
}

/* The sum of n > 0 int8. */
static inline int32_t eq_rvv_total(const int8_t *x, int32_t n)
{
    int32_t sum = 0;
#if EQ_RVV
    int32_t vl;
    __asm__ volatile(
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.v.i v0, 0\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e16, m8, ta, ma\n\t"
        "vle8.v v24, (%[x])\n\t"
        "add %[x], %[x], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vsext.vf2 v16, v24\n\t"
        "vwredsum.vs v0, v16, v0\n\t"
        "bnez %[n], 1b\n\t"
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.x.s %[sum], v0\n\t"
        : [vl] "=&r"(vl), [x] "+&r"(x), [n] "+&r"(n), [sum] "+&r"(sum)
        :
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t i = 0; i < n; i++) {
        sum += x[i];
    }
#endif
    return sum;
}

#endif
