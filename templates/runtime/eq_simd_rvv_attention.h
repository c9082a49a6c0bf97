/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Attention with RISC-V vectors, four queries at a time; see eq_simd_rvv.h. */
#ifndef EQ_SIMD_RVV_ATTENTION_H
#define EQ_SIMD_RVV_ATTENTION_H

#include "eq_simd_rvv.h"

/* How sums of weighted values of four queries begin and end. The comments are offsets, which the assembly counts on. */
typedef struct {
    int32_t start[4];  /* 0 */
    int32_t factor[4]; /* 16 */
    int32_t shift[4];  /* 32: to the right */
    int8_t *y[4];      /* 48 */
    int32_t offset;    /* 64 */
} eq_rvv_queries_t;

/* Products of four rows of int16, element by element in turn, with `keys` rows of int8 that lie `step` bytes apart, all `depth` long:
 * row r's from scores + r * keys on. */
static inline void eq_rvv_scores4(int32_t *scores, const int16_t *q, const int8_t *k, int32_t step, int32_t keys, int32_t depth)
{
#if EQ_RVV
    int32_t vl, n = keys, d, t0, t1, t2, t3;
    const int16_t *x;
    const int8_t *column;
    __asm__ volatile(
        "1:\n\t"
        "vsetvli %[vl], %[n], e32, m4, ta, ma\n\t"
        "vmv.v.i v0, 0\n\t"
        "vmv.v.i v4, 0\n\t"
        "vmv.v.i v8, 0\n\t"
        "vmv.v.i v12, 0\n\t"
        "mv %[x], %[q]\n\t"
        "mv %[column], %[k]\n\t"
        "mv %[d], %[depth]\n\t"
        "vsetvli zero, zero, e16, m2, ta, ma\n\t"
        "2:\n\t"
        "vlse8.v v16, (%[column]), %[step]\n\t"
        "lh %[t0], 0(%[x])\n\t"
        "lh %[t1], 2(%[x])\n\t"
        "lh %[t2], 4(%[x])\n\t"
        "lh %[t3], 6(%[x])\n\t"
        "vsext.vf2 v18, v16\n\t"
        "addi %[column], %[column], 1\n\t"
        "addi %[x], %[x], 8\n\t"
        "addi %[d], %[d], -1\n\t"
        "vwmacc.vx v0, %[t0], v18\n\t"
        "vwmacc.vx v4, %[t1], v18\n\t"
        "vwmacc.vx v8, %[t2], v18\n\t"
        "vwmacc.vx v12, %[t3], v18\n\t"
        "bnez %[d], 2b\n\t"
        "vsetvli zero, zero, e32, m4, ta, ma\n\t"
        "slli %[t0], %[keys], 2\n\t"
        "vse32.v v0, (%[s])\n\t"
        "add %[t1], %[s], %[t0]\n\t"
        "vse32.v v4, (%[t1])\n\t"
        "add %[t1], %[t1], %[t0]\n\t"
        "vse32.v v8, (%[t1])\n\t"
        "add %[t1], %[t1], %[t0]\n\t"
        "vse32.v v12, (%[t1])\n\t"
        "slli %[t0], %[vl], 2\n\t"
        "add %[s], %[s], %[t0]\n\t"
        "mul %[t0], %[vl], %[step]\n\t"
        "add %[k], %[k], %[t0]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [n] "+&r"(n), [d] "=&r"(d), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), [x] "=&r"(x),
          [column] "=&r"(column), [s] "+&r"(scores), [k] "+&r"(k)
        : [q] "r"(q), [step] "r"(step), [keys] "r"(keys), [depth] "r"(depth)
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t r = 0; r < 4; r++) {
        for (int32_t j = 0; j < keys; j++) {
            int32_t score = 0;
            for (int32_t i = 0; i < depth; i++) {
                score += q[4 * i + r] * k[j * step + i];
            }
            *scores++ = score;
        }
    }
#endif
}

/* Weights of n >= 1 scores as int16, every fourth of `to`: powers of two by 256 fractions, 0 from `limit` below the largest on.
 * Returns the largest; their sum goes to `sum`. */
