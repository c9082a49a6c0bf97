/* XCV, the CORE-V extensions, as a CV32E40P (COREV_PULP = 1) computes them. */
#include "iss.h"

#define LANE_H(v, i) ((int32_t)(int16_t)((v) >> 16 * (i)))
#define LANE_B(v, i) ((int32_t)(int8_t)((v) >> 8 * (i)))
#define LANE_UH(v, i) ((v) >> 16 * (i) & 0xFFFFu)
#define LANE_UB(v, i) ((v) >> 8 * (i) & 0xFFu)

static uint32_t leading_zeros(uint32_t v)
{
    return v ? (uint32_t)__builtin_clz(v) : 32u;
}

static uint32_t below(uint32_t width) /* a mask of width + 1 bits */
{
    return ~(0xFFFFFFFEu << width);
}

static uint32_t extract(uint32_t a, uint32_t width, uint32_t from, int is_signed)
{
    const uint32_t v = is_signed ? (uint32_t)((int32_t)a >> from) : a >> from, mask = below(width);
    return (v & mask) | (is_signed && (v >> width & 1u) ? ~mask : 0);
}

static uint32_t reversed(uint32_t v, uint32_t group)
{
    uint32_t r = 0;
    for (uint32_t i = 0; (i + 1u) * group <= 32u; i++) {
        r |= (v >> (32u - (i + 1u) * group) & ((1u << group) - 1u)) << i * group;
    }
    return r;
}

static uint32_t clipped(uint32_t a, uint32_t high, int is_signed)
{
    const int32_t v = (int32_t)a, top = (int32_t)high, low = is_signed ? -top - 1 : 0;
    return (uint32_t)(v <= low ? low : v >= top ? top : v);
}

static uint32_t shifted(uint32_t sum, uint32_t shift, int is_signed)
{
    return is_signed ? (uint32_t)((int32_t)sum >> shift) : sum >> shift;
}

static uint32_t rounding(uint32_t shift)
{
    return (1u << shift) >> 1;
}

/* cv.add*N and cv.sub*N: `code` has bit 0 unsigned, bit 1 rounded, bit 2 subtracted. */
static uint32_t normalised(uint32_t code, uint32_t shift, uint32_t a, uint32_t b)
{
    const uint32_t sum = (code & 4u ? a - b : a + b) + (code & 2u ? rounding(shift) : 0);
    return shifted(sum, shift, !(code & 1u));
}

static uint32_t bit_field(uint32_t code, uint32_t a, uint32_t field, uint32_t c)
{
    const uint32_t width = field >> 5 & 31u, from = field & 31u, mask = below(width) << from;
    switch (code) {
    case 0x18: return extract(a, width, from, 1);
    case 0x19: return extract(a, width, from, 0);
    case 0x1A: return (a << from & mask) | (c & ~mask);
    case 0x1C: return a & ~mask;
    default: return a | mask;
    }
}

/* Codes are those of funct7 of custom-1, and from 0x80 on the immediate forms that the decoder makes. */
uint32_t eq_alu(uint32_t code, uint32_t a, uint32_t b, uint32_t c)
{
    const int32_t sa = (int32_t)a, sb = (int32_t)b;
    switch (code) {
    case 0x18: case 0x19: case 0x1A: case 0x1C: case 0x1D: return bit_field(code, a, b, c);
    case 0x20: return b & 31u ? a >> (b & 31u) | a << (32u - (b & 31u)) : a;
    case 0x21: return a ? (uint32_t)__builtin_ctz(a) : 32u;
    case 0x22: return a ? 31u - leading_zeros(a) : 32u;
    case 0x23: return a == 0 ? 0 : leading_zeros(sa < 0 ? ~a : a) - 1u;
    case 0x24: return (uint32_t)__builtin_popcount(a);
    case 0x28: return sa < 0 ? 0u - a : a;
    case 0x29: return sa <= sb;
    case 0x2A: return a <= b;
    case 0x2B: return sa < sb ? a : b;
    case 0x2C: return a < b ? a : b;
    case 0x2D: return sa > sb ? a : b;
    case 0x2E: return a > b ? a : b;
    case 0x30: return (uint32_t)(int32_t)(int16_t)a;
    case 0x31: return a & 0xFFFFu;
    case 0x32: return (uint32_t)(int32_t)(int8_t)a;
    case 0x33: return a & 0xFFu;
    case 0x38: return clipped(a, b, 1); /* b: the upper bound, by the decoder */
    case 0x39: return clipped(a, b, 0);
    case 0x3A: return clipped(a, b & 0x7FFFFFFFu, 1);
    case 0x3B: return clipped(a, b & 0x7FFFFFFFu, 0);
    case 0x40: case 0x41: case 0x42: case 0x43: case 0x44: case 0x45: case 0x46: case 0x47:
        return normalised(code, b & 31u, c, a);
    case 0x80: { /* cv.bitrev: radix and points */
        static const uint32_t group[4] = { 1, 2, 3, 1 };
        return reversed(a << (b & 31u), group[b >> 5 & 3u]);
    }
    default: return 0;
    }
}

