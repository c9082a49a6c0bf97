/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Functions of float32 that only operators for single elements need: powers, circles and hyperbolas with their inverses, rounding,
 * signs; see eq_float.h. */
#ifndef EQ_FLOAT_FUNCTIONS_H
#define EQ_FLOAT_FUNCTIONS_H

#include "eq_exact.h"
#include "eq_float.h"

/* odd: 1 where the exponent is an odd integer, 0 an even one, -1 none. */
static inline float eq_power(float x, float exponent, float odd)
{
    const float y = eq_exp(exponent * eq_log(odd < 0.0f && x < 0.0f ? 0.0f : eq_absolute(x)));
    return odd > 0.0f && x < 0.0f ? eq_negative(y) : y;
}

/* sin(x + quarter pi / 2) for |x| < 2^16. */
static inline float eq_circle(float x, int32_t quarter)
{
    const float shifted = x * 0.636619747f + EQ_MAGIC;
    const int32_t turns = eq_bits(shifted) + quarter;
    const float n = shifted - EQ_MAGIC;
    x = x - n * 1.5703125f;
    x = x - n * 4.825592041015625e-4f;
    x = x - n * 1.26659870147705078125e-6f;
    x = x - n * 9.92093574e-10f;
    const float z = x * x;
    const float sine = x + x * (z * ((-1.95089946e-4f * z + 8.33212025e-3f) * z + -1.66666538e-1f));
    const float cosine = (1.0f - 0.5f * z) + (z * z) * ((2.44292121e-5f * z + -1.38872885e-3f) * z + 4.16666456e-2f);
    const float y = (turns & 1) != 0 ? cosine : sine;
    return (turns & 2) != 0 ? eq_negative(y) : y;
}

static inline float eq_sin(float x)
{
    return eq_circle(x, 0);
}

static inline float eq_cos(float x)
{
    return eq_circle(x, 1);
}

static inline float eq_nearest(float x)
{
    return eq_absolute(x) < 4194304.0f ? (x + EQ_MAGIC) - EQ_MAGIC : x;
}

static inline float eq_floor(float x)
{
    const float n = eq_nearest(x);
    return n > x ? n - 1.0f : n;
}

static inline float eq_ceil(float x)
{
    const float n = eq_nearest(x);
    return n < x ? n + 1.0f : n;
}

static inline float eq_sign(float x)
{
    return (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f);
}

static inline float eq_tan(float x)
{
    return eq_circle(x, 0) / eq_circle(x, 1);
}

static inline float eq_sinh(float x)
{
    const float m = eq_expm1(eq_absolute(x));
    return eq_with_sign(0.5f * (m + m / (m + 1.0f)), x);
}

static inline float eq_cosh(float x)
{
    const float t = eq_exp(eq_absolute(x));
    return 0.5f * (t + 1.0f / t);
}

static inline float eq_atan(float x)
{
    const float magnitude = eq_absolute(x);
    const float r = magnitude > 1.0f ? 1.0f / magnitude : magnitude;
    const float z = r * r;
    float p = 8.10635835e-3f;
    p = p * z + -3.77966948e-2f;
    p = p * z + 8.4841013e-2f;
    p = p * z + -1.35445744e-1f;
    p = p * z + 1.98978737e-1f;
    p = p * z + -3.33284914e-1f;
    const float y = r + r * (z * p);
    return eq_with_sign(magnitude > 1.0f ? 1.57079637f - y : y, x);
}

static inline float eq_asin(float x)
{
    x = eq_limited(x, 1.0f);
    return eq_atan(x / eq_sqrt((1.0f - x) * (1.0f + x)));
}

static inline float eq_acos(float x)
{
    x = eq_limited(x, 1.0f);
    return 2.0f * eq_atan(eq_sqrt((1.0f - x) / (1.0f + x)));
}

/* log(1 + u) for u >= 0. */
static inline float eq_log1p(float u)
{
    return u < 1.0f ? eq_log_ratio(u / (2.0f + u)) : eq_log(1.0f + u);
}

static inline float eq_asinh(float x)
{
    const float magnitude = eq_absolute(x), square = x * x;
    return eq_with_sign(eq_log1p(magnitude + square / (1.0f + eq_sqrt(1.0f + square))), x);
}

static inline float eq_acosh(float x)
{
    const float d = x > 1.0f ? x - 1.0f : 0.0f;
    return eq_log1p(d + eq_sqrt(d * (d + 2.0f)));
}

static inline float eq_atanh(float x)
{
    const float magnitude = eq_limited(eq_absolute(x), 1.0f);
    return eq_with_sign(0.5f * eq_log1p((2.0f * magnitude) / (1.0f - magnitude)), x);
}

static inline float eq_step(float x, float at_zero)
{
    return x > 0.0f ? 1.0f : x == 0.0f ? at_zero : 0.0f;
}

static inline float eq_is_zero(float x)
{
    return x == 0.0f ? 1.0f : 0.0f;
}

#endif
