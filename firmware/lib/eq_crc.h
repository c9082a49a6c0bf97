/* CRC-32 of ISO 3309 (zlib's), a nibble at a time. */
#ifndef EQ_CRC_H
#define EQ_CRC_H

#include <stdint.h>

/* The CRC-32 of what `crc` is the CRC-32 of, followed by `bytes` bytes; begin with 0. */
uint32_t eq_crc32(uint32_t crc, const void *data, uint32_t bytes);

#endif
