/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Bytes of weights as pairs; see `Records.borrow` in edgeq/formats/format.py. Freestanding ISO C99. */
#ifndef EQ_W_BORROW_H
#define EQ_W_BORROW_H

#include <stdint.h>

/* Halves of `count` words from 256 times a high byte plus a low one without sign to the same with one: the high byte is less by one where
   the low one is negative. High bytes are above -128, so that none passes on what it borrows. */
static inline void eq_borrow(void *at, int32_t count)
{
    const uint32_t high = 0x80008000u;
    uint32_t *word = (uint32_t *)at;
    for (const uint32_t *const end = word + count; word != end; word++) {
        const uint32_t old = *word;
        *word = ((old | high) - ((old & (high >> 8)) << 1)) ^ (~old & high);
    }
}

#endif
