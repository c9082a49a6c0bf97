/* F: single precision by the host's unit, whose rounding and flags are IEEE 754's too; not-a-number is always the canonical one. */
#include "iss.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

#pragma STDC FENV_ACCESS ON

#define CANONICAL 0x7FC00000u
enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };

static float real(uint32_t v)
{
    float f;
    memcpy(&f, &v, 4);
    return f;
}

static uint32_t word(float f)
{
    uint32_t v;
    memcpy(&v, &f, 4);
    return (v & 0x7FFFFFFFu) > 0x7F800000u ? CANONICAL : v;
}

static int is_nan(uint32_t v)
{
    return (v & 0x7FFFFFFFu) > 0x7F800000u;
}

static int signals(uint32_t v)
{
    return is_nan(v) && !(v & 0x400000u);
}

uint32_t eq_float_flags(void)
{
    const int f = fetestexcept(FE_ALL_EXCEPT);
    return (f & FE_INEXACT ? NX : 0u) | (f & FE_UNDERFLOW ? UF : 0u) | (f & FE_OVERFLOW ? OF : 0u) |
           (f & FE_DIVBYZERO ? DZ : 0u) | (f & FE_INVALID ? NV : 0u);
}

void eq_float_set_flags(uint32_t flags)
{
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept((flags & UF ? FE_UNDERFLOW : 0) | (flags & OF ? FE_OVERFLOW : 0) | (flags & DZ ? FE_DIVBYZERO : 0) |
                  (flags & NV ? FE_INVALID : 0));
    if (flags & NX) {
        feraiseexcept(FE_INEXACT);
    } else if (fetestexcept(FE_INEXACT)) {
        feclearexcept(FE_INEXACT);
    }
}

/* The host's rounding mode for one of an instruction; -1: none that exists (ties away is none of the host's). */
static int rounding(const eq_machine *m, uint32_t rm)
{
    static const int modes[4] = { FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD };
    rm = rm == 7u ? m->frm : rm;
    return rm < 4u ? modes[rm] : -1;
}

static uint32_t to_integer(float f, uint32_t v, int is_unsigned, int mode)
{
    const double low = is_unsigned ? 0.0 : -2147483648.0, high = is_unsigned ? 4294967295.0 : 2147483647.0;
    if (is_nan(v)) {
        feraiseexcept(FE_INVALID);
        return is_unsigned ? 0xFFFFFFFFu : 0x7FFFFFFFu;
    }
    const double d = (double)f;
    const double r = mode < 0 ? round(d) : mode == FE_TONEAREST ? rint(d) : mode == FE_TOWARDZERO ? trunc(d) : mode == FE_DOWNWARD ? floor(d) : ceil(d);
    if (r < low || r > high) {
        feraiseexcept(FE_INVALID);
        return r < low ? (is_unsigned ? 0 : 0x80000000u) : is_unsigned ? 0xFFFFFFFFu : 0x7FFFFFFFu;
    }
    if (r != d) {
        feraiseexcept(FE_INEXACT);
    }
    return is_unsigned ? (uint32_t)r : (uint32_t)(int32_t)r;
}

static uint32_t class_of(uint32_t v)
{
    const uint32_t sign = v >> 31, e = v >> 23 & 255u, fraction = v & 0x7FFFFFu;
    if (e == 255u && fraction) {
        return signals(v) ? 1u << 8 : 1u << 9;
    }
    const uint32_t size = e == 255u ? 0 : e ? 1u : fraction ? 2u : 3u; /* infinite, normal, subnormal, zero */
    return sign ? 1u << size : 1u << (7u - size);
}

static uint32_t extreme(uint32_t a, uint32_t b, int largest)
{
    if (signals(a) || signals(b)) {
        feraiseexcept(FE_INVALID);
    }
    if (is_nan(a)) {
        return is_nan(b) ? CANONICAL : b;
    }
    if (is_nan(b)) {
        return a;
    }
    const float x = real(a), y = real(b);
    const int a_less = x < y || (x == y && a >> 31 > b >> 31);
    return a_less != largest ? a : b;
}

static uint32_t compared(uint32_t a, uint32_t b, uint32_t f3)
{
    if (is_nan(a) || is_nan(b)) {
        if (f3 != 2u || signals(a) || signals(b)) {
            feraiseexcept(FE_INVALID);
        }
        return 0;
    }
    const float x = real(a), y = real(b);
    return f3 == 2u ? x == y : f3 == 1u ? x < y : x <= y;
}

static int computed(eq_machine *m, const eq_op *op, uint32_t code)
{
    const int mode = rounding(m, op->imm & 7u);
    if (mode < 0) {
        return 0;
    }
    volatile float a = real(m->f[op->rs1]), b = real(m->f[op->rs2]), r = 0.0f;
    if (mode != FE_TONEAREST) {
        fesetround(mode);
    }
    switch (code) {
    case 0x00: r = a + b; break;
    case 0x04: r = a - b; break;
    case 0x08: r = a * b; break;
    case 0x0C: r = a / b; break;
    case 0x2C: r = sqrtf(a); break;
    default: r = op->rs2 ? (float)m->x[op->rs1] : (float)(int32_t)m->x[op->rs1]; break; /* 0x68 */
    }
    if (mode != FE_TONEAREST) {
        fesetround(FE_TONEAREST);
    }
    m->f[op->rd] = word(r);
    return 1;
}

/* OP-FP; x is funct7, imm funct3. Returns whether it exists. */
int eq_float(eq_machine *m, const eq_op *op)
{
    const uint32_t a = m->f[op->rs1], b = m->f[op->rs2], f3 = op->imm & 7u;
    uint32_t r;
    switch (op->x) {
    case 0x00: case 0x04: case 0x08: case 0x0C: case 0x2C: case 0x68: return computed(m, op, op->x);
    case 0x10:
        m->f[op->rd] = (a & 0x7FFFFFFFu) | ((f3 == 0 ? b : f3 == 1u ? ~b : a ^ b) & 0x80000000u);
        return f3 < 3u;
    case 0x14: m->f[op->rd] = extreme(a, b, f3 == 1u); return f3 < 2u;
    case 0x50: r = compared(a, b, f3); break;
    case 0x60: {
        const int mode = rounding(m, f3), away = f3 == 4u || (f3 == 7u && m->frm == 4u);
        if (mode < 0 && !away) {
            return 0;
        }
        r = to_integer(real(a), a, op->rs2 & 1, mode);
        break;
    }
    case 0x70: r = f3 == 0 ? a : class_of(a); break;
    case 0x78: m->f[op->rd] = m->x[op->rs1]; return 1;
    default: return 0;
    }
    if (op->rd) {
        m->x[op->rd] = r;
    }
    return 1;
}

/* Fused multiplications; x is the opcode's bits 2 and 3: madd, msub, nmsub, nmadd; imm is rs3 << 3 | rm. */
int eq_fma(eq_machine *m, const eq_op *op)
{
    const int mode = rounding(m, op->imm & 7u);
    if (mode < 0) {
        return 0;
    }
    const uint32_t minus_product = op->x >= 2u ? 0x80000000u : 0, minus_sum = op->x == 1u || op->x == 3u ? 0x80000000u : 0;
    const float a = real(m->f[op->rs1] ^ minus_product), b = real(m->f[op->rs2]), c = real(m->f[op->imm >> 3] ^ minus_sum);
    if (mode != FE_TONEAREST) {
        fesetround(mode);
    }
    volatile float r = fmaf(a, b, c);
    if (mode != FE_TONEAREST) {
        fesetround(FE_TONEAREST);
    }
    m->f[op->rd] = word(r);
    return 1;
}
