/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Storage codes of weights; twin of edgeq/formats/code.py. Freestanding ISO C99. */
#ifndef EQ_W_CODE_H
#define EQ_W_CODE_H

#include <stdint.h>

enum { EQ_CHECK_NONE, EQ_CHECK_PARITY, EQ_CHECK_TRIPLE, EQ_CHECK_HAMMING }; /* its value is the number of bits that it adds */

/* The value of a code word; `half` is 2^(bits - 1), `twos` the same for two's complement and 0 for offset binary. */
static inline int32_t eq_code_value(uint32_t word, uint32_t half, uint32_t twos)
{
    return (int32_t)((word & (2u * half - 1u)) ^ twos) - (int32_t)half;
}

/* The highest three bits and the one above them are odd: of the values that one fault explains, the one next to `zero`. */
static inline int32_t eq_code_mended(uint32_t word, uint32_t half, uint32_t twos, int32_t zero)
{
    int32_t value = eq_code_value(word, half, twos);
    uint32_t bit = half;
    for (int32_t i = 0; i < 3 && bit > 0u; i++, bit >>= 1) {
        const int32_t other = eq_code_value(word ^ bit, half, twos);
        const int32_t a = other - zero, b = value - zero;
        if ((a < 0 ? -a : a) < (b < 0 ? -b : b)) {
            value = other;
        }
    }
    return value;
}

/* Four bits and their three checks above them: what corrects one bit error in the four. */
static inline uint32_t eq_code_hamming(uint32_t x)
{
    const uint32_t a = (x ^ (x >> 1) ^ (x >> 3) ^ (x >> 4)) & 1u;
    const uint32_t b = (x ^ (x >> 2) ^ (x >> 3) ^ (x >> 5)) & 1u;
    const uint32_t c = ((x >> 1) ^ (x >> 2) ^ (x >> 3) ^ (x >> 6)) & 1u;
    return (a & b & (c ^ 1u)) | (a & (b ^ 1u) & c) << 1 | ((a ^ 1u) & b & c) << 2 | (a & b & c) << 3;
}

/* The majority, bit by bit, of a byte that is stored three times. */
static inline uint32_t eq_code_voted(const uint8_t *byte)
{
    const uint32_t a = byte[0], b = byte[1], c = byte[2];
    return (a & b) | (b & c) | (a & c);
}

/* The word at bit `at` of a stream; `thrice`: every byte is stored three times. */
static inline uint32_t eq_code_word(const uint8_t *codes, int32_t at, int32_t width, int32_t thrice)
{
    const int32_t i = at >> 3;
    uint32_t word = thrice ? eq_code_voted(codes + 3 * i) : codes[i];
    if ((at & 7) + width > 8) {
        word |= (thrice ? eq_code_voted(codes + 3 * i + 3) : (uint32_t)codes[i + 1]) << 8;
    }
    return (word >> (at & 7)) & ((1u << width) - 1u);
}

/* The value of a word of `bits` bits and a check, corrected; `zero` is the zero point that it holds. */
static inline int32_t eq_code_read(uint32_t word, int32_t bits, int32_t offset, int32_t check, int32_t zero)
{
    const uint32_t half = 1u << (bits - 1), twos = offset ? 0u : half;
    if (check == EQ_CHECK_PARITY) {
        uint32_t odd = word & (half | (half >> 1) | (half >> 2) | (2u * half));
        odd ^= odd >> 8;
        odd ^= odd >> 4;
        odd ^= odd >> 2;
        odd ^= odd >> 1;
        if (odd & 1u) {
            return eq_code_mended(word, half, twos, zero);
        }
    } else if (check == EQ_CHECK_TRIPLE) {
        const uint32_t top = word >> (bits - 1);
        const uint32_t votes = (top & 1u) + ((top >> 1) & 1u) + ((top >> 2) & 1u);
        word = (word & (half - 1u)) | (votes >= 2u ? half : 0u);
    } else if (check == EQ_CHECK_HAMMING) {
        word ^= eq_code_hamming(word >> (bits - 4)) << (bits - 4);
    }
    return eq_code_value(word, half, twos);
}

/* `count` weights of `bits` bits from a stream of words, the first in the lowest bits; `thrice` as above. */
static inline void eq_decode_weights(const uint8_t *codes, int8_t *weights, int32_t count, int32_t thrice, int32_t bits, int32_t offset,
                                     int32_t check)
{
    const int32_t width = bits + check;
    for (int32_t i = 0; i < count; i++) {
        weights[i] = (int8_t)eq_code_read(eq_code_word(codes, i * width, width, thrice), bits, offset, check, 0);
    }
}

/* The CRC-8 of SAE J1850 after two bits more. */
static inline uint32_t eq_code_crc(uint32_t crc, uint32_t two)
{
    crc ^= two << 6;
    crc = (crc << 1) ^ ((crc & 0x80u) ? 0x1Du : 0u);
    crc = (crc << 1) ^ ((crc & 0x80u) ? 0x1Du : 0u);
    return crc & 0xFFu;
}

/* `rows` rows of `length` weights, each a zero point (`asymmetric`), a checksum (`crc`) and a stream of words. They go to `weights` in
   blocks of `block` rows: the first weights of all rows of a block, then the second ones, and so on. */
static inline void eq_decode_rows(const uint8_t *codes, int8_t *weights, int32_t rows, int32_t length, int32_t block, int32_t thrice,
                                  int32_t bits, int32_t offset, int32_t check, int32_t asymmetric, int32_t crc)
{
    const int32_t width = bits + check, low = bits - 2, bytes = (length * width + 7) / 8;
    const uint32_t half = 1u << (bits - 1);
    for (int32_t r = 0; r < rows; r++) {
        int8_t *const row = weights + r / block * block * length + r % block;
        int32_t zero = 0;
        uint32_t wanted = 0;
        if (asymmetric) {
            zero = eq_code_value(eq_code_voted(codes), half, offset ? 0u : half);
            codes += 3;
        }
        if (crc) {
            wanted = eq_code_voted(codes);
            codes += 3;
        }
        uint32_t found = 0xFFu ^ ((uint32_t)zero & 0xFFu);
        for (int32_t k = 0; k < length; k++) {
            const int32_t value = eq_code_read(eq_code_word(codes, k * width, width, thrice), bits, offset, check, zero);
            row[k * block] = (int8_t)(value - zero);
            if (crc) {
                found = eq_code_crc(found, ((uint32_t)value >> low) & 3u);
            }
        }
        for (int32_t k = 0; crc && found != wanted && k < length; k++) {
            row[k * block] = 0;
        }
        codes += thrice ? 3 * bytes : bytes;
    }
}

#endif
