/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Half precision: IEEE binary16 values as uint16_t; twin of edgeq/half.py. Freestanding ISO C99; by the chip's own
 * conversions where it has them. Compile with -ffp-contract=off. */
#ifndef EQ_F16_H
#define EQ_F16_H

#include "eq_float.h"

#if defined(__arm__) && defined(__ARM_FP) && defined(__ARM_FEATURE_FMA) /* both came with VFPv4 */
#define EQ_HALF_CONVERSIONS 1
#elif defined(__riscv_zfh) && defined(__FLT16_MANT_DIG__)
#define EQ_HALF_CONVERSIONS 1
#define EQ_HALF_TYPE 1
/* The compiler's own type, so that it may take several at once. */
typedef union {
    uint16_t bits;
    _Float16 half;
} eq_float16_t;
#elif defined(__riscv_flen) && defined(EQ_HAS_XFVEC) /* by .insn, as compilers do not know them */
#define EQ_HALF_CONVERSIONS 1
#define EQ_HALF_TYPE 0
#else
#define EQ_HALF_CONVERSIONS 0
#endif

/* Exact. */
static inline float eq_float_from_half(uint16_t h)
{
#if EQ_HALF_CONVERSIONS && defined(__riscv) && EQ_HALF_TYPE
    eq_float16_t x;
    x.bits = h;
    return (float)x.half;
#elif EQ_HALF_CONVERSIONS && defined(__riscv)
    float y;
    __asm__(".insn r 0x53, 0, 0x7a, %0, %1, x0\n\t.insn r 0x53, 0, 0x20, %0, %0, x2" : "=f"(y) : "r"((int32_t)h)); /* fmv.h.x, fcvt.s.h */
    return y;
#elif EQ_HALF_CONVERSIONS
    float y;
    __asm__("vcvtb.f32.f16 %0, %1" : "=t"(y) : "t"(eq_from_bits(h)));
    return y;
#else
    const int32_t magnitude = h & 0x7fff, special = (0x7bff - magnitude) >> 31; /* infinity and not-a-number */
    const float scaled = eq_from_bits(magnitude << 13) * 0x1p112f;              /* normalizes subnormals, too */
    return eq_from_bits(eq_bits(scaled) | (special & EQ_INFINITE_BITS) | eq_shift_left(h >> 15, 31));
#endif
}

/* To nearest, halves to even; overflows to infinity; not-a-number becomes 0x7e00 (Arm keeps its sign and payload). */
static inline uint16_t eq_half_from_float(float x)
{
#if EQ_HALF_CONVERSIONS && defined(__riscv) && EQ_HALF_TYPE
    eq_float16_t y;
    y.half = (_Float16)x;
    return y.bits;
#elif EQ_HALF_CONVERSIONS && defined(__riscv)
    int32_t y;
    float rounded;
    __asm__(".insn r 0x53, 0, 0x22, %1, %2, x0\n\t.insn r 0x53, 0, 0x72, %0, %1, x0" : "=r"(y), "=f"(rounded) : "f"(x)); /* fcvt.h.s, fmv.x.h */
    return (uint16_t)y;
#elif EQ_HALF_CONVERSIONS
    float y;
    __asm__("vcvtb.f16.f32 %0, %1" : "=t"(y) : "t"(x));
    return (uint16_t)eq_bits(y);
#elif defined(__riscv_flen)
    /* The FPU rounds: to the magnitude, four times as large (and infinite where a half is), comes a power of two whose last bit is
     * worth a half's last bit. (GCC would keep sums in integer registers, for their bits.) */
    __asm__("" : "+f"(x));
    const int32_t bits = eq_bits(x), magnitude = bits & INT32_MAX, exponent = magnitude & EQ_INFINITE_BITS;
    const float four = (eq_from_bits(magnitude) * 0x1p112f) * 0x1p-110f;
    const uint32_t power = (uint32_t)(eq_positive(exponent - 0x38800000) + 0x38800000) + 0x07800000u;
    const int32_t sum = eq_bits(eq_from_bits((int32_t)power) + four);
    const int32_t rounded = ((sum >> 13) & 0x7c00) + (sum & 0xfff), nan = (EQ_INFINITE_BITS - magnitude) >> 31;
    return (uint16_t)(((rounded | ((bits >> 16) & 0x8000)) & ~nan) | (nan & 0x7e00));
#else
    const int32_t bits = eq_bits(x), magnitude = bits & INT32_MAX, exponent = magnitude >> 23;
    const int32_t over = eq_positive(exponent - 113);                           /* above the smallest normal half's */
    const int32_t below = eq_positive(113 - exponent);
    const int32_t shift = 25 - eq_positive(12 - below);                         /* 13, more for subnormals, at most 25 */
    const int32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    const int32_t rounded = (mantissa + (1 << (shift - 1)) - 1 + ((mantissa >> shift) & 1)) >> shift;
    const int32_t finite = (over << 10) + rounded;
    const int32_t limited = finite - eq_positive(finite - 0x7c00);
    const int32_t nan = (EQ_INFINITE_BITS - magnitude) >> 31;
    return (uint16_t)((limited & ~nan) | (nan & 0x7e00) | ((bits >> 16) & 0x8000 & ~nan));
#endif
}

