/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Calls that run by bands of rows, where RISC-V vectors move bytes. */
#ifndef EQ_BANDS_RVV_H
#define EQ_BANDS_RVV_H

#include <stdint.h>

#include "eq_simd_rvv_products.h"

/* As eq_band_keep: a copy that goes on to higher addresses, piece by piece, may overlap what lies there. */
static inline void eq_rvv_band_keep(void *lines, int32_t *first, int32_t to, int32_t low, int32_t end, int32_t pitch)
{
    const int8_t *const from = (const int8_t *)lines + (low - *first) * pitch;
    int8_t *const at = (int8_t *)lines + (low - to) * pitch;
    *first = to;
    if (from != at) {
        eq_rvv_copy(at, from, (end - low) * pitch);
    }
}

#endif
