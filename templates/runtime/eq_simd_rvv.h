/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* RISC-V vectors (Zve32x of V 1.0), for any VLEN; plain C where they are absent.
 *
 * Each function is one assembly statement, so that no compiler has to know vectors and none can come between their
 * registers. vxrm is 0 (to nearest, ties up) in all of them. What they share:
 *
 *   rows 4   e8,m1  e16,m2  e32,m4: four rows of inputs times one vector of output channels
 *   rows 2   e8,m2  e16,m4  e32,m8: two rows
 *   rows 1   e8,m4  e16,m8  e32,2 x m8: one row; sums of 32 bits in two halves, v0 and v8
 *
 * Two products of int8 fit int16, so that sums of 32 bits take them in pairs. */
#ifndef EQ_SIMD_RVV_H
#define EQ_SIMD_RVV_H

#include <stddef.h>
#include <stdint.h>

#include "eq_numerics.h"
#include "eq_rvv.h"

/* How sums become int8: the rounding, and whether they are first shifted left (`left` of the operator). */
enum { EQ_RVV_SINGLE, EQ_RVV_SINGLE_LEFT, EQ_RVV_TFLM, EQ_RVV_TFLM_LEFT };

/* Weights and output stage of some channels. The comments are offsets, which the assembly counts on. */
typedef struct {
    const int8_t *weights;     /* 0: one row of channels per element of the input */
    const int32_t *bias;       /* 4 */
    const int32_t *multiplier; /* 8 */
    const int8_t *shift;       /* 12 */
    int32_t offset, low, high; /* 16, 20, 24: zero point and limits of the output */
    int32_t left;              /* 28: rounding single */
} eq_rvv_channels_t;

/* Rows of inputs times weights. A row is `pieces` of 8 * `blocks` + `rest` elements, each `pitch` elements behind the
 * end of the one before; elements of blocks are summed up in pairs, those of the rest one by one. */
typedef struct {
    eq_rvv_channels_t c;
    int32_t channels;                    /* 32 */
    int32_t blocks, rest, pieces, pitch; /* 36, 40, 44, 48 */
    const int8_t *x[4];                  /* 52 */
    int8_t *y[4];                        /* 68 */
} eq_rvv_product_t;

/* Inputs times weights channel by channel. Tap t of output i is x[taps[t] + i], or taps[t][i] where taps are addresses; the first
 * 2 * `pairs` of them are summed up in pairs, the rest one by one. `step` weights lie between two taps. */
typedef struct {
    eq_rvv_channels_t c;
    int32_t step, pairs, rest; /* 32, 36, 40 */
    const void *taps;          /* 44: int32_t, or addresses */
} eq_rvv_depthwise_t;

#if EQ_RVV

typedef char eq_rvv_offsets_required[offsetof(eq_rvv_product_t, y) == 68 && offsetof(eq_rvv_depthwise_t, taps) == 44 ? 1 : -1];

/* --- Output stages. EACH(F) does F(sum) for every register of sums; A and B are free registers of the same LMUL, A8 the
 * last quarter of A. `o` is the first channel, `o4` its offset in tables of words. --- */

#define EQ_RVV_LOAD_MULTIPLIERS(A) \
    "lw %[a], 8(%[j])\n\t" \
    "add %[a], %[a], %[o4]\n\t" \
    "vle32.v " A ", (%[a])\n\t"
#define EQ_RVV_LOAD_SHIFTS(A, A8) \
    "lw %[a], 12(%[j])\n\t" \
    "add %[a], %[a], %[o]\n\t" \
    "vle8.v " A8 ", (%[a])\n\t" \
    "vsext.vf4 " A ", " A8 "\n\t"

