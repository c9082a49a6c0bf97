/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Half precision with MVE (Helium) of Armv8.1-M; plain C where the compiler builds for another computer.
 *
 * Float32 vectors take and give zeros in place of subnormal numbers, whatever the FPU does; the plain C does the same, so that a
 * desktop shows where that would count. Sums of products of halves are never subnormal (edgeq/half.py). What may be is computed
 * lane by lane, in the FPU: the functions whose names begin with eq_each. */
#ifndef EQ_HALF_MVE_H
#define EQ_HALF_MVE_H

#include "eq_f16.h"
#include "eq_simd_mve.h"

#define EQ_MVE_VECTORS "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"

#if EQ_MVE
typedef float32x4_t eq_mve_f32x4;
#else
typedef struct {
    float lane[4];
} eq_mve_f32x4;

/* x, or a zero of its sign where it is subnormal. */
static inline float eq_mve_flushed(float x)
{
    return eq_from_bits((eq_bits(x) & INT32_MAX) < 0x800000 ? eq_bits(x) & INT32_MIN : eq_bits(x));
}
#endif

/* The halves at even (B) or odd (T) places of q<m> as floats in q<d>, and floats as halves. GNU as 2.40 puts wrong
 * register numbers into these instructions; it gets their bits. */
#if defined(__clang__)
#define EQ_MVE_VCVT_B(d, m) "vcvtb.f32.f16 q" #d ", q" #m "\n\t"
#define EQ_MVE_VCVT_T(d, m) "vcvtt.f32.f16 q" #d ", q" #m "\n\t"
#else
#define EQ_MVE_VCVT_B(d, m) ".inst.w 0xfe3f0e01 + (" #d " << 13) + (" #m " << 1)\n\t"
#define EQ_MVE_VCVT_T(d, m) ".inst.w 0xfe3f1e01 + (" #d " << 13) + (" #m " << 1)\n\t"
#endif

#if EQ_MVE && defined(__clang__)
#define eq_mve_even_halves vcvtbq_f32_f16
#define eq_mve_odd_halves vcvttq_f32_f16
#define eq_mve_narrowed(x) vcvtbq_f16_f32(vreinterpretq_f16_f32(x), x)
#define eq_mve_interleaved(x, y) vcvttq_f16_f32(vcvtbq_f16_f32(vreinterpretq_f16_f32(x), x), y)
#elif EQ_MVE
#define EQ_MVE_VCVT(bits, to, x) \
    to y; \
    __asm__("eq_q0 = 0\n\teq_q1 = 1\n\teq_q2 = 2\n\teq_q3 = 3\n\teq_q4 = 4\n\teq_q5 = 5\n\teq_q6 = 6\n\teq_q7 = 7\n\t" \
            ".inst.w " #bits " + (eq_%q0 << 13) + (eq_%q1 << 1)" : "=w"(y) : "w"(x)); \
    return y
static inline float32x4_t eq_mve_even_halves(float16x8_t x)
{
    EQ_MVE_VCVT(0xfe3f0e01, float32x4_t, x);
}

static inline float32x4_t eq_mve_odd_halves(float16x8_t x)
{
    EQ_MVE_VCVT(0xfe3f1e01, float32x4_t, x);
}

static inline float16x8_t eq_mve_narrowed(float32x4_t x)
{
    EQ_MVE_VCVT(0xee3f0e01, float16x8_t, x);
}

static inline float16x8_t eq_mve_interleaved(float32x4_t x, float32x4_t y)
{
    register float16x8_t both __asm__("q0") = vreinterpretq_f16_f32(x);
    register float32x4_t odd __asm__("q1") = y;
    __asm__(".inst.w 0xee3f0e01\n\t.inst.w 0xee3f1e03" : "+w"(both) : "w"(odd));
    return both;
}
#endif

/* Four float32. */
static inline eq_mve_f32x4 eq_mve_load4_f32(const float *from)
{
#if EQ_MVE
    return vldrwq_f32(from);
#else
    const eq_mve_f32x4 v = {{from[0], from[1], from[2], from[3]}};
    return v;
#endif
}

/* The first n (any number; at most four are read) of four float32, the others 0. */
static inline eq_mve_f32x4 eq_mve_first4_f32(const float *from, int32_t n)
{
#if EQ_MVE
    return vldrwq_z_f32(from, vctp32q((uint32_t)n));
#else
    eq_mve_f32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = i < n ? from[i] : 0.0f;
    }
    return v;
#endif
}