/* custom-2, funct3 2 to 7: `code` is funct3 << 2 | funct2. */
uint32_t eq_muln(uint32_t code, uint32_t shift, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t f3 = code >> 2, half = code & 1u, round = code & 2u;
    if (f3 < 4u) { /* funct2: bit 0 unsigned, bit 1 rounded */
        return normalised((code & 3u) | (f3 == 3u ? 4u : 0), shift, a, b);
    }
    const int is_signed = !(f3 & 1u);
    const uint32_t product = is_signed ? (uint32_t)(LANE_H(a, half) * LANE_H(b, half)) : LANE_UH(a, half) * LANE_UH(b, half);
    const uint32_t sum = product + (f3 >= 6u ? c : 0) + (round ? rounding(shift) : 0);
    return shifted(sum, shift, is_signed);
}

static int compared(uint32_t code, int32_t a, int32_t b)
{
    const uint32_t ua = (uint32_t)a, ub = (uint32_t)b;
    switch (code) {
    case 0: return a == b;
    case 1: return a != b;
    case 2: return a > b;
    case 3: return a >= b;
    case 4: return a < b;
    case 5: return a <= b;
    case 6: return ua > ub;
    case 7: return ua >= ub;
    case 8: return ua < ub;
    default: return ua <= ub;
    }
}

/* One lane of `width` bits; a and b signed, or zero-extended for the unsigned operations. */
static uint32_t lane(uint32_t code, int32_t a, int32_t b, uint32_t width)
{
    const uint32_t ua = (uint32_t)a, ub = (uint32_t)b, mask = (1u << width) - 1u, by = ub & (width - 1u);
    const uint32_t sum = ua + ub;
    switch (code) {
    case 0: return sum;
    case 1: return ua - ub;
    case 2: return (uint32_t)((int32_t)(sum << (32u - width)) >> (33u - width));
    case 3: return (sum & mask) >> 1;
    case 4: case 5: return a < b ? ua : ub;
    case 6: case 7: return a > b ? ua : ub;
    case 8: return (ua & mask) >> by;
    case 9: return (uint32_t)(a >> by);
    case 10: return ua << by;
    case 11: return ua | ub;
    case 12: return ua ^ ub;
    case 13: return ua & ub;
    default: return a > 0 ? ua : 0u - ua; /* 14: abs */
    }
}

static int is_unsigned(uint32_t code)
{
    return code == 3u || code == 5u || code == 7u || (code >= 0x26u && code <= 0x29u);
}

static uint32_t lanes(uint32_t code, uint32_t a, uint32_t b, int bytes)
{
    const uint32_t width = bytes ? 8u : 16u, count = 32u / width, mask = (1u << width) - 1u;
    uint32_t r = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t down = 32u - width, up = down - i * width;
        int32_t x = (int32_t)(a << up), y = (int32_t)(b << up);
        if (is_unsigned(code)) {
            x = (int32_t)((uint32_t)x >> down);
            y = (int32_t)((uint32_t)y >> down);
        } else {
            x >>= down;
            y >>= down;
        }
        const uint32_t v = code & 0x20u ? (compared(code & 31u, x, y) ? mask : 0) : lane(code, x, y, width) & mask;
        r |= v << i * width;
    }
    return r;
}