#define EQ_RVV_SHIFT_LEFT(d, A, B) "vsll.vx " d ", " d ", %[t0]\n\t"
#define EQ_RVV_HIGH_MUL(d, A, B) "vmulh.vv " d ", " d ", " A "\n\t"
#define EQ_RVV_DOUBLING_MUL(d, A, B) "vsmul.vv " d ", " d ", " A "\n\t"
#define EQ_RVV_SHIFT_ROUNDED(d, A, B) "vssra.vv " d ", " d ", " A "\n\t"
#define EQ_RVV_LESS_SIGN(d, A, B) \
    "vsra.vi " A ", " d ", 31\n\t" \
    "vadd.vv " d ", " d ", " A "\n\t"
#define EQ_RVV_SHIFT_LEFT_LIMITED(d, A, B) /* by A, the result limited to int32 */ \
    "vmv.v.x " B ", %[t0]\n\t" \
    "vsrl.vv " B ", " B ", " A "\n\t" \
    "vmin.vv " d ", " d ", " B "\n\t" \
    "vnot.v " B ", " B "\n\t" \
    "vmax.vv " d ", " d ", " B "\n\t" \
    "vsll.vv " d ", " d ", " A "\n\t"
#define EQ_RVV_DIVIDE_BY_POT(d, A, B) /* by 2^A, halves away from zero */ \
    "vrsub.vx " B ", " A ", zero\n\t" \
    "vand.vv " B ", " B ", " d "\n\t" \
    "vsra.vi " B ", " B ", 31\n\t" \
    "vadd.vv " d ", " d ", " B "\n\t" \
    "vssra.vv " d ", " d ", " A "\n\t"

/* M loads multipliers into A, and S shifts. */
#define EQ_RVV_STAGE_SINGLE_BY(M, S, EACH, A, A8, B) M(A) EACH(EQ_RVV_HIGH_MUL, A, B) S(A, A8) EACH(EQ_RVV_SHIFT_ROUNDED, A, B)
#define EQ_RVV_STAGE_SINGLE_LEFT_BY(M, S, EACH, A, A8, B) \
    "lw %[t0], 28(%[j])\n\t" EACH(EQ_RVV_SHIFT_LEFT, A, B) EQ_RVV_STAGE_SINGLE_BY(M, S, EACH, A, A8, B)
#define EQ_RVV_STAGE_TFLM_BY(M, S, EACH, A, A8, B) \
    M(A) EACH(EQ_RVV_DOUBLING_MUL, A, B) EACH(EQ_RVV_LESS_SIGN, A, B) S(A, A8) EACH(EQ_RVV_SHIFT_ROUNDED, A, B)
#define EQ_RVV_STAGE_TFLM_LEFT_BY(M, S, EACH, A, A8, B) \
    S(A, A8) \
    "vrsub.vx " A ", " A ", zero\n\t" \
    "vmax.vx " A ", " A ", zero\n\t" \
    "li %[t0], 0x7fffffff\n\t" \
    EACH(EQ_RVV_SHIFT_LEFT_LIMITED, A, B) M(A) EACH(EQ_RVV_DOUBLING_MUL, A, B) S(A, A8) \
    "vmax.vx " A ", " A ", zero\n\t" \
    EACH(EQ_RVV_DIVIDE_BY_POT, A, B)
#define EQ_RVV_STAGE_SINGLE(...) EQ_RVV_STAGE_SINGLE_BY(EQ_RVV_LOAD_MULTIPLIERS, EQ_RVV_LOAD_SHIFTS, __VA_ARGS__)
#define EQ_RVV_STAGE_SINGLE_LEFT(...) EQ_RVV_STAGE_SINGLE_LEFT_BY(EQ_RVV_LOAD_MULTIPLIERS, EQ_RVV_LOAD_SHIFTS, __VA_ARGS__)
#define EQ_RVV_STAGE_TFLM(...) EQ_RVV_STAGE_TFLM_BY(EQ_RVV_LOAD_MULTIPLIERS, EQ_RVV_LOAD_SHIFTS, __VA_ARGS__)
#define EQ_RVV_STAGE_TFLM_LEFT(...) EQ_RVV_STAGE_TFLM_LEFT_BY(EQ_RVV_LOAD_MULTIPLIERS, EQ_RVV_LOAD_SHIFTS, __VA_ARGS__)

