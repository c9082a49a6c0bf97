/* A stream of little-endian words and byte blocks over the UART that ends with its CRC-32. */
#ifndef EQ_STREAM_H
#define EQ_STREAM_H

#include <stdint.h>

#define EQ_TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

void eq_stream_words(const uint32_t *words, uint32_t count);

/* `bytes` bytes, then zeros up to a multiple of four. */
void eq_stream_block(const void *data, uint32_t bytes);

/* The end tag and the CRC-32 of all that was sent before it. */
void eq_stream_end(void);

#endif