static uint32_t dot(uint32_t code, uint32_t a, uint32_t b, uint32_t c, int bytes)
{
    const int unsigned_a = code % 3u != 0, unsigned_b = code % 3u == 1u; /* 16, 19: up; 17, 20: usp; 18, 21: sp */
    uint32_t sum = code >= 19u ? c : 0;
    for (int i = 0; i < (bytes ? 4 : 2); i++) {
        const int32_t x = bytes ? (unsigned_a ? (int32_t)LANE_UB(a, i) : LANE_B(a, i)) : unsigned_a ? (int32_t)LANE_UH(a, i) : LANE_H(a, i);
        const int32_t y = bytes ? (unsigned_b ? (int32_t)LANE_UB(b, i) : LANE_B(b, i)) : unsigned_b ? (int32_t)LANE_UH(b, i) : LANE_H(b, i);
        sum += (uint32_t)x * (uint32_t)y;
    }
    return sum;
}

static uint32_t shuffled(uint32_t code, uint32_t a, uint32_t b, uint32_t c, int bytes)
{
    const int two = code == 0x1Cu;
    uint32_t r = 0;
    for (int i = 0; i < (bytes ? 4 : 2); i++) {
        const uint32_t choice = bytes ? LANE_UB(b, i) : LANE_UH(b, i);
        const uint32_t from = two && !(choice & (bytes ? 4u : 2u)) ? c : a;
        r |= bytes ? LANE_UB(from, choice & 3u) << 8 * i : LANE_UH(from, choice & 1u) << 16 * i;
    }
    return r;
}

/* Moves of single lanes; b is the index, or the word of the second operand. */
static uint32_t moved(uint32_t code, uint32_t a, uint32_t b, uint32_t c, int bytes)
{
    switch (code) {
    case 0x17: { /* extract, extractu, insert: bits 8 and up of b choose */
        const uint32_t width = bytes ? 8u : 16u, at = (b & (bytes ? 3u : 1u)) * width, mask = (1u << width) - 1u;
        if (b >> 8 == 2u) {
            return (c & ~(mask << at)) | (a & mask) << at;
        }
        return extract(a, width - 1u, at, b >> 8 == 0);
    }
    case 0x1E: return (a & 0xFFFFu) << 16 | (b & 0xFFFFu);
    case 0x3E: return (a & 0xFFFF0000u) | b >> 16;
    case 0x1F: return (c & 0xFFFF0000u) | (a & 0xFFu) << 8 | (b & 0xFFu);
    default: return (c & 0xFFFFu) | (a & 0xFFu) << 24 | (b & 0xFFu) << 16; /* 0x3F */
    }
}

/* Complex numbers: the real part is the lower half. `b`'s division is in bits 4 and up of `code`, 0x48 and up. */
static uint32_t complex_number(uint32_t code, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t by = code >> 4 & 3u;
    const int64_t ar = LANE_H(a, 0), ai = LANE_H(a, 1), br = LANE_H(b, 0), bi = LANE_H(b, 1);
    switch (code & 0xFu) {
    case 0: return (c & 0xFFFF0000u) | ((uint32_t)((ar * br - ai * bi) >> (15u + by)) & 0xFFFFu);
    case 1: return (c & 0xFFFFu) | (uint32_t)((ar * bi + ai * br) >> (15u + by)) << 16;
    case 2: return (uint32_t)(-ai) << 16 | (a & 0xFFFFu);
    case 3: {
        const int32_t high = (int16_t)(br - ar), low = (int16_t)(ai - bi);
        return (uint32_t)(high >> by) << 16 | ((uint32_t)(low >> by) & 0xFFFFu);
    }
    case 4: return (uint32_t)((int32_t)(int16_t)(ai + bi) >> by) << 16 | ((uint32_t)((int32_t)(int16_t)(ar + br) >> by) & 0xFFFFu);
    default: return (uint32_t)((int32_t)(int16_t)(ai - bi) >> by) << 16 | ((uint32_t)((int32_t)(int16_t)(ar - br) >> by) & 0xFFFFu);
    }
}

/* custom-3. `code`: funct5, + 0x20 for comparisons and the second of two packs, + 0x40 for bytes; from 0x80 on complex numbers. */
uint32_t eq_simd(uint32_t code, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t what = code & 0x3Fu;
    const int bytes = (code & 0x40u) != 0;
    if (code & 0x80u) {
        return complex_number(code & 0x7Fu, a, b, c);
    }
    if (what < 16u || (what >= 0x20u && what < 0x30u)) {
        return lanes(what, a, b, bytes);
    }
    if (what < 22u) {
        return dot(what, a, b, c, bytes);
    }
    if (what >= 0x18u && what < 0x1Du) {
        return shuffled(what, a, b, c, bytes);
    }
    return moved(what, a, b, c, bytes);
}