/* The statement that `ASM` makes of the stage for `kind`, a literal. */
#define EQ_RVV_CHOOSE_STAGE(kind, ASM) \
    if ((kind) == EQ_RVV_SINGLE) { \
        ASM(EQ_RVV_STAGE_SINGLE); \
    } else if ((kind) == EQ_RVV_SINGLE_LEFT) { \
        ASM(EQ_RVV_STAGE_SINGLE_LEFT); \
    } else if ((kind) == EQ_RVV_TFLM) { \
        ASM(EQ_RVV_STAGE_TFLM); \
    } else { \
        ASM(EQ_RVV_STAGE_TFLM_LEFT); \
    }

/* --- Products of scalars from rows with vectors of weights at `w`, which moves by `s`. --- */

#define EQ_RVV_MUL(d, v, t) "vwmul.vx " d ", " v ", %[" t "]\n\t"
#define EQ_RVV_MAC(d, v, t) "vwmacc.vx " d ", %[" t "], " v "\n\t"
#define EQ_RVV_ELEMENT(t, x, at) "lb %[" t "], " at "(%[" x "])\n\t"
#define EQ_RVV_WEIGHTS(v) \
    "vle8.v " v ", (%[w])\n\t" \
    "add %[w], %[w], %[s]\n\t"

/* All pieces: K(OP, at) adds element `at` of each row to sums of 16 bits, DRAIN these to those of 32, MOVE(n) moves the rows. */
#define EQ_RVV_PIECES(K, DRAIN, MOVE) \
    "1:\n\t" \
    "lw %[k], 36(%[j])\n\t" \
    "beqz %[k], 3f\n\t" \
    "2:\n\t" \
    K(EQ_RVV_MUL, "0") K(EQ_RVV_MAC, "1") DRAIN K(EQ_RVV_MUL, "2") K(EQ_RVV_MAC, "3") DRAIN \
    K(EQ_RVV_MUL, "4") K(EQ_RVV_MAC, "5") DRAIN K(EQ_RVV_MUL, "6") K(EQ_RVV_MAC, "7") DRAIN \
    MOVE("addi", "8") \
    "addi %[k], %[k], -1\n\t" \
    "bnez %[k], 2b\n\t" \
    EQ_RVV_PIECES_REST(K, DRAIN, MOVE)
#define EQ_RVV_PIECES_REST(K, DRAIN, MOVE) \
    "3:\n\t" \
    "lw %[k], 40(%[j])\n\t" \
    "beqz %[k], 5f\n\t" \
    "4:\n\t" \
    K(EQ_RVV_MUL, "0") DRAIN \
    MOVE("addi", "1") \
    "addi %[k], %[k], -1\n\t" \
    "bnez %[k], 4b\n\t" \
    "5:\n\t" \
    "addi %[n], %[n], -1\n\t" \
    MOVE("add", "%[p]") \
    "bnez %[n], 1b\n\t"

/* Rows 2 and 4: one vector length for all, which the same ratio of width and LMUL keeps. */
#define EQ_RVV_START(M32) \
    "csrwi vxrm, 0\n\t" \
    "lw %[vl], 32(%[j])\n\t" \
    "sub %[vl], %[vl], %[o]\n\t" \
    "vsetvli %[vl], %[vl], e32, " M32 ", ta, ma\n\t" \
    "lw %[a], 4(%[j])\n\t" \
    "slli %[o4], %[o], 2\n\t" \
    "add %[a], %[a], %[o4]\n\t" \
    "vle32.v v0, (%[a])\n\t" \
    "lw %[w], 0(%[j])\n\t" \
    "add %[w], %[w], %[o]\n\t" \
    "lw %[s], 32(%[j])\n\t" \
    "lw %[n], 44(%[j])\n\t" \
    "lw %[p], 48(%[j])\n\t" \
    "lw %[x0], 52(%[j])\n\t" \
    "lw %[x1], 56(%[j])\n\t"

