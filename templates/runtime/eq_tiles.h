/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Calls on some of the output channels: their outputs are computed side by side in scratch. Freestanding ISO C99. */
#ifndef EQ_TILES_H
#define EQ_TILES_H

#include <stdint.h>

/* `rows` bytes each of `pixels` pixels, `pitch` and `step` bytes apart. */
static inline void eq_tile_move(void *to, int32_t step, const void *from, int32_t pitch, int32_t pixels, int32_t rows)
{
    uint8_t *y = (uint8_t *)to;
    const uint8_t *x = (const uint8_t *)from;
    if (((uint32_t)(uintptr_t)y | (uint32_t)(uintptr_t)x | (uint32_t)step | (uint32_t)pitch | (uint32_t)rows) % 4u == 0u) {
        for (; pixels > 0; pixels--, y += step, x += pitch) {
            for (int32_t i = 0; i < rows; i += 4) {
                *(uint32_t *)(void *)(y + i) = *(const uint32_t *)(const void *)(x + i);
            }
        }
    } else {
        for (; pixels > 0; pixels--, y += step, x += pitch) {
            for (int32_t i = 0; i < rows; i++) {
                y[i] = x[i];
            }
        }
    }
}

#endif
