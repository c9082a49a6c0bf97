/* Little-endian numbers at any address. */
#ifndef EQ_BYTES_H
#define EQ_BYTES_H

#include <stdint.h>

static inline uint32_t eq_half_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t eq_word_at(const unsigned char *p)
{
    return eq_half_at(p) | eq_half_at(p + 2) << 16;
}

#endif