#define EQ_RVV_NARROW(d, s) "vnclip.wi " d ", " s ", 0\n\t"
#define EQ_RVV_OFFSET(d) "vsadd.vx " d ", " d ", %[a]\n\t"
#define EQ_RVV_LIMIT(d) \
    "vmax.vx " d ", " d ", %[a]\n\t" \
    "vmin.vx " d ", " d ", %[t0]\n\t"
#define EQ_RVV_LOAD_LIMITS \
    "lw %[a], 20(%[j])\n\t" \
    "lw %[t0], 24(%[j])\n\t"
#define EQ_RVV_STORE(v, y) \
    "lw %[a], " y "(%[j])\n\t" \
    "add %[a], %[a], %[o]\n\t" \
    "vse8.v " v ", (%[a])\n\t"

#define EQ_RVV_K4(OP, at) \
    EQ_RVV_ELEMENT("t0", "x0", at) EQ_RVV_ELEMENT("t1", "x1", at) EQ_RVV_ELEMENT("t2", "x2", at) EQ_RVV_ELEMENT("t3", "x3", at) \
    EQ_RVV_WEIGHTS("v24") OP("v16", "v24", "t0") OP("v18", "v24", "t1") OP("v20", "v24", "t2") OP("v22", "v24", "t3")
#define EQ_RVV_DRAIN4 \
    "vsetvli zero, zero, e16, m2, ta, ma\n\t" \
    "vwadd.wv v0, v0, v16\n\t" \
    "vwadd.wv v4, v4, v18\n\t" \
    "vwadd.wv v8, v8, v20\n\t" \
    "vwadd.wv v12, v12, v22\n\t" \
    "vsetvli zero, zero, e8, m1, ta, ma\n\t"
#define EQ_RVV_MOVE4(add, n) \
    add " %[x0], %[x0], " n "\n\t" add " %[x1], %[x1], " n "\n\t" \
    add " %[x2], %[x2], " n "\n\t" add " %[x3], %[x3], " n "\n\t"
#define EQ_RVV_EACH4(F, A, B) F("v0", A, B) F("v4", A, B) F("v8", A, B) F("v12", A, B)
#define EQ_RVV_ASM4(STAGE) EQ_RVV_ASM4_OF(EQ_RVV_PIECES(EQ_RVV_K4, EQ_RVV_DRAIN4, EQ_RVV_MOVE4), STAGE)
#define EQ_RVV_ASM4_OF(PIECES, STAGE) \
    __asm__ volatile( \
        EQ_RVV_START("m4") \
        "lw %[x2], 60(%[j])\n\t" \
        "lw %[x3], 64(%[j])\n\t" \
        "vmv.v.v v4, v0\n\t" \
        "vmv.v.v v8, v0\n\t" \
        "vmv.v.v v12, v0\n\t" \
        "vsetvli zero, zero, e8, m1, ta, ma\n\t" \
        PIECES \
        "vsetvli zero, zero, e32, m4, ta, ma\n\t" \
        STAGE(EQ_RVV_EACH4, "v16", "v19", "v20") \
        "vsetvli zero, zero, e16, m2, ta, ma\n\t" \
        "lw %[a], 16(%[j])\n\t" \
        EQ_RVV_NARROW("v16", "v0") EQ_RVV_NARROW("v18", "v4") EQ_RVV_NARROW("v20", "v8") EQ_RVV_NARROW("v22", "v12") \
        EQ_RVV_OFFSET("v16") EQ_RVV_OFFSET("v18") EQ_RVV_OFFSET("v20") EQ_RVV_OFFSET("v22") \
        "vsetvli zero, zero, e8, m1, ta, ma\n\t" \
        EQ_RVV_LOAD_LIMITS \
        EQ_RVV_NARROW("v24", "v16") EQ_RVV_NARROW("v25", "v18") EQ_RVV_NARROW("v26", "v20") EQ_RVV_NARROW("v27", "v22") \
        EQ_RVV_LIMIT("v24") EQ_RVV_LIMIT("v25") EQ_RVV_LIMIT("v26") EQ_RVV_LIMIT("v27") \
        EQ_RVV_STORE("v24", "68") EQ_RVV_STORE("v25", "72") EQ_RVV_STORE("v26", "76") EQ_RVV_STORE("v27", "80") \
        : [vl] "=&r"(vl), [a] "=&r"(a), [o4] "=&r"(o4), [w] "=&r"(w), [s] "=&r"(s), [n] "=&r"(n), [k] "=&r"(k), \
          [p] "=&r"(p), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [x3] "=&r"(x3), [t0] "=&r"(t0), [t1] "=&r"(t1), \
          [t2] "=&r"(t2), [t3] "=&r"(t3) \
        : [j] "r"(job), [o] "r"(o) \
        : EQ_RVV_CLOBBERED)

