/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of four bits, one by one. Freestanding ISO C99. */
#ifndef EQ_NIBBLES_H
#define EQ_NIBBLES_H

#include <stdint.h>

/* Weight i of nibbles one after the other, the first in the low one of a byte. */
static inline int32_t eq_nibble(const uint8_t *from, int32_t i)
{
    return (int32_t)((((uint32_t)from[i >> 1] >> (4 * (i & 1))) & 15u) ^ 8u) - 8;
}

#endif
