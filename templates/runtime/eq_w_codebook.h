/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Weights of four bits that choose from a list; twin of edgeq/formats/codebook.py. Freestanding ISO C99. */
#ifndef EQ_W_CODEBOOK_H
#define EQ_W_CODEBOOK_H

#include <stdint.h>

/* The four entries that bits 0 to 3 of each byte choose, a byte each. */
static inline uint32_t eq_four_codebook(const uint8_t *entries, uint32_t codes)
{
    return (uint32_t)entries[codes & 15u] | (uint32_t)entries[(codes >> 8) & 15u] << 8 | (uint32_t)entries[(codes >> 16) & 15u] << 16
           | (uint32_t)entries[(codes >> 24) & 15u] << 24;
}

/* Four words of sixteen entries; then `records` times `head` words as they are, `groups` of eight weights that become two words of bytes,
   `tail` words as they are. `flip` is xored to every decoded byte. */
static inline void eq_decode_codebook(const uint32_t *from, void *to, int32_t records, int32_t head, int32_t groups, int32_t tail,
                                      uint32_t flip)
{
    uint8_t entries[16];
    uint32_t *out = (uint32_t *)to;
    for (int32_t i = 0; i < 16; i++) {
        entries[i] = (uint8_t)(from[i >> 2] >> (8 * (i & 3)) ^ flip);
    }
    from += 4;
    for (; records > 0; records--) {
        for (int32_t i = head; i > 0; i--) {
            *out++ = *from++;
        }
        for (const uint32_t *const end = from + groups; from != end; from++, out += 2) {
            out[0] = eq_four_codebook(entries, *from);
            out[1] = eq_four_codebook(entries, *from >> 4);
        }
        for (int32_t i = tail; i > 0; i--) {
            *out++ = *from++;
        }
    }
}

#endif