#define EQ_RVV_K2(OP, at) \
    EQ_RVV_ELEMENT("t0", "x0", at) EQ_RVV_ELEMENT("t1", "x1", at) EQ_RVV_WEIGHTS("v24") OP("v16", "v24", "t0") OP("v20", "v24", "t1")
#define EQ_RVV_DRAIN2 \
    "vsetvli zero, zero, e16, m4, ta, ma\n\t" \
    "vwadd.wv v0, v0, v16\n\t" \
    "vwadd.wv v8, v8, v20\n\t" \
    "vsetvli zero, zero, e8, m2, ta, ma\n\t"
#define EQ_RVV_MOVE2(add, n) add " %[x0], %[x0], " n "\n\t" add " %[x1], %[x1], " n "\n\t"
#define EQ_RVV_EACH2(F, A, B) F("v0", A, B) F("v8", A, B)
#define EQ_RVV_ASM2(STAGE) EQ_RVV_ASM2_OF(EQ_RVV_PIECES(EQ_RVV_K2, EQ_RVV_DRAIN2, EQ_RVV_MOVE2), STAGE)
#define EQ_RVV_ASM2_OF(PIECES, STAGE) \
    __asm__ volatile( \
        EQ_RVV_START("m8") \
        "vmv.v.v v8, v0\n\t" \
        "vsetvli zero, zero, e8, m2, ta, ma\n\t" \
        PIECES \
        "vsetvli zero, zero, e32, m8, ta, ma\n\t" \
        STAGE(EQ_RVV_EACH2, "v16", "v22", "v24") \
        "vsetvli zero, zero, e16, m4, ta, ma\n\t" \
        "lw %[a], 16(%[j])\n\t" \
        EQ_RVV_NARROW("v16", "v0") EQ_RVV_NARROW("v20", "v8") EQ_RVV_OFFSET("v16") EQ_RVV_OFFSET("v20") \
        "vsetvli zero, zero, e8, m2, ta, ma\n\t" \
        EQ_RVV_LOAD_LIMITS \
        EQ_RVV_NARROW("v24", "v16") EQ_RVV_NARROW("v26", "v20") EQ_RVV_LIMIT("v24") EQ_RVV_LIMIT("v26") \
        EQ_RVV_STORE("v24", "68") EQ_RVV_STORE("v26", "72") \
        : [vl] "=&r"(vl), [a] "=&r"(a), [o4] "=&r"(o4), [w] "=&r"(w), [s] "=&r"(s), [n] "=&r"(n), [k] "=&r"(k), \
          [p] "=&r"(p), [x0] "=&r"(x0), [x1] "=&r"(x1), [t0] "=&r"(t0), [t1] "=&r"(t1) \
        : [j] "r"(job), [o] "r"(o) \
        : EQ_RVV_CLOBBERED)

