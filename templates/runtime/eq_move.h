/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Bytes that move. Freestanding ISO C99. */
#ifndef EQ_MOVE_H
#define EQ_MOVE_H

#include <stdint.h>

/* Moves bytes to where nothing else lies, or to a lower address: by words where both ends begin with one. */
static inline void eq_move_down(void *to, const void *from, int32_t bytes)
{
    unsigned char *t = (unsigned char *)to;
    const unsigned char *f = (const unsigned char *)from;
    if (f == t) {
        return;
    }
    if (((uint32_t)(uintptr_t)f | (uint32_t)(uintptr_t)t) % 4u == 0u) {
        uint32_t *words = (uint32_t *)(void *)t;
        const uint32_t *read = (const uint32_t *)(const void *)f;
        for (; bytes >= 16; bytes -= 16, words += 4, read += 4) {
            const uint32_t a = read[0], b = read[1], c = read[2], d = read[3];
            words[0] = a, words[1] = b, words[2] = c, words[3] = d;
        }
        t = (unsigned char *)words, f = (const unsigned char *)read;
    }
    for (; bytes > 0; bytes--) {
        *t++ = *f++;
    }
}

#endif
