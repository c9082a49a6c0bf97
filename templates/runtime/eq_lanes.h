/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Inputs of kernels that multiply two rows of weights at once, in the 16-bit lanes of a word. Freestanding ISO C99.
 *
 * A word of weights holds the bytes e0 o0 e1 o1: the weights of elements k and k + 1 in one row, then in the next one, each
 * plus 128. E = e0 + e1 * 2^16 and O, likewise, are lanes; a * E + b * O = a * word + (b - 256 * a) * O, so that only O is
 * unpacked. */
#ifndef EQ_LANES_H
#define EQ_LANES_H

#include <stdint.h>

#define EQ_LANES_LANE_MASK 0x00ff00ffu

/* Two neighbouring inputs a and b. */
typedef struct {
    int32_t rest;   /* b - 256 * a */
    uint32_t start; /* where lanes start that take both, and another two: 2^14 - 128 * (a + b) in each, modulo 2^32 */
} eq_lanes_lane_inputs_t;

/* A layer: its weights in the kernel's layout, and what each output channel is requantized by. */
typedef struct {
    const void *weights;
    const int32_t *bias, *multiplier;
    const int8_t *shift;
    int32_t out_offset, out_c;
} eq_lanes_layer_t;

/* `count` inputs; a 0 follows an odd number of them. */
static inline void eq_lanes_lane_inputs(eq_lanes_lane_inputs_t *to, const int8_t *from, int32_t count)
{
    for (; count > 0; count -= 2, from += 2, to++) {
        const int32_t a = from[0], b = count > 1 ? from[1] : 0;
        to->rest = b - 256 * a;
        to->start = (uint32_t)(128 * (128 - a - b)) * 0x10001u;
    }
}

#endif