static inline int32_t eq_rvv_weights(
    int16_t *to, int32_t *sum, const int32_t *from, int32_t n, int32_t limit, int32_t rate, int32_t rate_shift, const uint16_t *fractions)
{
    int32_t largest = from[0];
#if EQ_RVV
    int32_t vl, left = n, t;
    const int32_t *at = from;
    __asm__ volatile(
        "vsetvli %[vl], zero, e32, m1, ta, ma\n\t"
        "vmv.s.x v24, %[largest]\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[left], e32, m4, ta, ma\n\t"
        "vle32.v v4, (%[at])\n\t"
        "slli %[t], %[vl], 2\n\t"
        "add %[at], %[at], %[t]\n\t"
        "sub %[left], %[left], %[vl]\n\t"
        "vredmax.vs v24, v4, v24\n\t"
        "bnez %[left], 1b\n\t"
        "vmv.x.s %[largest], v24\n\t"
        "vmv.s.x v28, zero\n\t"
        "2:\n\t"
        "vsetvli %[vl], %[n], e32, m4, ta, ma\n\t"
        "vle32.v v4, (%[from])\n\t"
        "vrsub.vx v4, v4, %[largest]\n\t"
        "vsub.vx v8, v4, %[limit]\n\t"
        "vsra.vi v8, v8, 31\n\t"
        "vand.vv v4, v4, v8\n\t"
        "vmul.vx v4, v4, %[rate]\n\t"
        "vsrl.vx v4, v4, %[shift]\n\t"
        "li %[t], 255\n\t"
        "vand.vx v12, v4, %[t]\n\t"
        "vadd.vv v12, v12, v12\n\t"
        "vsrl.vi v4, v4, 8\n\t"
        "vsetvli zero, zero, e16, m2, ta, ma\n\t"
        "vluxei32.v v16, (%[fractions]), v12\n\t"
        "vsetvli zero, zero, e32, m4, ta, ma\n\t"
        "vzext.vf2 v20, v16\n\t"
        "vsrl.vv v20, v20, v4\n\t"
        "vand.vv v20, v20, v8\n\t"
        "vredsum.vs v28, v20, v28\n\t"
        "vsetvli zero, zero, e16, m2, ta, ma\n\t"
        "vnsrl.wi v16, v20, 0\n\t"
        "li %[t], 8\n\t"
        "vsse16.v v16, (%[to]), %[t]\n\t"
        "slli %[t], %[vl], 2\n\t"
        "add %[from], %[from], %[t]\n\t"
        "slli %[t], %[vl], 3\n\t"
        "add %[to], %[to], %[t]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "bnez %[n], 2b\n\t"
        "vsetvli zero, %[vl], e32, m1, ta, ma\n\t"
        "vmv.x.s %[t], v28\n\t"
        : [vl] "=&r"(vl), [left] "+&r"(left), [t] "=&r"(t), [at] "+&r"(at), [largest] "+&r"(largest), [n] "+&r"(n), [from] "+&r"(from),
          [to] "+&r"(to)
        : [limit] "r"(limit), [rate] "r"(rate), [shift] "r"(rate_shift), [fractions] "r"(fractions)
        : EQ_RVV_CLOBBERED);
    *sum = t;
#else
    for (int32_t j = 1; j < n; j++) {
        largest = from[j] > largest ? from[j] : largest;
    }
    *sum = 0;
    for (int32_t j = 0; j < n; j++) {
        const int32_t below = largest - from[j], counts = (below - limit) >> 31;
        const uint32_t t = ((uint32_t)(below & counts) * (uint32_t)rate) >> rate_shift;
        const int32_t weight = (fractions[t & 255u] >> (t >> 8)) & counts;
        *sum += weight;
        to[4 * j] = (int16_t)weight;
    }
#endif
    return largest;
}