/* Row 1: `vl` channels, of which sums of the first `n0` lie in v0, of the other `n1` in v8. On entry vl is how many are left. */
#define EQ_RVV_WIDE_START \
    "csrwi vxrm, 0\n\t" \
    "vsetvli %[vl], %[vl], e8, m4, ta, ma\n\t" \
    "vsetvli %[n1], zero, e32, m8, ta, ma\n\t" \
    "mv %[n0], %[vl]\n\t" \
    "bleu %[vl], %[n1], 1f\n\t" \
    "mv %[n0], %[n1]\n\t" \
    "1:\n\t" \
    "sub %[n1], %[vl], %[n0]\n\t" \
    "lw %[a], 4(%[j])\n\t" \
    "slli %[o4], %[o], 2\n\t" \
    "add %[a], %[a], %[o4]\n\t" \
    "vsetvli zero, %[n0], e32, m8, ta, ma\n\t" \
    "vle32.v v0, (%[a])\n\t" \
    "slli %[t0], %[n0], 2\n\t" \
    "add %[a], %[a], %[t0]\n\t" \
    "vsetvli zero, %[n1], e32, m8, ta, ma\n\t" \
    "vle32.v v8, (%[a])\n\t" \
    "lw %[w], 0(%[j])\n\t" \
    "add %[w], %[w], %[o]\n\t" \
    "lw %[s], 32(%[j])\n\t" \
    "vsetvli zero, %[vl], e8, m4, ta, ma\n\t"
#define EQ_RVV_WIDE_DRAIN /* all lanes: what lies behind the last channel is not stored */ \
    "vsetvli %[a], zero, e16, m4, ta, ma\n\t" \
    "vwadd.wv v0, v0, v16\n\t" \
    "vwadd.wv v8, v8, v20\n\t" \
    "vsetvli zero, %[vl], e8, m4, ta, ma\n\t"
#define EQ_RVV_FIRST_HALF(F, A, B) F("v0", A, B)
#define EQ_RVV_SECOND_HALF(F, A, B) F("v8", A, B)
#define EQ_RVV_WIDE_STAGES(STAGE) /* int16 in v16 */ \
    "vsetvli zero, %[n0], e32, m8, ta, ma\n\t" \
    STAGE(EQ_RVV_FIRST_HALF, "v16", "v22", "v24") \
    "beqz %[n1], 6f\n\t" \
    "vsetvli zero, %[n1], e32, m8, ta, ma\n\t" \
    "slli %[t0], %[n0], 2\n\t" \
    "add %[o4], %[o4], %[t0]\n\t" \
    "add %[o], %[o], %[n0]\n\t" \
    STAGE(EQ_RVV_SECOND_HALF, "v16", "v22", "v24") \
    "sub %[o], %[o], %[n0]\n\t" \
    "6:\n\t" \
    "vsetvli zero, %[n0], e16, m4, ta, ma\n\t" \
    EQ_RVV_NARROW("v16", "v0") \
    "vsetvli zero, %[n1], e16, m4, ta, ma\n\t" \
    EQ_RVV_NARROW("v20", "v8") \
    "vsetvli zero, %[vl], e16, m8, ta, ma\n\t"
#define EQ_RVV_WIDE_FINISH(STAGE) /* int8 in v24 */ \
    EQ_RVV_WIDE_STAGES(STAGE) \
    "lw %[a], 16(%[j])\n\t" \
    EQ_RVV_OFFSET("v16") \
    "vsetvli zero, %[vl], e8, m4, ta, ma\n\t" \
    EQ_RVV_LOAD_LIMITS \
    EQ_RVV_NARROW("v24", "v16") EQ_RVV_LIMIT("v24")

#define EQ_RVV_K1(OP, at) EQ_RVV_ELEMENT("t0", "x0", at) EQ_RVV_WEIGHTS("v24") OP("v16", "v24", "t0")
#define EQ_RVV_MOVE1(add, n) add " %[x0], %[x0], " n "\n\t"
#define EQ_RVV_STORE_INT8 EQ_RVV_STORE("v24", "68")
#define EQ_RVV_STORE_INT16 \
    "lw %[a], 68(%[j])\n\t" \
    "slli %[t0], %[o], 1\n\t" \
    "add %[a], %[a], %[t0]\n\t" \
    "vse16.v v16, (%[a])\n\t"