/* Four float32 to memory. */
static inline void eq_mve_store4_f32(float *to, eq_mve_f32x4 v)
{
#if EQ_MVE
    vstrwq_f32(to, v);
#else
    for (int32_t i = 0; i < 4; i++) {
        to[i] = v.lane[i];
    }
#endif
}

/* The first n (any number) of four float32 to memory. */
static inline void eq_mve_store_first4_f32(float *to, eq_mve_f32x4 v, int32_t n)
{
#if EQ_MVE
    vstrwq_p_f32(to, v, vctp32q((uint32_t)n));
#else
    for (int32_t i = 0; i < 4 && i < n; i++) {
        to[i] = v.lane[i];
    }
#endif
}

/* Four times x. */
static inline eq_mve_f32x4 eq_mve_dup4_f32(float x)
{
#if EQ_MVE
    return vdupq_n_f32(x);
#else
    const eq_mve_f32x4 v = {{x, x, x, x}};
    return v;
#endif
}

/* The bits of floats, and back. */
static inline eq_mve_i32x4 eq_mve_bits4(eq_mve_f32x4 x)
{
#if EQ_MVE
    return vreinterpretq_s32_f32(x);
#else
    const eq_mve_i32x4 v = {{eq_bits(x.lane[0]), eq_bits(x.lane[1]), eq_bits(x.lane[2]), eq_bits(x.lane[3])}};
    return v;
#endif
}

static inline eq_mve_f32x4 eq_mve_from_bits4(eq_mve_i32x4 x)
{
#if EQ_MVE
    return vreinterpretq_f32_s32(x);
#else
    const eq_mve_f32x4 v = {{eq_from_bits(x.lane[0]), eq_from_bits(x.lane[1]), eq_from_bits(x.lane[2]), eq_from_bits(x.lane[3])}};
    return v;
#endif
}

/* a + b */
static inline eq_mve_f32x4 eq_mve_add4_f32(eq_mve_f32x4 a, eq_mve_f32x4 b)
{
#if EQ_MVE
    return vaddq_f32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_mve_flushed(eq_mve_flushed(a.lane[i]) + eq_mve_flushed(b.lane[i]));
    }
    return a;
#endif
}

/* a - b */
static inline eq_mve_f32x4 eq_mve_sub4_f32(eq_mve_f32x4 a, eq_mve_f32x4 b)
{
#if EQ_MVE
    return vsubq_f32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_mve_flushed(eq_mve_flushed(a.lane[i]) - eq_mve_flushed(b.lane[i]));
    }
    return a;
#endif
}

/* a * b */
static inline eq_mve_f32x4 eq_mve_mul4_f32(eq_mve_f32x4 a, eq_mve_f32x4 b)
{
#if EQ_MVE
    return vmulq_f32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_mve_flushed(eq_mve_flushed(a.lane[i]) * eq_mve_flushed(b.lane[i]));
    }
    return a;
#endif
}

/* a + b and a * b, b the same in every lane. */
static inline eq_mve_f32x4 eq_mve_plus4(eq_mve_f32x4 a, float b)
{
#if EQ_MVE
    return vaddq_n_f32(a, b);
#else
    return eq_mve_add4_f32(a, eq_mve_dup4_f32(b));
#endif
}

static inline eq_mve_f32x4 eq_mve_times4(eq_mve_f32x4 a, float b)
{
#if EQ_MVE
    return vmulq_n_f32(a, b);
#else
    return eq_mve_mul4_f32(a, eq_mve_dup4_f32(b));
#endif
}

/* The FPU on a lane after the other: q0 = s0, s1, s2, s3. */
#if EQ_MVE
#define EQ_MVE_EACH(instruction, a, b) \
    register float32x4_t first __asm__("q0") = a; \
    register float32x4_t second __asm__("q1") = b; \
    __asm__(instruction ".f32 s0, s0, s4\n\t" instruction ".f32 s1, s1, s5\n\t" instruction ".f32 s2, s2, s6\n\t" instruction ".f32 s3, s3, s7" \
            : "+w"(first) : "w"(second)); \
    return first
#endif