#if EQ_RVV
/* Sums d of a query as int8 to y; v16 and v18 are free. */
#define EQ_RVV_QUERY(d, factor, shift, y) \
    "lw %[t0], " factor "(%[job])\n\t" \
    "lw %[t1], " shift "(%[job])\n\t" \
    "vmulh.vx " d ", " d ", %[t0]\n\t" \
    "vssra.vx " d ", " d ", %[t1]\n\t" \
    "lw %[t0], " y "(%[job])\n\t" \
    "lw %[t1], 64(%[job])\n\t" \
    "add %[t0], %[t0], %[o]\n\t" \
    "vsetvli zero, zero, e16, m2, ta, ma\n\t" \
    "vnclip.wi v16, " d ", 0\n\t" \
    "vsadd.vx v16, v16, %[t1]\n\t" \
    "vsetvli zero, zero, e8, m1, ta, ma\n\t" \
    "vnclip.wi v18, v16, 0\n\t" \
    "vse8.v v18, (%[t0])\n\t" \
    "vsetvli zero, zero, e32, m4, ta, ma\n\t"
#endif

/* Sums of `keys` rows of int8 that lie `step` bytes apart, weighed by int16 that lie four in a row, one per query; stored as `job` says. */
static inline void eq_rvv_weighed4(const eq_rvv_queries_t *job, const int16_t *weights, const int8_t *v, int32_t step, int32_t keys, int32_t width)
{
#if EQ_RVV
    int32_t vl, o = 0, n = width, d, t0, t1, t2, t3;
    const int16_t *w;
    const int8_t *row;
    __asm__ volatile(
        "csrwi vxrm, 0\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e32, m4, ta, ma\n\t"
        "lw %[t0], 0(%[job])\n\t"
        "lw %[t1], 4(%[job])\n\t"
        "lw %[t2], 8(%[job])\n\t"
        "lw %[t3], 12(%[job])\n\t"
        "vmv.v.x v0, %[t0]\n\t"
        "vmv.v.x v4, %[t1]\n\t"
        "vmv.v.x v8, %[t2]\n\t"
        "vmv.v.x v12, %[t3]\n\t"
        "mv %[w], %[weights]\n\t"
        "add %[row], %[v], %[o]\n\t"
        "mv %[d], %[keys]\n\t"
        "vsetvli zero, zero, e16, m2, ta, ma\n\t"
        "2:\n\t"
        "vle8.v v16, (%[row])\n\t"
        "lh %[t0], 0(%[w])\n\t"
        "lh %[t1], 2(%[w])\n\t"
        "lh %[t2], 4(%[w])\n\t"
        "lh %[t3], 6(%[w])\n\t"
        "vsext.vf2 v18, v16\n\t"
        "add %[row], %[row], %[step]\n\t"
        "addi %[w], %[w], 8\n\t"
        "addi %[d], %[d], -1\n\t"
        "vwmacc.vx v0, %[t0], v18\n\t"
        "vwmacc.vx v4, %[t1], v18\n\t"
        "vwmacc.vx v8, %[t2], v18\n\t"
        "vwmacc.vx v12, %[t3], v18\n\t"
        "bnez %[d], 2b\n\t"
        "vsetvli zero, zero, e32, m4, ta, ma\n\t"
        EQ_RVV_QUERY("v0", "16", "32", "48")
        EQ_RVV_QUERY("v4", "20", "36", "52")
        EQ_RVV_QUERY("v8", "24", "40", "56")
        EQ_RVV_QUERY("v12", "28", "44", "60")
        "add %[o], %[o], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [o] "+&r"(o), [n] "+&r"(n), [d] "=&r"(d), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3),
          [w] "=&r"(w), [row] "=&r"(row)
        : [job] "r"(job), [weights] "r"(weights), [v] "r"(v), [step] "r"(step), [keys] "r"(keys)
        : EQ_RVV_CLOBBERED);
#else
    for (int32_t r = 0; r < 4; r++) {
        for (int32_t i = 0; i < width; i++) {
            int32_t sum = job->start[r];
            for (int32_t j = 0; j < keys; j++) {
                sum += weights[4 * j + r] * v[j * step + i];
            }
            job->y[r][i] = (int8_t)eq_clamp(eq_requantize_single(sum, job->factor[r], job->shift[r]) + job->offset, -128, 127);
        }
    }
#endif
}

#endif
