/* F: single precision by the host's unit, whose rounding and flags are IEEE 754's too; not-a-number is always the canonical one. */
#include "iss.h"
#include "singles.h"

#include <fenv.h>
#include <math.h>

#pragma STDC FENV_ACCESS ON

enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };

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

/* The host's rounding mode for one of an instruction; TIES_AWAY is none of the host's; NO_MODE: it does not exist. */
enum { TIES_AWAY = -1, NO_MODE = -2 };

static int rounding(const eq_machine *m, uint32_t rm)
{
    static const int modes[5] = { FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD, TIES_AWAY };
    rm = rm == 7u ? m->frm : rm;
    return rm < 5u ? modes[rm] : NO_MODE;
}

/* Operands of an operation, by the code of OP-FP, or FUSED; i is an integer to be converted. */
enum { ADD = 0x00, SUBTRACT = 0x04, MULTIPLY = 0x08, DIVIDE = 0x0C, ROOT = 0x2C, CONVERT = 0x68, FUSED = 0x80 };
typedef struct {
    uint32_t code;
    float a, b, c;
    double i;
} operation;

static float in_single(const volatile operation *o)
{
    volatile float r; /* computed here, in the mode that is set */
    switch (o->code) {
    case ADD: r = o->a + o->b; break;
    case SUBTRACT: r = o->a - o->b; break;
    case MULTIPLY: r = o->a * o->b; break;
    case DIVIDE: r = o->a / o->b; break;
    case ROOT: r = sqrtf(o->a); break;
    case CONVERT: r = (float)o->i; break;
    default: r = fmaf(o->a, o->b, o->c); break;
    }
    return r;
}

static double in_double(const volatile operation *o)
{
    const volatile double a = o->a, b = o->b, c = o->c;
    volatile double r;
    switch (o->code) {
    case ADD: r = a + b; break;
    case SUBTRACT: r = a - b; break;
    case MULTIPLY: r = a * b; break;
    case DIVIDE: r = a / b; break;
    case ROOT: r = sqrt(a); break;
    case CONVERT: r = o->i; break;
    default: r = fma(a, b, c); break;
    }
    return r;
}

/* To nearest, of two that are as near the one farther from zero: where the even one is the other, the exact result is halfway.
 * Cut off to float64 it is compared with that, which float64 holds. Flags are those of rounding to even. */
static float away(const volatile operation *o)
{
    fexcept_t flags;
    float r = in_single(o);
    fegetexceptflag(&flags, FE_ALL_EXCEPT);
    fesetround(FE_TOWARDZERO);
    const float cut = in_single(o);
    const double d = in_double(o);
    fesetround(FE_TONEAREST);
    if (isfinite(r) && r == cut) {
        const float next = nextafterf(cut, d < 0 ? -INFINITY : INFINITY);
        if (isfinite(next) && d == ((double)cut + (double)next) / 2) {
            r = next;
        }
    }
    fesetexceptflag(&flags, FE_ALL_EXCEPT);
    return r;
}

static uint32_t rounded(const operation o, int mode)
{
    if (mode == TIES_AWAY) {
        return word(away(&o));
    }
    if (mode != FE_TONEAREST) {
        fesetround(mode);
    }
    const float r = in_single(&o);
    if (mode != FE_TONEAREST) {
        fesetround(FE_TONEAREST);
    }
    return word(r);
}

static uint32_t to_integer(float f, uint32_t v, int is_unsigned, int mode)
{
    const double low = is_unsigned ? 0.0 : -2147483648.0, high = is_unsigned ? 4294967295.0 : 2147483647.0;
    if (is_nan(v)) {
        feraiseexcept(FE_INVALID);
        return is_unsigned ? 0xFFFFFFFFu : 0x7FFFFFFFu;
    }
    fexcept_t flags;
    fegetexceptflag(&flags, FE_ALL_EXCEPT);
    const volatile double d = (double)f;
    const volatile double r = mode < 0 ? round(d) : mode == FE_TONEAREST ? rint(d) : mode == FE_TOWARDZERO ? trunc(d) : mode == FE_DOWNWARD ? floor(d) : ceil(d);
    fesetexceptflag(&flags, FE_ALL_EXCEPT); /* they may say that r is inexact, where it does not fit either */
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
    if (mode == NO_MODE) {
        return 0;
    }
    const double i = op->rs2 ? (double)m->x[op->rs1] : (double)(int32_t)m->x[op->rs1];
    m->f[op->rd] = rounded((operation){ code, real(m->f[op->rs1]), real(m->f[op->rs2]), 0.0f, i }, mode);
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
        const int mode = rounding(m, f3);
        if (mode == NO_MODE) {
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
    if (mode == NO_MODE) {
        return 0;
    }
    const uint32_t minus_product = op->x >= 2u ? 0x80000000u : 0, minus_sum = op->x == 1u || op->x == 3u ? 0x80000000u : 0;
    const float a = real(m->f[op->rs1] ^ minus_product), b = real(m->f[op->rs2]), c = real(m->f[op->imm >> 3] ^ minus_sum);
    m->f[op->rd] = rounded((operation){ FUSED, a, b, c, 0.0 }, mode);
    return 1;
}
