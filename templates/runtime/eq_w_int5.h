/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of five bits; twin of edgeq/formats/int5.py. Freestanding ISO C99. */
#ifndef EQ_W_INT5_H
#define EQ_W_INT5_H

#include <stdint.h>

/* `records` times `head` words as they are, `groups` of thirty-two weights that become eight words of bytes, `tail` words as they are.
   `flip` is xored to every decoded byte. */
static inline void eq_decode_int5(const uint32_t *from, void *to, int32_t records, int32_t head, int32_t groups, int32_t tail,
                                  uint32_t flip)
{
    const uint32_t plus = 0x70707070u, sign = 0x80808080u ^ (flip * 0x01010101u);
    uint32_t *out = (uint32_t *)to;
    for (; records > 0; records--) {
        for (int32_t i = head; i > 0; i--) {
            *out++ = *from++;
        }
        for (int32_t i = groups; i > 0; i--, from += 5) {
            /* a code n of two's complement is (n ^ 16) - 16, and (n ^ 16) + 112 never carries into the next byte */
            uint32_t high = ~from[4];
            for (int32_t k = 0; k < 4; k++, high >>= 2) {
                *out++ = (((from[k] & 0x0f0f0f0fu) | (high & 0x01010101u) << 4) + plus) ^ sign;
                *out++ = (((from[k] >> 4 & 0x0f0f0f0fu) | (high & 0x02020202u) << 3) + plus) ^ sign;
            }
        }
        for (int32_t i = tail; i > 0; i--) {
            *out++ = *from++;
        }
    }
}

#endif
