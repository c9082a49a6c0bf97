/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Biases stored as votes; twin of edgeq/formats/votes.py. Freestanding ISO C99. */
#ifndef EQ_W_VOTES_H
#define EQ_W_VOTES_H

#include <stdint.h>

/* The value of a bias's word, a Hamming code of 11 bits in 15: one bit error is corrected. */
static inline int32_t eq_bias_value(uint32_t word)
{
    uint32_t fault = 0, value = 0, bit = 0;
    for (uint32_t place = 1; place <= 15u; place++) {
        fault ^= (word >> (place - 1u)) & 1u ? place : 0u;
    }
    word ^= fault ? 1u << (fault - 1u) : 0u;
    for (uint32_t place = 3; place <= 15u; place++) {
        if (place & (place - 1u)) { /* the powers of two hold the checks */
            value |= ((word >> (place - 1u)) & 1u) << bit;
            bit++;
        }
    }
    return (int32_t)(value ^ 1024u) - 1024;
}

/* `count` biases, multiples of 2^shift: the majority of three, bit by bit, corrected. */
static inline void eq_decode_biases(const uint16_t *votes, int32_t *biases, int32_t count, int32_t shift)
{
    for (int32_t i = 0; i < count; i++) {
        const uint32_t a = votes[3 * i], b = votes[3 * i + 1], c = votes[3 * i + 2];
        biases[i] = eq_bias_value(((a & b) | (b & c) | (a & c)) & 0x7FFFu) * ((int32_t)1 << shift);
    }
}

/* The same of biases that are multiples of 2^shifts[i]. */
static inline void eq_decode_biases_each(const uint16_t *votes, int32_t *biases, int32_t count, const uint8_t *shifts)
{
    for (int32_t i = 0; i < count; i++) {
        eq_decode_biases(votes + 3 * i, biases + i, 1, shifts[i]);
    }
}

#endif
