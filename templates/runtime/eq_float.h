/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Functions of float32 as fixed sequences of additions, products, quotients and roots, each rounded once; twin of
 * edgeq/floats.py, where methods, ranges and accuracy are documented. No libm. Freestanding ISO C99; compile with
 * -ffp-contract=off and never with -ffast-math. */
#ifndef EQ_FLOAT_H
#define EQ_FLOAT_H

#include "eq_exact.h"
#include "eq_numerics.h"

#define EQ_MAGIC 12582912.0f /* added and taken away, it rounds to the nearest integer, halves to even */
#define EQ_INFINITE_BITS 0x7f800000

static inline int32_t eq_bits(float x)
{
    union {
        float f;
        int32_t i;
    } u;
    u.f = x;
    return u.i;
}

static inline float eq_from_bits(int32_t bits)
{
    union {
        int32_t i;
        float f;
    } u;
    u.i = bits;
    return u.f;
}

static inline float eq_absolute(float x)
{
    return eq_from_bits(eq_bits(x) & INT32_MAX);
}

static inline float eq_negative(float x)
{
    return eq_from_bits(eq_bits(x) ^ INT32_MIN);
}

/* -x; not-a-number stays as it is. */
static inline float eq_opposite(float x)
{
    const int32_t bits = eq_bits(x), nan = (EQ_INFINITE_BITS - (bits & INT32_MAX)) >> 31;
    return eq_from_bits(bits ^ (~nan & INT32_MIN));
}

/* |x| with the sign of `sign`. */
static inline float eq_with_sign(float x, float sign)
{
    return eq_from_bits((eq_bits(x) & INT32_MAX) | (eq_bits(sign) & INT32_MIN));
}

/* x; not-a-number without a sign, which x86 gives to what it makes of infinities, and software to what it subtracts. */
static inline float eq_number(float x)
{
#if defined(__ARM_FP) || defined(__aarch64__) || defined(__riscv_flen)
    return x;
#else
    const int32_t bits = eq_bits(x), nan = (EQ_INFINITE_BITS - (bits & INT32_MAX)) >> 31;
    return eq_from_bits(bits & ~(nan & INT32_MIN));
#endif
}

/* x with its magnitude at most `limit`, compared on the bits. */
static inline float eq_limited(float x, float limit)
{
    const int32_t magnitude = eq_bits(x) & INT32_MAX, most = eq_bits(limit);
    return eq_with_sign(eq_from_bits(magnitude - eq_positive(magnitude - most)), x);
}

/* exp(x) = t + q * t, t a power of two, q accurate near zero. */
static inline float eq_exp_parts(float x, float *t)
{
    x = eq_limited(x, 80.0f);
    const float shifted = x * 1.44269502f + EQ_MAGIC;
    const float n = shifted - EQ_MAGIC;
    *t = eq_from_bits(eq_shift_left(eq_bits(shifted) - eq_bits(EQ_MAGIC) + 127, 23));
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.38824654e-3f;
    p = p * r + 8.36654380e-3f;
    p = p * r + 4.16671968e-2f;
    p = p * r + 1.66665435e-1f;
    p = p * r + 4.99999976e-1f;
    return r + (r * r) * p;
}

static inline float eq_exp(float x)
{
    float t;
    const float q = eq_exp_parts(x, &t);
    return q * t + t;
}

static inline float eq_expm1(float x)
{
    float t;
    const float q = eq_exp_parts(x, &t);
    return q * t + (t - 1.0f);
}

static inline float eq_sigmoid(float x)
{
    return 1.0f / (1.0f + eq_exp(eq_negative(eq_number(x))));
}

static inline float eq_tanh(float x)
{
    const float m = eq_expm1(eq_absolute(x) * -2.0f);
    return eq_with_sign(eq_negative(m) / (m + 2.0f), eq_number(x));
}

static inline float eq_silu(float x)
{
    return x / (1.0f + eq_exp(eq_negative(x)));
}

/* Of x >= 0. */
static inline float eq_erfc(float x)
{
    x = eq_limited(x, 8.0f);
    const float t = 1.0f / (1.0f + 0.5f * x);
    float p = 8.82040113e-2f;
    p = p * t + -3.56737095e-1f;
    p = p * t + 3.89222980e-1f;
    p = p * t + 3.78917903e-2f;
    p = p * t + 2.81503350e-1f;
    p = p * t + 2.77582228e-1f;
    p = p * t + 2.82331407e-1f;
    return eq_exp(eq_negative(x * x)) * (t * p);
}

static inline float eq_erf(float x)
{
    const float magnitude = eq_absolute(x), inner = eq_limited(magnitude, 1.0f), z = inner * inner;
    float p = -5.63142204e-4f;
    p = p * z + 4.91755130e-3f;
    p = p * z + -2.67113112e-2f;
    p = p * z + 1.12801805e-1f;
    p = p * z + -3.76123250e-1f;
    p = p * z + 1.12837911f;
    return eq_with_sign(magnitude < 1.0f ? inner * p : 1.0f - eq_erfc(magnitude), x);
}