/* a + b */
static inline eq_mve_f32x4 eq_mve_each_add4(eq_mve_f32x4 a, eq_mve_f32x4 b)
{
#if EQ_MVE
    EQ_MVE_EACH("vadd", a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] += b.lane[i];
    }
    return a;
#endif
}

/* a * b */
static inline eq_mve_f32x4 eq_mve_each_mul4(eq_mve_f32x4 a, eq_mve_f32x4 b)
{
#if EQ_MVE
    EQ_MVE_EACH("vmul", a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] *= b.lane[i];
    }
    return a;
#endif
}

/* a / b */
static inline eq_mve_f32x4 eq_mve_each_div4(eq_mve_f32x4 a, eq_mve_f32x4 b)
{
#if EQ_MVE
    EQ_MVE_EACH("vdiv", a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] /= b.lane[i];
    }
    return a;
#endif
}

/* Halves that fill the low parts of four lanes, as floats. */
static inline eq_mve_f32x4 eq_mve_float4(eq_mve_i32x4 h)
{
#if EQ_MVE
    return eq_mve_even_halves(vreinterpretq_f16_s32(h));
#else
    eq_mve_f32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = eq_float_from_half((uint16_t)((uint32_t)h.lane[i] & 0xffffu));
    }
    return v;
#endif
}

/* Floats as halves, each in a lane as if it were an int16. */
static inline eq_mve_i32x4 eq_mve_half4(eq_mve_f32x4 x)
{
#if EQ_MVE
    return vmovlbq_s16(vreinterpretq_s16_f16(eq_mve_narrowed(x)));
#else
    eq_mve_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = (int16_t)eq_half_from_float(x.lane[i]);
    }
    return v;
#endif
}

/* Four halves. */
static inline eq_mve_i32x4 eq_mve_load4_f16(const uint16_t *from)
{
#if EQ_MVE
    return vldrhq_s32((const int16_t *)from);
#else
    const eq_mve_i32x4 v = {{(int16_t)from[0], (int16_t)from[1], (int16_t)from[2], (int16_t)from[3]}};
    return v;
#endif
}

/* The first n (any number; at most four are read) of four halves, the others 0. */
static inline eq_mve_i32x4 eq_mve_first4_f16(const uint16_t *from, int32_t n)
{
    return eq_mve_first4_i16((const int16_t *)from, n);
}

/* Four halves as floats. */
static inline eq_mve_f32x4 eq_mve_real4(const uint16_t *from)
{
    return eq_mve_float4(eq_mve_load4_f16(from));
}

/* Four halves to memory. */
static inline void eq_mve_store4_f16(uint16_t *to, eq_mve_i32x4 v)
{
#if EQ_MVE
    vstrhq_s32((int16_t *)to, v);
#else
    for (int32_t i = 0; i < 4; i++) {
        to[i] = (uint16_t)((uint32_t)v.lane[i] & 0xffffu);
    }
#endif
}

/* The first n (any number) of four halves to memory. */
static inline void eq_mve_store_first_f16(uint16_t *to, eq_mve_i32x4 v, int32_t n)
{
    eq_mve_store_first_i16((int16_t *)to, v, n);
}

/* The larger and the smaller ones. */
static inline eq_mve_i32x4 eq_mve_max4(eq_mve_i32x4 a, eq_mve_i32x4 b)
{
#if EQ_MVE
    return vmaxq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

static inline eq_mve_i32x4 eq_mve_min4(eq_mve_i32x4 a, eq_mve_i32x4 b)
{
#if EQ_MVE
    return vminq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

/* Halves in lanes to eq_half_order, and back. */
static inline eq_mve_i32x4 eq_mve_order4(eq_mve_i32x4 h)
{
#if EQ_MVE
    return veorq_s32(h, vandq_s32(vshrq_n_s32(h, 31), vdupq_n_s32(0x7fff)));
#else
    for (int32_t i = 0; i < 4; i++) {
        h.lane[i] ^= (h.lane[i] >> 31) & 0x7fff;
    }
    return h;
#endif
}

/* `count` halves as floats. */
static inline void eq_mve_float_row(float *to, const uint16_t *from, int32_t count)
{
    for (; count >= 4; count -= 4, from += 4, to += 4) {
        eq_mve_store4_f32(to, eq_mve_float4(eq_mve_load4_f16(from)));
    }
    for (; count > 0; count--) {
        *to++ = eq_float_from_half(*from++);
    }
}

#endif
