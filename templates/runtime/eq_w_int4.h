/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of four bits; twin of edgeq/formats/int4.py. Freestanding ISO C99. */
#ifndef EQ_W_INT4_H
#define EQ_W_INT4_H

#include <stdint.h>

/* `records` times `head` words as they are, `groups` of eight nibbles that become two words of bytes, `tail` words as they are.
   `flip` is xored to every decoded byte. */
static inline void eq_decode_int4(const uint32_t *from, void *to, int32_t records, int32_t head, int32_t groups, int32_t tail,
                                  uint32_t flip)
{
    const uint32_t low = 0x0f0f0f0fu, plus = 0x78787878u, sign = 0x80808080u ^ (flip * 0x01010101u);
    uint32_t *out = (uint32_t *)to;
    for (; records > 0; records--) {
        for (int32_t i = head; i > 0; i--) {
            *out++ = *from++;
        }
        for (const uint32_t *const end = from + groups; from != end; from++, out += 2) {
            /* a nibble n of two's complement is (n ^ 8) - 8, and (n ^ 8) + 120 never carries into the next byte */
            const uint32_t word = *from ^ 0x88888888u;
            out[0] = ((word & low) + plus) ^ sign;
            out[1] = (((word >> 4) & low) + plus) ^ sign;
        }
        for (int32_t i = tail; i > 0; i--) {
            *out++ = *from++;
        }
    }
}

#endif
