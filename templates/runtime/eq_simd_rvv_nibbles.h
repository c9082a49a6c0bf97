/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Inner products with weights of four bits by RISC-V vectors, or in plain C without vectors.
 *
 * A row of bytes of layout "nibble_pairs" holds the weights of two elements of each channel, the first in the low half. Of eight elements
 * the products fit int16, so that sums of 32 bits take them eight at a time. */
#ifndef EQ_SIMD_RVV_NIBBLES_H
#define EQ_SIMD_RVV_NIBBLES_H

#include "eq_simd_rvv_products.h"

#if EQ_RVV
/* The weights of two elements: the first ones in `v`, the second ones in `second`. */
#define EQ_RVV_TWO_WEIGHTS(v, second) \
    EQ_RVV_WEIGHTS(v) \
    "vsra.vi " second ", " v ", 4\n\t" \
    "vsll.vi " v ", " v ", 4\n\t" \
    "vsra.vi " v ", " v ", 4\n\t"

/* All pieces, as EQ_RVV_PIECES has them: TWO(OP, a, b) adds elements a and b of each row, K(OP, at) one whose weights are bytes. */
#define EQ_RVV_NIBBLES(TWO, K, DRAIN, MOVE) \
    "1:\n\t" \
    "lw %[k], 36(%[j])\n\t" \
    "beqz %[k], 3f\n\t" \
    "2:\n\t" \
    TWO(EQ_RVV_MUL, "0", "1") TWO(EQ_RVV_MAC, "2", "3") TWO(EQ_RVV_MAC, "4", "5") TWO(EQ_RVV_MAC, "6", "7") DRAIN \
    MOVE("addi", "8") \
    "addi %[k], %[k], -1\n\t" \
    "bnez %[k], 2b\n\t" \
    EQ_RVV_PIECES_REST(K, DRAIN, MOVE)

#define EQ_RVV_TWO1(OP, first, second) \
    EQ_RVV_TWO_WEIGHTS("v24", "v28") \
    EQ_RVV_ELEMENT("t0", "x0", first) OP("v16", "v24", "t0") \
    EQ_RVV_ELEMENT("t0", "x0", second) EQ_RVV_MAC("v16", "v28", "t0")
#define EQ_RVV_TWO2(OP, first, second) \
    EQ_RVV_TWO_WEIGHTS("v24", "v26") \
    EQ_RVV_ELEMENT("t0", "x0", first) EQ_RVV_ELEMENT("t1", "x1", first) OP("v16", "v24", "t0") OP("v20", "v24", "t1") \
    EQ_RVV_ELEMENT("t0", "x0", second) EQ_RVV_ELEMENT("t1", "x1", second) EQ_RVV_MAC("v16", "v26", "t0") EQ_RVV_MAC("v20", "v26", "t1")
#define EQ_RVV_TWO4(OP, first, second) \
    EQ_RVV_TWO_WEIGHTS("v24", "v25") \
    EQ_RVV_ELEMENT("t0", "x0", first) EQ_RVV_ELEMENT("t1", "x1", first) EQ_RVV_ELEMENT("t2", "x2", first) EQ_RVV_ELEMENT("t3", "x3", first) \
    OP("v16", "v24", "t0") OP("v18", "v24", "t1") OP("v20", "v24", "t2") OP("v22", "v24", "t3") \
    EQ_RVV_ELEMENT("t0", "x0", second) EQ_RVV_ELEMENT("t1", "x1", second) EQ_RVV_ELEMENT("t2", "x2", second) EQ_RVV_ELEMENT("t3", "x3", second) \
    EQ_RVV_MAC("v16", "v25", "t0") EQ_RVV_MAC("v18", "v25", "t1") EQ_RVV_MAC("v20", "v25", "t2") EQ_RVV_MAC("v22", "v25", "t3")

#define EQ_RVV_ASM1_NIBBLES(STAGE) \
    EQ_RVV_ASM_ROW_OF(EQ_RVV_NIBBLES(EQ_RVV_TWO1, EQ_RVV_K1, EQ_RVV_WIDE_DRAIN, EQ_RVV_MOVE1), EQ_RVV_WIDE_FINISH(STAGE) EQ_RVV_STORE_INT8)
#define EQ_RVV_ASM2_NIBBLES(STAGE) EQ_RVV_ASM2_OF(EQ_RVV_NIBBLES(EQ_RVV_TWO2, EQ_RVV_K2, EQ_RVV_DRAIN2, EQ_RVV_MOVE2), STAGE)
#define EQ_RVV_ASM4_NIBBLES(STAGE) EQ_RVV_ASM4_OF(EQ_RVV_NIBBLES(EQ_RVV_TWO4, EQ_RVV_K4, EQ_RVV_DRAIN4, EQ_RVV_MOVE4), STAGE)
#else
/* The weight of element k of a piece, of the channel that `w` points to. */
static inline int32_t eq_rvv_nibble(const eq_rvv_product_t *job, const int8_t *w, int32_t k)
{
    if (k >= 8 * job->blocks) {
        return w[(k - 4 * job->blocks) * job->channels];
    }
    const int32_t byte = w[k / 2 * job->channels], low = byte & 15;
    return k % 2 ? (byte - low) / 16 : (low ^ 8) - 8;
}

static inline void eq_rvv_nibble_product_plain(const eq_rvv_product_t *job, int32_t rows, int kind)
{
    for (int32_t o = 0, n = 64; o < job->channels; o += n) {
        int8_t y[4][64];
        n = job->channels - o < n ? job->channels - o : n;
        for (int32_t i = 0; i < n * rows; i++) {
            const int8_t *x = job->x[i % rows], *w = job->c.weights + o + i / rows;
            int32_t sum = job->c.bias[o + i / rows];
            for (int32_t piece = job->pieces; piece > 0; piece--, x += job->pitch, w += (4 * job->blocks + job->rest) * job->channels) {
                for (int32_t k = 0; k < 8 * job->blocks + job->rest; k++) {
                    sum += *x++ * eq_rvv_nibble(job, w, k);
                }
            }
            y[i % rows][i / rows] = eq_rvv_output(&job->c, kind, o + i / rows, sum);
        }
        for (int32_t i = 0; i < n * rows; i++) {
            job->y[i % rows][o + i / rows] = y[i % rows][i / rows];
        }
    }
}
#endif

/* Four rows times all channels, 16 at a time or more. The rows are read before the outputs of these channels are written. */
static inline void eq_rvv_nibble_product4(const eq_rvv_product_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, x1, x2, x3, t0, t1, t2, t3;
    for (int32_t o = 0; o < job->channels; o += vl) {
        EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM4_NIBBLES)
    }
#else
    eq_rvv_nibble_product_plain(job, 4, kind);
#endif
}

/* Two rows, 32 channels at a time or more. */
static inline void eq_rvv_nibble_product2(const eq_rvv_product_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, x1, t0, t1;
    for (int32_t o = 0; o < job->channels; o += vl) {
        EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM2_NIBBLES)
    }
#else
    eq_rvv_nibble_product_plain(job, 2, kind);
#endif
}

/* One row, 64 channels at a time or more. */
static inline void eq_rvv_nibble_product1(const eq_rvv_product_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, t0, n0, n1;
    for (int32_t o = 0; o < job->channels; o += vl) {
        EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM1_NIBBLES)
    }
#else
    eq_rvv_nibble_product_plain(job, 1, kind);
#endif
}

#endif
