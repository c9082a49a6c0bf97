/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of three bits; twin of edgeq/formats/int3.py. Freestanding ISO C99. */
#ifndef EQ_W_INT3_H
#define EQ_W_INT3_H

#include <stdint.h>

/* `records` times `head` words as they are, `groups` of thirty-two weights that become eight words of bytes, `tail` words as they are.
   `flip` is xored to every decoded byte. */
static inline void eq_decode_int3(const uint32_t *from, void *to, int32_t records, int32_t head, int32_t groups, int32_t tail,
                                  uint32_t flip)
{
    const uint32_t low = 0x03030303u, plus = 0x7c7c7c7cu, sign = 0x80808080u ^ (flip * 0x01010101u);
    uint32_t *out = (uint32_t *)to;
    for (; records > 0; records--) {
        for (int32_t i = head; i > 0; i--) {
            *out++ = *from++;
        }
        for (int32_t i = groups; i > 0; i--, from += 3) {
            /* a code n of two's complement is (n ^ 4) - 4, and (n ^ 4) + 124 never carries into the next byte */
            uint32_t word = from[0], high = ~from[2];
            for (int32_t k = 0; k < 8; k++, high >>= 1) {
                word = k == 4 ? from[1] : word;
                *out++ = (((word & low) | (high & 0x01010101u) << 2) + plus) ^ sign;
                word >>= 2;
            }
        }
        for (int32_t i = tail; i > 0; i--) {
            *out++ = *from++;
        }
    }
}

#endif