static inline float eq_gelu(float x)
{
    const float tail = 0.5f * eq_erfc(eq_absolute(x) * 0.707106769f);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

static inline float eq_gelu_tanh(float x)
{
    return x / (1.0f + eq_exp(eq_negative(x * (1.59576917f + 0.0713548139f * (x * x)))));
}

/* log((1 + s) / (1 - s)) for |s| <= 1/3. */
static inline float eq_log_ratio(float s)
{
    const float z = s * s;
    float p = 1.40122294e-1f;
    p = p * z + 1.39995694e-1f;
    p = p * z + 2.00108498e-1f;
    p = p * z + 3.33332062e-1f;
    return 2.0f * (s + s * (z * p));
}

static inline float eq_log(float x)
{
    const int32_t bits = eq_bits(x);
    if (!(x > 0.0f)) {
        return eq_from_bits(EQ_INFINITE_BITS | INT32_MIN);
    }
    if (bits >= EQ_INFINITE_BITS) {
        return x;
    }
    const int32_t exponent = (bits - 0x3f3504f3) >> 23;
    const float m = eq_from_bits(bits - eq_shift_left(exponent, 23)), n = (float)exponent;
    return n * 0.693359375f + (eq_log_ratio((m - 1.0f) / (m + 1.0f)) + n * -2.12194440e-4f);
}

static inline float eq_softplus(float x)
{
    const float u = eq_exp(eq_from_bits(eq_bits(x) | INT32_MIN));
    return (x > 0.0f ? x : 0.0f) + eq_log_ratio(u / (2.0f + u));
}

static inline float eq_mish(float x)
{
    const float u = eq_exp(x < 20.0f ? x : 20.0f), w = u * (u + 2.0f);
    return x * (w / (w + 2.0f));
}

static inline float eq_softsign(float x)
{
    return x / (1.0f + eq_absolute(x));
}

static inline float eq_clamp_float(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

static inline float eq_hard_sigmoid(float x, float alpha, float beta)
{
    return eq_clamp_float(alpha * x + beta, 0.0f, 1.0f);
}

static inline float eq_hard_swish(float x)
{
    return x * (eq_clamp_float(x + 3.0f, 0.0f, 6.0f) / 6.0f);
}

static inline float eq_leaky_relu(float x, float alpha)
{
    return x > 0.0f ? x : alpha * x;
}

static inline float eq_thresholded_relu(float x, float alpha)
{
    return x > alpha ? x : 0.0f;
}

static inline float eq_elu(float x, float alpha)
{
    return x > 0.0f ? x : alpha * eq_expm1(x);
}

static inline float eq_selu(float x, float alpha, float gamma)
{
    return gamma * eq_elu(x, alpha);
}

static inline float eq_celu(float x, float alpha)
{
    return x > 0.0f ? x : alpha * eq_expm1(x / alpha);
}

static inline float eq_square(float x)
{
    return x * x;
}

/* Square root, correctly rounded, of a number that is not negative nor subnormal. */
static inline float eq_root(float x)
{
#if defined(__riscv_flen)
    float y;
    __asm__("fsqrt.s %0, %1" : "=f"(y) : "f"(x));
    return y;
#elif defined(__arm__) && defined(__ARM_FP)
    float y;
    __asm__("vsqrt.f32 %0, %1" : "=t"(y) : "t"(x));
    return y;
#else
    const int32_t bits = eq_bits(x), exponent = (bits >> 23) - 127;
    const uint32_t odd = (uint32_t)exponent & 1u;
    uint32_t digits = (((uint32_t)bits & 0x7fffffu) | 0x800000u) << (7 + odd), rest = 0, root = 0;
    if (bits <= 0 || bits >= EQ_INFINITE_BITS) { /* not-a-number may have a sign */
        return x;
    }
    for (int32_t i = 0; i < 25; i++) { /* one binary digit at a time; the last decides the rounding, there are no ties */
        rest = (rest << 2) | (digits >> 30);
        digits <<= 2;
        root <<= 1;
        if (rest >= 2 * root + 1) {
            rest -= 2 * root + 1;
            root++;
        }
    }
    return eq_from_bits((int32_t)((root + 1) >> 1) + eq_shift_left((exponent >> 1) + 126, 23));
#endif
}

static inline float eq_sqrt(float x)
{
    return eq_root(x > 0.0f ? x : 0.0f);
}

static inline float eq_rsqrt(float x)
{
    return 1.0f / eq_sqrt(x);
}

static inline float eq_reciprocal(float x)
{
    return 1.0f / x;
}

#endif
