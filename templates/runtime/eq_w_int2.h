/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of two bits; twin of edgeq/formats/int2.py. Freestanding ISO C99. */
#ifndef EQ_W_INT2_H
#define EQ_W_INT2_H

#include <stdint.h>

/* `records` times `head` words as they are, `groups` of sixteen weights that become four words of bytes, `tail` words as they are.
   `flip` is xored to every decoded byte. */
static inline void eq_decode_int2(const uint32_t *from, void *to, int32_t records, int32_t head, int32_t groups, int32_t tail,
                                  uint32_t flip)
{
    const uint32_t low = 0x03030303u, plus = 0x7e7e7e7eu, sign = 0x80808080u ^ (flip * 0x01010101u);
    uint32_t *out = (uint32_t *)to;
    for (; records > 0; records--) {
        for (int32_t i = head; i > 0; i--) {
            *out++ = *from++;
        }
        for (int32_t i = groups; i > 0; i--, out += 4) {
            /* a code n of two's complement is (n ^ 2) - 2, and (n ^ 2) + 126 never carries into the next byte */
            const uint32_t word = *from++ ^ 0xAAAAAAAAu;
            out[0] = ((word & low) + plus) ^ sign;
            out[1] = (((word >> 2) & low) + plus) ^ sign;
            out[2] = (((word >> 4) & low) + plus) ^ sign;
            out[3] = (((word >> 6) & low) + plus) ^ sign;
        }
        for (int32_t i = tail; i > 0; i--) {
            *out++ = *from++;
        }
    }
}

#endif
