/* Storage codes of weights and biases; twin of edgeq/codes.py. Freestanding ISO C99. */
#ifndef EQ_CODES_H
#define EQ_CODES_H

#include <stdint.h>

enum { EQ_CHECK_NONE, EQ_CHECK_PARITY, EQ_CHECK_TRIPLE, EQ_CHECK_HAMMING }; /* its value is the number of bits that it adds */

/* The value of a code word; `half` is 2^(bits - 1), `twos` the same for two's complement and 0 for offset binary. */
static inline int32_t eq_code_value(uint32_t word, uint32_t half, uint32_t twos)
{
    return (int32_t)((word & (2u * half - 1u)) ^ twos) - (int32_t)half;
}

/* The highest three bits and the one above them are odd: of the values that one fault explains, the one of least magnitude. */
static inline int32_t eq_code_mended(uint32_t word, uint32_t half, uint32_t twos)
{
    int32_t value = eq_code_value(word, half, twos);
    uint32_t bit = half;
    for (int32_t i = 0; i < 3 && bit > 0u; i++, bit >>= 1) {
        const int32_t other = eq_code_value(word ^ bit, half, twos);
        if ((other < 0 ? -other : other) < (value < 0 ? -value : value)) {
            value = other;
        }
    }
    return value;
}

/* Four bits and their three checks above them: what mends one fault of the four. */
static inline uint32_t eq_code_hamming(uint32_t x)
{
    const uint32_t a = (x ^ (x >> 1) ^ (x >> 3) ^ (x >> 4)) & 1u;
    const uint32_t b = (x ^ (x >> 2) ^ (x >> 3) ^ (x >> 5)) & 1u;
    const uint32_t c = ((x >> 1) ^ (x >> 2) ^ (x >> 3) ^ (x >> 6)) & 1u;
    return (a & b & (c ^ 1u)) | (a & (b ^ 1u) & c) << 1 | ((a ^ 1u) & b & c) << 2 | (a & b & c) << 3;
}

/* Byte `i` of a stream; of three streams of `copy` bytes, one behind the other, their majority bit by bit; 0: there is but one. */
static inline uint32_t eq_code_byte(const uint8_t *codes, int32_t i, int32_t copy)
{
    const uint32_t a = codes[i], b = codes[i + copy], c = codes[i + 2 * copy];
    return (a & b) | (b & c) | (a & c);
}

/* `count` weights of `bits` bits from a stream of words, the first in the lowest bits; `copy` as above. */
static inline void eq_decode_weights(const uint8_t *codes, int8_t *weights, int32_t count, int32_t copy, int32_t bits, int32_t offset,
                                     int32_t check)
{
    const int32_t width = bits + check;
    const uint32_t half = 1u << (bits - 1), twos = offset ? 0u : half;
    const uint32_t covered = half | (half >> 1) | (half >> 2);
    int32_t at = 0;
    for (int32_t i = 0; i < count; i++, at += width) {
        uint32_t word = eq_code_byte(codes, at >> 3, copy);
        if ((at & 7) + width > 8) {
            word |= eq_code_byte(codes, (at >> 3) + 1, copy) << 8;
        }
        word = (word >> (at & 7)) & ((1u << width) - 1u);
        int32_t value;
        if (check == EQ_CHECK_PARITY) {
            uint32_t odd = word & (covered | (2u * half));
            odd ^= odd >> 8;
            odd ^= odd >> 4;
            odd ^= odd >> 2;
            odd ^= odd >> 1;
            value = (odd & 1u) ? eq_code_mended(word, half, twos) : eq_code_value(word, half, twos);
        } else {
            if (check == EQ_CHECK_TRIPLE) {
                const uint32_t top = word >> (bits - 1);
                const uint32_t votes = (top & 1u) + ((top >> 1) & 1u) + ((top >> 2) & 1u);
                word = (word & (half - 1u)) | (votes >= 2u ? half : 0u);
            } else if (check == EQ_CHECK_HAMMING) {
                word ^= eq_code_hamming(word >> (bits - 4)) << (bits - 4);
            }
            value = eq_code_value(word, half, twos);
        }
        weights[i] = (int8_t)value;
    }
}

/* The value of a bias's word, a Hamming code of 11 bits in 15: one fault is mended. */
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

/* `count` biases, multiples of 2^shift: the majority of three, bit by bit, mended. */
static inline void eq_decode_biases(const uint16_t *votes, int32_t *biases, int32_t count, int32_t shift)
{
    for (int32_t i = 0; i < count; i++) {
        const uint32_t a = votes[i], b = votes[count + i], c = votes[2 * count + i];
        biases[i] = eq_bias_value(((a & b) | (b & c) | (a & c)) & 0x7FFFu) * ((int32_t)1 << shift);
    }
}

#endif
