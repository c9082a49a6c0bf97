/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products of halves by the FPU of a RISC-V core: sixteen outputs at once, whose weights lie together, element by element. Plain
 * C where there is no FPU. A product of halves, or of a half and an int8, is exact, so that the fused operation gives the same bits. */
#ifndef EQ_HALF_RV32IM_H
#define EQ_HALF_RV32IM_H

#include "eq_f16.h"

#if defined(__riscv_flen) && __riscv_xlen == 32
#define EQ_RV32IM_SIXTEEN 1
#define EQ_RV32IM_ONCE static __attribute__((noinline, unused)) /* the loops are long: one copy in a model */
#define EQ_RV32IM_SIXTEEN_REGISTERS \
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "ft8", "ft9", "ft10", "ft11", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7", \
        "fs0", "t0", "t1", "t2", "t3"
#define EQ_RV32IM_EACH_SUM(what) \
    what(ft0, 0) what(ft1, 4) what(ft2, 8) what(ft3, 12) what(ft4, 16) what(ft5, 20) what(ft6, 24) what(ft7, 28) \
        what(fa0, 32) what(fa1, 36) what(fa2, 40) what(fa3, 44) what(fa4, 48) what(fa5, 52) what(fa6, 56) what(fa7, 60)
#define EQ_RV32IM_LOAD_SUM(f, at) "flw " #f ", " #at "(%[sums])\n\t"
#define EQ_RV32IM_STORE_SUM(f, at) "fsw " #f ", " #at "(%[sums])\n\t"
#define EQ_RV32IM_CLEAR_SUM(f, at) "fmv.w.x " #f ", zero\n\t"
#define EQ_RV32IM_ADD_FOUR(a, b, c, d) \
    "fmadd.s " #a ", ft9, ft8, " #a "\n\tfmadd.s " #b ", ft10, ft8, " #b "\n\t" \
    "fmadd.s " #c ", ft11, ft8, " #c "\n\tfmadd.s " #d ", fs0, ft8, " #d "\n\t"
/* The sixteen products of element `k` of those at `x` and `w`; `four` adds four of them. */
#define EQ_RV32IM_SIXTEEN_OF(four, k) \
    "flw ft8, 4*" #k "(%[x])\n\t" four(16*k, ft0, ft1, ft2, ft3) four(16*k+4, ft4, ft5, ft6, ft7) \
        four(16*k+8, fa0, fa1, fa2, fa3) four(16*k+12, fa4, fa5, fa6, fa7)
#define EQ_RV32IM_BYTE_FOUR(at, a, b, c, d) \
    "lb t0, " #at "(%[w])\n\tlb t1, " #at "+1(%[w])\n\tlb t2, " #at "+2(%[w])\n\tlb t3, " #at "+3(%[w])\n\t" \
    "fcvt.s.w ft9, t0\n\tfcvt.s.w ft10, t1\n\tfcvt.s.w ft11, t2\n\tfcvt.s.w fs0, t3\n\t" EQ_RV32IM_ADD_FOUR(a, b, c, d)
/* As eq_half_weight. */
#define EQ_RV32IM_HALF_FOUR(at, a, b, c, d) \
    "lh t0, 2*(" #at ")(%[w])\n\tlh t1, 2*(" #at ")+2(%[w])\n\tlh t2, 2*(" #at ")+4(%[w])\n\tlh t3, 2*(" #at ")+6(%[w])\n\t" \
    "slli t0, t0, 13\n\tslli t1, t1, 13\n\tslli t2, t2, 13\n\tslli t3, t3, 13\n\t" \
    "and t0, t0, %[mask]\n\tand t1, t1, %[mask]\n\tand t2, t2, %[mask]\n\tand t3, t3, %[mask]\n\t" \
    "fmv.w.x ft9, t0\n\tfmv.w.x ft10, t1\n\tfmv.w.x ft11, t2\n\tfmv.w.x fs0, t3\n\t" EQ_RV32IM_ADD_FOUR(a, b, c, d)
