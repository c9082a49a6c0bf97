/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products of halves with int8 weights, with MVE: lanes are outputs, so that every sum runs through its products in order, from
 * zero. Such a sum is a multiple of 2^-24; what becomes of it, times the scale of its row, is left to the FPU, whatever the scale. */
#ifndef EQ_HALF_MVE_BYTES_H
#define EQ_HALF_MVE_BYTES_H

#include "eq_half_mve.h"

#if EQ_MVE
/* Four weights as floats in q<r>; a load that widens takes its address from r0 to r7. */
#define EQ_MVE_BYTES4(r) "vldrb.s32 q" #r ", [%[w]], #4\n\tvcvt.f32.s32 q" #r ", q" #r "\n\t"
/* Sixteen rows, the input in a core register. */
#define EQ_MVE_BYTE_ROWS16(x) \
    EQ_MVE_BYTES4(4) EQ_MVE_BYTES4(5) EQ_MVE_BYTES4(6) EQ_MVE_BYTES4(7) \
    "vfma.f32 q0, q4, " #x "\n\tvfma.f32 q1, q5, " #x "\n\tvfma.f32 q2, q6, " #x "\n\tvfma.f32 q3, q7, " #x "\n\t"
/* Eight rows, three inputs. */
#define EQ_MVE_BYTE_TILE3X8 \
    "ldmia %[x]!, {r8, r9, r10}\n\t" EQ_MVE_BYTES4(6) EQ_MVE_BYTES4(7) \
    "vfma.f32 q0, q6, r8\n\tvfma.f32 q1, q7, r8\n\tvfma.f32 q2, q6, r9\n\tvfma.f32 q3, q7, r9\n\tvfma.f32 q4, q6, r10\n\tvfma.f32 q5, q7, r10\n\t"
#endif

/* sums[r] = start[r] + scale[r] * totals[r] of four rows. */
static inline void eq_mve_scaled4(float *sums, const float *start, const float *scale, const float *totals)
{
    eq_mve_store4_f32(sums, eq_mve_each_add4(eq_mve_load4_f32(start), eq_mve_each_mul4(eq_mve_load4_f32(totals), eq_mve_load4_f32(scale))));
}

/* sums[r] = start[r] + scale[r] * (x[0] * w[0][r] + x[1] * w[1][r] + ...) of `count` elements and sixteen rows; `start` may be `sums`. */
static inline void eq_mve_byte_sums16(float *sums, const float *start, const float *x, const int8_t *w, int32_t count, const float *scale)
{
    float totals[16];
#if EQ_MVE
    __asm__ volatile("vmov.i32 q0, #0\n\t"
                     "vmov.i32 q1, #0\n\t"
                     "vmov.i32 q2, #0\n\t"
                     "vmov.i32 q3, #0\n\t"
                     "wls lr, %[fours], 2f\n"
                     "1:\n\t"
                     "ldmia %[x]!, {r8, r9, r10, r12}\n\t"
                     EQ_MVE_BYTE_ROWS16(r8)
                     EQ_MVE_BYTE_ROWS16(r9)
                     EQ_MVE_BYTE_ROWS16(r10)
                     EQ_MVE_BYTE_ROWS16(r12)
                     "le lr, 1b\n"
                     "2:\n\t"
                     "wls lr, %[rest], 4f\n"
                     "3:\n\t"
                     "ldr r8, [%[x]], #4\n\t"
                     EQ_MVE_BYTE_ROWS16(r8)
                     "le lr, 3b\n"
                     "4:\n\t"
                     "vstrw.32 q0, [%[totals]]\n\t"
                     "vstrw.32 q1, [%[totals], #16]\n\t"
                     "vstrw.32 q2, [%[totals], #32]\n\t"
                     "vstrw.32 q3, [%[totals], #48]"
                     : [x] "+r"(x), [w] "+l"(w)
                     : [totals] "r"(totals), [fours] "r"(count >> 2), [rest] "r"(count & 3)
                     : "r8", "r9", "r10", "r12", "lr", "memory", EQ_MVE_VECTORS);
#else
    for (int32_t r = 0; r < 16; r++) {
        totals[r] = 0;
        for (int32_t k = 0; k < count; k++) {
            totals[r] += x[k] * (float)w[16 * k + r];
        }
    }
#endif
    for (int32_t r = 0; r < 16; r += 4) {
        eq_mve_scaled4(sums + r, start + r, scale + r, totals + r);
    }
}

/* The same of eight rows with three inputs: sums[8 * i + r] = start[r] + scale[r] * (x[0][i] * w[0][r] + ...). */
static inline void eq_mve_byte_sums3x8(float *sums, const float *start, const float *x, const int8_t *w, int32_t count, const float *scale)
{
    float totals[24];
#if EQ_MVE
    __asm__ volatile("vmov.i32 q0, #0\n\t"
                     "vmov.i32 q1, #0\n\t"
                     "vmov.i32 q2, #0\n\t"
                     "vmov.i32 q3, #0\n\t"
                     "vmov.i32 q4, #0\n\t"
                     "vmov.i32 q5, #0\n\t"
                     "wls lr, %[fours], 2f\n"
                     "1:\n\t"
                     EQ_MVE_BYTE_TILE3X8
                     EQ_MVE_BYTE_TILE3X8
                     EQ_MVE_BYTE_TILE3X8
                     EQ_MVE_BYTE_TILE3X8
                     "le lr, 1b\n"
                     "2:\n\t"
                     "wls lr, %[rest], 4f\n"
                     "3:\n\t"
                     EQ_MVE_BYTE_TILE3X8
                     "le lr, 3b\n"
                     "4:\n\t"
                     "vstrw.32 q0, [%[totals]]\n\t"
                     "vstrw.32 q1, [%[totals], #16]\n\t"
                     "vstrw.32 q2, [%[totals], #32]\n\t"
                     "vstrw.32 q3, [%[totals], #48]\n\t"
                     "vstrw.32 q4, [%[totals], #64]\n\t"
                     "vstrw.32 q5, [%[totals], #80]"
                     : [x] "+r"(x), [w] "+l"(w)
                     : [totals] "r"(totals), [fours] "r"(count >> 2), [rest] "r"(count & 3)
                     : "r8", "r9", "r10", "lr", "memory", EQ_MVE_VECTORS);
#else
    for (int32_t i = 0; i < 24; i++) {
        totals[i] = 0;
        for (int32_t k = 0; k < count; k++) {
            totals[i] += x[3 * k + i / 8] * (float)w[8 * k + i % 8];
        }
    }
#endif
    for (int32_t i = 0; i < 24; i += 4) {
        eq_mve_scaled4(sums + i, start + i % 8, scale + i % 8, totals + i);
    }
}

#endif
