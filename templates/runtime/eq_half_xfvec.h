/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Sums of products of halves, two at once in a register of 32 bits (Xfvec and Xfaux, the smallFloat extensions of PULP's cores), in hardware
 * loops of XCV; plain C where they are absent. Each sum is taken in order, as eq_f16.h says.
 *
 * Instructions are encoded by .insn, so that assemblers need not know them. Words of two halves are little-endian: the first in the low one. */
#ifndef EQ_HALF_XFVEC_H
#define EQ_HALF_XFVEC_H

#include "eq_f16.h"
#include "eq_simd_xcv.h"

#if defined(__riscv_flen) && defined(EQ_HAS_XFVEC)
#define EQ_XFVEC 1
/* vfdotpex.s.h sum, x, w; vfmac.r.h sums, w, x; flh. */
#define EQ_XFVEC_DOT(i, w) ".insn r 0x33, 2, 0x4b, %[s" #i "], %[x0], %[" #w "]\n\t"
#define EQ_XFVEC_MAC(i, w) ".insn r 0x33, 6, 0x48, %[s" #i "], %[" #w "], %[x0]\n\t"
#define EQ_XFVEC_HALF ".insn i 0x07, 1, %[x0], %[x], 0\n\t"
#else
#define EQ_XFVEC 0
#endif

/* `count` halves at `from`, or where that is odd their copy at `to`, filled up with a zero. */
static inline const uint16_t *eq_xfvec_whole(uint16_t *to, const uint16_t *from, int32_t count)
{
    if (count % 2 == 0) {
        return from;
    }
    for (int32_t i = 0; i < count; i++) {
        to[i] = from[i];
    }
    to[count] = 0;
    return to;
}

#endif