/* An integer that sorts as the halves do; -0 lies below 0. */
static inline int32_t eq_half_order(uint16_t h)
{
    const int32_t bits = (int16_t)h;
    return bits ^ ((bits >> 31) & 0x7fff);
}

static inline uint16_t eq_half_of_order(int32_t n)
{
    return (uint16_t)(n ^ ((n >> 31) & 0x7fff));
}

/* An integer that sorts as the numbers that halves are: -0 and 0 are equal. */
static inline int32_t eq_half_rank(uint16_t h)
{
    const int32_t n = eq_half_order(h);
    return n - (n >> 31);
}

/* A half of eq_half_rank, 0 for both zeros. */
static inline uint16_t eq_half_of_rank(int32_t n)
{
    return eq_half_of_order(n + (n >> 31));
}

/* A half between two limits given as eq_half_order. */
static inline uint16_t eq_half_clamp(uint16_t h, int32_t low, int32_t high)
{
    return eq_half_of_order(eq_clamp(eq_half_order(h), low, high));
}

/* max(h, 0). */
static inline uint16_t eq_half_positive(uint16_t h)
{
    return (uint16_t)(h & ~(uint32_t)((int32_t)(int16_t)h >> 31));
}

/* Products. Without conversions in hardware the constant factor is a half's bits in the place that they have in a
 * float, 2^112 times too small, and the other factor is 2^112 times too large: the product is right, and exact. */

/* A finite half as the constant factor. Read from memory as a signed number it is two instructions. */
static inline float eq_half_weight(const uint16_t *from)
{
    const int16_t w = *(const int16_t *)from;
#if EQ_HALF_CONVERSIONS
    return eq_float_from_half((uint16_t)w);
#else
    return eq_from_bits(eq_shift_left(w, 13) & (int32_t)0x8fffe000u);
#endif
}

/* A half as the other factor. */
static inline float eq_half_input(uint16_t x)
{
#if EQ_HALF_CONVERSIONS
    return eq_float_from_half(x);
#else
    return eq_float_from_half(x) * 0x1p112f;
#endif
}

/* a * b + c where a * b is exact: fused and unfused give the same bits. (Clang calls fmaf where GCC emits one instruction;
 * GCC keeps the operands of an assembly statement in other registers than those of its own instructions.) */
static inline float eq_add_product(float a, float b, float c)
{
#if defined(__GNUC__) && !defined(__clang__) && (EQ_HALF_CONVERSIONS || defined(__riscv_flen))
    return __builtin_fmaf(a, b, c);
#elif EQ_HALF_CONVERSIONS && !defined(__riscv)
    __asm__("vfma.f32 %0, %1, %2" : "+t"(c) : "t"(a), "t"(b));
    return c;
#elif defined(__riscv_flen)
    __asm__("fmadd.s %0, %1, %2, %0" : "+f"(c) : "f"(a), "f"(b));
    return c;
#else
    return c + a * b;
#endif
}

/* a * b + c of halves, rounded once: the sum in float32 rounded to odd is rounded to a half as the exact one is. */
static inline uint16_t eq_half_fused(uint16_t a, uint16_t b, uint16_t c)
{
#if defined(__arm__) && defined(__ARM_FEATURE_FP16_SCALAR_ARITHMETIC)
    float y = eq_from_bits(c);
    __asm__("vfma.f16 %0, %1, %2" : "+t"(y) : "t"(eq_from_bits(a)), "t"(eq_from_bits(b)));
    return (uint16_t)eq_bits(y);
#elif defined(__riscv_zfh)
    int32_t y = c;
    float x, w, sum;
    __asm__("fmv.h.x %1, %4\n\tfmv.h.x %2, %5\n\tfmv.h.x %3, %0\n\tfmadd.h %3, %1, %2, %3\n\tfmv.x.h %0, %3"
            : "+r"(y), "=&f"(x), "=&f"(w), "=&f"(sum) : "r"((int32_t)a), "r"((int32_t)b));
    return (uint16_t)(y & 0xffff);
#else
    const float product = eq_float_from_half(a) * eq_float_from_half(b), start = eq_float_from_half(c);
    const float sum = product + start, rest = sum - product;
    const float error = (product - (sum - rest)) + (start - rest); /* what the sum lacks, exact */
    const int32_t lost = eq_bits(error) & INT32_MAX;
    const int32_t bits = eq_bits(sum), inexact = (-lost & (lost - EQ_INFINITE_BITS - 1)) >> 31; /* infinite: not-a-number is lost */
    const int32_t below = ((bits ^ eq_bits(error)) >> 31) & inexact; /* to be cut off, its last bit set */
    return eq_half_from_float(eq_from_bits((bits + below) | (inexact & 1)));
#endif
}

#endif