#define EQ_RVV_ASM1(STAGE) EQ_RVV_ASM_ROW(EQ_RVV_WIDE_FINISH(STAGE) EQ_RVV_STORE_INT8)
#define EQ_RVV_ASM1_INT16(STAGE) EQ_RVV_ASM_ROW(EQ_RVV_WIDE_STAGES(STAGE) EQ_RVV_STORE_INT16)
#define EQ_RVV_ASM_ROW(FINISH) EQ_RVV_ASM_ROW_OF(EQ_RVV_PIECES(EQ_RVV_K1, EQ_RVV_WIDE_DRAIN, EQ_RVV_MOVE1), FINISH)
#define EQ_RVV_ASM_ROW_OF(PIECES, FINISH) \
    __asm__ volatile( \
        "lw %[vl], 32(%[j])\n\t" \
        "sub %[vl], %[vl], %[o]\n\t" \
        EQ_RVV_WIDE_START \
        "lw %[n], 44(%[j])\n\t" \
        "lw %[p], 48(%[j])\n\t" \
        "lw %[x0], 52(%[j])\n\t" \
        PIECES \
        FINISH \
        : [vl] "=&r"(vl), [a] "=&r"(a), [o4] "=&r"(o4), [w] "=&r"(w), [s] "=&r"(s), [n] "=&r"(n), [k] "=&r"(k), \
          [p] "=&r"(p), [x0] "=&r"(x0), [t0] "=&r"(t0), [n0] "=&r"(n0), [n1] "=&r"(n1), [o] "+&r"(o) \
        : [j] "r"(job) \
        : EQ_RVV_CLOBBERED)

#define EQ_RVV_TAP(at, product) \
    "lw %[a], " at "(%[l])\n\t" \
    EQ_RVV_WEIGHTS("v24") \
    "add %[a], %[a], %[x]\n\t" \
    "vle8.v v28, (%[a])\n\t" \
    product " v16, v24, v28\n\t"
#define EQ_RVV_ASM_DEPTHWISE(STAGE) \
    __asm__ volatile( \
        EQ_RVV_WIDE_START \
        "lw %[k], 36(%[j])\n\t" \
        "lw %[l], 44(%[j])\n\t" \
        "beqz %[k], 3f\n\t" \
        "2:\n\t" \
        EQ_RVV_TAP("0", "vwmul.vv") EQ_RVV_TAP("4", "vwmacc.vv") EQ_RVV_WIDE_DRAIN \
        "addi %[l], %[l], 8\n\t" \
        "addi %[k], %[k], -1\n\t" \
        "bnez %[k], 2b\n\t" \
        "3:\n\t" \
        "lw %[k], 40(%[j])\n\t" \
        "beqz %[k], 5f\n\t" \
        "4:\n\t" \
        EQ_RVV_TAP("0", "vwmul.vv") EQ_RVV_WIDE_DRAIN \
        "addi %[l], %[l], 4\n\t" \
        "addi %[k], %[k], -1\n\t" \
        "bnez %[k], 4b\n\t" \
        "5:\n\t" \
        EQ_RVV_WIDE_FINISH(STAGE) \
        "vse8.v v24, (%[y])\n\t" \
        : [vl] "+&r"(n), [a] "=&r"(a), [o4] "=&r"(o4), [w] "=&r"(w), [s] "=&r"(s), [k] "=&r"(k), [l] "=&r"(l), \
          [t0] "=&r"(t0), [n0] "=&r"(n0), [n1] "=&r"(n1), [o] "+&r"(o) \
        : [j] "r"(job), [x] "r"(x), [y] "r"(y) \
        : EQ_RVV_CLOBBERED)

#endif

#endif
