/* Half precision: scalars as in Zfhmin, and two lanes in a register as in the smallFloat extensions Xfvec and Xfaux of PULP's cores.
 * Rounds to nearest even, whatever frm says; raises no flags. */
#include "iss.h"
#include "singles.h"

#include <math.h>

#define CANONICAL_HALF 0x7E00u
#define BOX 0xFFFF0000u

static int is_nan(uint32_t h)
{
    return (h & 0x7FFFu) > 0x7C00u;
}

/* Exact. */
static float of_half(uint32_t h)
{
    const uint32_t magnitude = h & 0x7FFFu, sign = (h & 0x8000u) << 16;
    if (magnitude >= 0x7C00u) {
        return real(is_nan(h) ? CANONICAL : sign | 0x7F800000u);
    }
    return real(word(real(magnitude << 13) * 0x1p112f) | sign);
}

/* Rounded once. */
static uint32_t half_of(double v)
{
    const uint32_t sign = signbit(v) ? 0x8000u : 0;
    const double size = fabs(v);
    if (isnan(v)) {
        return CANONICAL_HALF;
    }
    if (size >= 65520.0) {
        return sign | 0x7C00u;
    }
    if (size < 0x1p-14) {
        return sign | (uint32_t)rint(size * 0x1p24);
    }
    int exponent;
    const double fraction = frexp(size, &exponent); /* from 1/2 to 1 */
    return sign | (((uint32_t)(exponent + 14) << 10) + (uint32_t)rint(fraction * 2048.0) - 1024u);
}

static uint32_t unboxed(uint32_t v)
{
    return v >= BOX ? v & 0xFFFFu : CANONICAL_HALF;
}

/* flh and fsh are the loop's; here are conversions and moves. x is funct7, imm funct3. Returns whether it exists. */
int eq_half(eq_machine *m, const eq_op *op)
{
    const uint32_t a = m->f[op->rs1];
    switch (op->x) {
    case 0x20: m->f[op->rd] = word(of_half(unboxed(a))); return op->rs2 == 2u;
    case 0x22: m->f[op->rd] = BOX | half_of((double)real(a)); return op->rs2 == 0;
    case 0x72:
        if (op->rd) {
            m->x[op->rd] = (uint32_t)(int32_t)(int16_t)a;
        }
        return op->imm == 0 && op->rs2 == 0;
    case 0x7A: m->f[op->rd] = BOX | (m->x[op->rs1] & 0xFFFFu); return op->imm == 0 && op->rs2 == 0;
    default: return 0;
    }
}

/* minimum and maximum: a number rather than not-a-number, -0 below 0 */
static uint32_t extreme(uint32_t a, uint32_t b, int largest)
{
    if (is_nan(a) || is_nan(b)) {
        return is_nan(a) ? (is_nan(b) ? CANONICAL_HALF : b) : a;
    }
    const float x = of_half(a), y = of_half(b);
    const int a_less = x < y || (x == y && a >> 15 > b >> 15);
    return a_less != largest ? a : b;
}

static uint32_t lane(uint32_t code, uint32_t a, uint32_t b, uint32_t c)
{
    const double x = (double)of_half(a), y = (double)of_half(b);
    switch (code) {
    case 0x41: return half_of(x + y);
    case 0x42: return half_of(x - y);
    case 0x43: return half_of(x * y);
    case 0x45: return extreme(a, b, 0);
    case 0x46: return extreme(a, b, 1);
    default: return half_of(x * y + (double)of_half(c)); /* 0x48: where float64 rounds, what is lost is far from the middle of two halves */
    }
}

/* Two lanes, the first in the lower half. x is funct7; funct3 6 takes the first lane of rs2 for both. Returns whether it exists. */
int eq_half_lanes(eq_machine *m, const eq_op *op)
{
    const uint32_t a = m->f[op->rs1], b = op->imm == 6u ? (m->f[op->rs2] & 0xFFFFu) * 0x10001u : m->f[op->rs2], c = m->f[op->rd];
    switch (op->x) {
    case 0x41: case 0x42: case 0x43: case 0x45: case 0x46: case 0x48:
        m->f[op->rd] = lane(op->x, a & 0xFFFFu, b & 0xFFFFu, c & 0xFFFFu) | lane(op->x, a >> 16, b >> 16, c >> 16) << 16;
        return 1;
    case 0x4B: { /* vfdotpex.s.h: the first lane's product is added first; products are exact, each sum is rounded */
        const float first = real(c) + of_half(a & 0xFFFFu) * of_half(b & 0xFFFFu);
        m->f[op->rd] = word(first + of_half(a >> 16) * of_half(b >> 16));
        return 1;
    }
    case 0x58: /* vfcpka.h.s */
        m->f[op->rd] = half_of((double)real(a)) | half_of((double)real(m->f[op->rs2])) << 16;
        return op->imm == 2u;
    default: return 0;
    }
}