/* `left` elements, four at a time; one of them has `bytes` of weights. */
#define EQ_RV32IM_SIXTEEN_LOOP(four, bytes) \
    "addi %[left], %[left], -4\n\t" \
    "bltz %[left], 2f\n" \
    "1:\n\t" \
    EQ_RV32IM_SIXTEEN_OF(four, 0) EQ_RV32IM_SIXTEEN_OF(four, 1) EQ_RV32IM_SIXTEEN_OF(four, 2) EQ_RV32IM_SIXTEEN_OF(four, 3) \
    "addi %[x], %[x], 16\n\t" \
    "addi %[w], %[w], 4*" #bytes "\n\t" \
    "addi %[left], %[left], -4\n\t" \
    "bgez %[left], 1b\n" \
    "2:\n\t" \
    "addi %[left], %[left], 4\n\t" \
    "beqz %[left], 4f\n" \
    "3:\n\t" \
    EQ_RV32IM_SIXTEEN_OF(four, 0) \
    "addi %[x], %[x], 4\n\t" \
    "addi %[w], %[w], " #bytes "\n\t" \
    "addi %[left], %[left], -1\n\t" \
    "bnez %[left], 3b\n" \
    "4:\n\t"
#else
#define EQ_RV32IM_SIXTEEN 0
#define EQ_RV32IM_ONCE static inline
#endif

/* sums[c] += x[k] * w[k][c] for k = 0, 1, ..., count - 1, of sixteen channels; `x` are eq_half_input's. */
EQ_RV32IM_ONCE void eq_rv32im_half_sixteen(const float *x, const uint16_t *w, int32_t count, float *sums)
{
#if EQ_RV32IM_SIXTEEN && !EQ_HALF_CONVERSIONS
    int32_t left = count;
    __asm__ volatile(EQ_RV32IM_EACH_SUM(EQ_RV32IM_LOAD_SUM) EQ_RV32IM_SIXTEEN_LOOP(EQ_RV32IM_HALF_FOUR, 32) EQ_RV32IM_EACH_SUM(EQ_RV32IM_STORE_SUM)
                     : [x] "+&r"(x), [w] "+&r"(w), [left] "+&r"(left)
                     : [sums] "r"(sums), [mask] "r"(0x8fffe000u)
                     : "memory", EQ_RV32IM_SIXTEEN_REGISTERS);
#else
    for (int32_t c = 0; c < 16; c++) {
        float sum = sums[c];
        for (int32_t k = 0; k < count; k++) {
            sum = eq_add_product(x[k], eq_half_weight(w + 16 * k + c), sum);
        }
        sums[c] = sum;
    }
#endif
}

/* sums[c] = x[0] * w[0][c] + x[1] * w[1][c] + ... of `count` elements, of sixteen channels. */
EQ_RV32IM_ONCE void eq_rv32im_byte_sixteen(const float *x, const int8_t *w, int32_t count, float *sums)
{
#if EQ_RV32IM_SIXTEEN
    int32_t left = count;
    __asm__ volatile(EQ_RV32IM_EACH_SUM(EQ_RV32IM_CLEAR_SUM) EQ_RV32IM_SIXTEEN_LOOP(EQ_RV32IM_BYTE_FOUR, 16) EQ_RV32IM_EACH_SUM(EQ_RV32IM_STORE_SUM)
                     : [x] "+&r"(x), [w] "+&r"(w), [left] "+&r"(left)
                     : [sums] "r"(sums)
                     : "memory", EQ_RV32IM_SIXTEEN_REGISTERS);
#else
    for (int32_t c = 0; c < 16; c++) {
        float sum = 0;
        for (int32_t k = 0; k < count; k++) {
            sum = eq_add_product(x[k], (float)w[16 * k + c], sum);
        }
        sums[c] = sum;
    }
#endif
}

#endif
