/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Calls that run by bands of rows. Freestanding ISO C99. */
#ifndef EQ_BANDS_H
#define EQ_BANDS_H

#include <stdint.h>

#include "eq_move.h"

/* Rows that there are after a turn: `flow` has a rate, an offset, turns per so many rows, rows at once, and how many there can be. */
static inline int32_t eq_band_rows(const int32_t *flow, int32_t turn)
{
    const int32_t rows = (flow[0] * turn + flow[1]) / flow[2] * flow[3];
    return rows < 0 ? 0 : rows < flow[4] ? rows : flow[4];
}

/* The first row of an input that the rows from `row` on of an output of `height` read: its `in_height` where there are none. */
static inline int32_t eq_band_first(int32_t row, int32_t height, int32_t step, int32_t before, int32_t in_height)
{
    const int32_t first = row * step - before;
    return row >= height ? in_height : first < 0 ? 0 : first;
}

/* The row behind the last one that the rows before `row` read. */
static inline int32_t eq_band_end(int32_t row, int32_t step, int32_t reach, int32_t in_height)
{
    const int32_t end = (row - 1) * step + reach;
    return end < in_height ? end : in_height;
}

/* Rows of padding above what the rows from `row` on read. */
static inline int32_t eq_band_padding(int32_t row, int32_t step, int32_t before)
{
    return row * step < before ? before - row * step : 0;
}

static inline void eq_band_copy(void *to, const void *from, int32_t bytes)
{
    unsigned char *y = (unsigned char *)to;
    const unsigned char *x = (const unsigned char *)from;
    if (x == y) {
        return;
    }
    for (; bytes > 0; bytes--) {
        *y++ = *x++;
    }
}

static inline int32_t eq_band_least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Moves the rows from `low` up to `end` of a buffer, which begins with row `*first`, so that it begins with row `to`. */
static inline void eq_band_keep(void *lines, int32_t *first, int32_t to, int32_t low, int32_t end, int32_t pitch)
{
    const unsigned char *const from = (const unsigned char *)lines + (low - *first) * pitch;
    *first = to;
    eq_move_down((unsigned char *)lines + (low - to) * pitch, from, (end - low) * pitch);
}

#endif
