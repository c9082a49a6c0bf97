/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of four bits, e2m1 in halves; twin of edgeq/formats/fp4.py. Freestanding ISO C99. */
#ifndef EQ_W_FP4_H
#define EQ_W_FP4_H

#include <stdint.h>

/* Four codes at bits 0 to 3 of each byte to 128 plus or minus 0, 1, 2, 3, 4, 6, 8, 12; no byte carries into the next. */
static inline uint32_t eq_four_fp4(uint32_t codes)
{
    const uint32_t one = 0x01010101u, code = codes & 0x07070707u;
    const uint32_t high = (code >> 2) & one, most = high & (code >> 1) & code, sign = (codes >> 3) & one;
    const uint32_t value = code + (code & (high * 3u)) + 2u * most;
    return 0x80808080u + value - 2u * (value & (sign * 255u));
}

/* `records` times `head` words as they are, `groups` of eight weights that become two words of bytes, `tail` words as they are.
   `flip` is xored to every decoded byte. */
static inline void eq_decode_fp4(const uint32_t *from, void *to, int32_t records, int32_t head, int32_t groups, int32_t tail,
                                 uint32_t flip)
{
    const uint32_t sign = 0x80808080u ^ (flip * 0x01010101u);
    uint32_t *out = (uint32_t *)to;
    for (; records > 0; records--) {
        for (int32_t i = head; i > 0; i--) {
            *out++ = *from++;
        }
        for (const uint32_t *const end = from + groups; from != end; from++, out += 2) {
            out[0] = eq_four_fp4(*from) ^ sign;
            out[1] = eq_four_fp4(*from >> 4) ^ sign;
        }
        for (int32_t i = tail; i > 0; i--) {
            *out++ = *from++;
        }
    }
}

#endif
