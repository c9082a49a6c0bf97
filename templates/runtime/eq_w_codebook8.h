/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of three bits that choose from a list; twin of edgeq/formats/codebook8.py. Freestanding ISO C99. */
#ifndef EQ_W_CODEBOOK8_H
#define EQ_W_CODEBOOK8_H

#include <stdint.h>

/* The four entries that bits 0 to 2 of each byte choose, a byte each. */
static inline uint32_t eq_four_codebook8(const uint8_t *entries, uint32_t codes)
{
    return (uint32_t)entries[codes & 7u] | (uint32_t)entries[(codes >> 8) & 7u] << 8 | (uint32_t)entries[(codes >> 16) & 7u] << 16
           | (uint32_t)entries[(codes >> 24) & 7u] << 24;
}

/* Two words of eight entries; then `records` times `head` words as they are, `groups` of thirty-two weights that become eight words of
   bytes, `tail` words as they are. `flip` is xored to every decoded byte. */
static inline void eq_decode_codebook8(const uint32_t *from, void *to, int32_t records, int32_t head, int32_t groups, int32_t tail,
                                       uint32_t flip)
{
    uint8_t entries[8];
    uint32_t *out = (uint32_t *)to;
    for (int32_t i = 0; i < 8; i++) {
        entries[i] = (uint8_t)(from[i >> 2] >> (8 * (i & 3)) ^ flip);
    }
    from += 2;
    for (; records > 0; records--) {
        for (int32_t i = head; i > 0; i--) {
            *out++ = *from++;
        }
        for (int32_t i = groups; i > 0; i--, from += 3) {
            uint32_t word = from[0], high = from[2];
            for (int32_t k = 0; k < 8; k++, high >>= 1) {
                word = k == 4 ? from[1] : word;
                *out++ = eq_four_codebook8(entries, (word & 0x03030303u) | (high & 0x01010101u) << 2);
                word >>= 2;
            }
        }
        for (int32_t i = tail; i > 0; i--) {
            *out++ = *from++;
        }
    }
}

#endif
