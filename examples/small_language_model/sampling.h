/* SPDX-License-Identifier: Apache-2.0
 * The next token out of int8 scores: the largest, or one of the k largest by chance. No floats, no division, no heap. */
#ifndef SAMPLING_H
#define SAMPLING_H

#include <stdint.h>

/* The first of the largest of `count` scores. */
static inline int32_t sample_largest(const int8_t *scores, int32_t count)
{
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

/* One of the k largest of `count` scores, at most 65536; those that equal the k-th count, too. `weights` are 256 chances by how far a
 * score lies below the largest, 65535 the largest of them; `*seed` is not 0, and another one afterwards (xorshift; Marsaglia, 2003). */
static inline int32_t sample_top(const int8_t *scores, int32_t count, int32_t k, const uint16_t weights[256], uint32_t *seed)
{
    const int32_t largest = scores[sample_largest(scores, count)];
    int32_t floor = largest, reached = 0;
    for (;; floor--) { /* down to the level of the k-th */
        for (int32_t i = 0; i < count; i++) {
            reached += scores[i] == floor;
        }
        if (reached >= k || floor == -128) {
            break;
        }
    }
    uint32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        sum += scores[i] >= floor ? weights[largest - scores[i]] : 0u;
    }
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    uint32_t drawn = (uint32_t)(((uint64_t)*seed * sum) >> 32);
    for (int32_t i = 0; i < count; i++) {
        const uint32_t own = scores[i] >= floor ? weights[largest - scores[i]] : 0u;
        if (drawn < own) {
            return i;
        }
        drawn -= own;
    }
    return 0; /* not reached: drawn < sum */
}

#endif
