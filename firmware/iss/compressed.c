/* RVC: each instruction of 16 bits as the one of 32 bits that it stands for. */
#include "iss.h"

static uint32_t bits(uint32_t v, int high, int low)
{
    return (v >> low) & ((1u << (high - low + 1)) - 1u);
}

static uint32_t i_type(uint32_t op, uint32_t f3, uint32_t rd, uint32_t rs1, uint32_t imm)
{
    return op | rd << 7 | f3 << 12 | rs1 << 15 | (imm & 0xFFFu) << 20;
}

static uint32_t s_type(uint32_t op, uint32_t f3, uint32_t rs1, uint32_t rs2, uint32_t imm)
{
    return op | (imm & 31u) << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | (imm >> 5 & 0x7Fu) << 25;
}

static uint32_t r_type(uint32_t f3, uint32_t f7, uint32_t rd, uint32_t rs1, uint32_t rs2)
{
    return 0x33u | rd << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | f7 << 25;
}

static uint32_t jal(uint32_t rd, uint32_t imm)
{
    return 0x6Fu | rd << 7 | (imm & 0xFF000u) | (imm >> 11 & 1u) << 20 | (imm >> 1 & 0x3FFu) << 21 | (imm >> 20 & 1u) << 31;
}

static uint32_t signed_bits(uint32_t v, int width)
{
    return (uint32_t)((int32_t)(v << (32 - width)) >> (32 - width));
}

static uint32_t jump_offset(uint32_t h)
{
    return signed_bits(
        bits(h, 12, 12) << 11 | bits(h, 11, 11) << 4 | bits(h, 10, 9) << 8 | bits(h, 8, 8) << 10 | bits(h, 7, 7) << 6 |
            bits(h, 6, 6) << 7 | bits(h, 5, 3) << 1 | bits(h, 2, 2) << 5,
        12);
}

static uint32_t branch(uint32_t h, uint32_t f3)
{
    const uint32_t imm =
        bits(h, 12, 12) << 8 | bits(h, 11, 10) << 3 | bits(h, 6, 5) << 6 | bits(h, 4, 3) << 1 | bits(h, 2, 2) << 5;
    const uint32_t i = signed_bits(imm, 9);
    return 0x63u | (i >> 11 & 1u) << 7 | (i >> 1 & 15u) << 8 | f3 << 12 | (8u + bits(h, 9, 7)) << 15 | (i >> 5 & 63u) << 25 |
           (i >> 12 & 1u) << 31;
}

static uint32_t quadrant0(uint32_t h)
{
    const uint32_t rd = 8u + bits(h, 4, 2), rs1 = 8u + bits(h, 9, 7);
    const uint32_t word = bits(h, 12, 10) << 3 | bits(h, 6, 6) << 2 | bits(h, 5, 5) << 6;
    switch (h >> 13) {
    case 0: {
        const uint32_t imm = bits(h, 12, 11) << 4 | bits(h, 10, 7) << 6 | bits(h, 6, 6) << 2 | bits(h, 5, 5) << 3;
        return imm ? i_type(0x13, 0, rd, 2, imm) : 0;
    }
    case 2: return i_type(0x03, 2, rd, rs1, word);
    case 3: return i_type(0x07, 2, rd, rs1, word);
    case 6: return s_type(0x23, 2, rs1, rd, word);
    case 7: return s_type(0x27, 2, rs1, rd, word);
    default: return 0;
    }
}

static uint32_t arithmetic(uint32_t h, uint32_t imm)
{
    static const uint32_t f3[4] = { 0, 4, 6, 7 };
    const uint32_t rd = 8u + bits(h, 9, 7), rs2 = 8u + bits(h, 4, 2);
    switch (bits(h, 11, 10)) {
    case 0: return bits(h, 12, 12) ? 0 : i_type(0x13, 5, rd, rd, imm & 31u);
    case 1: return bits(h, 12, 12) ? 0 : i_type(0x13, 5, rd, rd, (imm & 31u) | 0x400u);
    case 2: return i_type(0x13, 7, rd, rd, imm);
    default: return bits(h, 12, 12) ? 0 : r_type(f3[bits(h, 6, 5)], bits(h, 6, 5) ? 0 : 0x20, rd, rd, rs2);
    }
}

static uint32_t quadrant1(uint32_t h)
{
    const uint32_t rd = bits(h, 11, 7), imm = signed_bits(bits(h, 12, 12) << 5 | bits(h, 6, 2), 6);
    switch (h >> 13) {
    case 0: return i_type(0x13, 0, rd, rd, imm);
    case 1: return jal(1, jump_offset(h));
    case 2: return i_type(0x13, 0, rd, 0, imm);
    case 3:
        if (rd == 2u) {
            const uint32_t big = signed_bits(
                bits(h, 12, 12) << 9 | bits(h, 6, 6) << 4 | bits(h, 5, 5) << 6 | bits(h, 4, 3) << 7 | bits(h, 2, 2) << 5, 10);
            return big ? i_type(0x13, 0, 2, 2, big) : 0;
        }
        return imm ? 0x37u | rd << 7 | imm << 12 : 0;
    case 4: return arithmetic(h, imm);
    case 5: return jal(0, jump_offset(h));
    case 6: return branch(h, 0);
    default: return branch(h, 1);
    }
}

static uint32_t quadrant2(uint32_t h)
{
    const uint32_t rd = bits(h, 11, 7), rs2 = bits(h, 6, 2);
    const uint32_t from = bits(h, 12, 12) << 5 | bits(h, 6, 4) << 2 | bits(h, 3, 2) << 6;
    const uint32_t to = bits(h, 12, 9) << 2 | bits(h, 8, 7) << 6;
    switch (h >> 13) {
    case 0: return bits(h, 12, 12) ? 0 : i_type(0x13, 1, rd, rd, rs2);
    case 2: return rd ? i_type(0x03, 2, rd, 2, from) : 0;
    case 3: return i_type(0x07, 2, rd, 2, from);
    case 4:
        if (!bits(h, 12, 12)) {
            return rs2 ? r_type(0, 0, rd, 0, rs2) : rd ? i_type(0x67, 0, 0, rd, 0) : 0;
        }
        return rs2 ? r_type(0, 0, rd, rd, rs2) : rd ? i_type(0x67, 0, 1, rd, 0) : 0x00100073u;
    case 6: return s_type(0x23, 2, 2, rs2, to);
    case 7: return s_type(0x27, 2, 2, rs2, to);
    default: return 0;
    }
}

uint32_t eq_expand(uint32_t half)
{
    switch (half & 3u) {
    case 0: return quadrant0(half);
    case 1: return quadrant1(half);
    default: return quadrant2(half);
    }
}
