/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* The numbers of Fourier transforms in MVE vectors, four at a time, with the meaning of those of eq_fft.h. Integers of 16 bits are
 * computed in lanes of 32. Elements lie where a vector of places says, in elements of memory from a base on. */
#ifndef EQ_FFT_MVE_H
#define EQ_FFT_MVE_H

#include "eq_fft.h"
#include "eq_half_mve.h"

/* Vectors of numbers from memory (`some`: zeros for places from `end` on), to it, and their arithmetic: eq_mve_fft_WHAT_TYPE. */
#if EQ_MVE
#define EQ_MVE_FFT_MEMORY(name, type, vector, load, some, store) \
    static inline vector eq_mve_fft_load_##name(const type *from, eq_mve_i32x4 at) \
    { \
        return load(from, vreinterpretq_u32_s32(at)); \
    } \
    static inline vector eq_mve_fft_some_##name(const type *from, eq_mve_i32x4 at, int32_t end) \
    { \
        return some(from, vreinterpretq_u32_s32(at), vcmpltq_n_s32(at, end)); \
    } \
    static inline void eq_mve_fft_store_##name(type *to, eq_mve_i32x4 at, vector x) \
    { \
        store(to, vreinterpretq_u32_s32(at), x); \
    }
#define EQ_MVE_FFT_PAIR(name, vector, vectors, each) \
    static inline vector eq_mve_fft_##name(vector a, vector b) \
    { \
        return vectors(a, b); \
    }
#else
#define EQ_MVE_FFT_MEMORY(name, type, vector, load, some, store) \
    static inline vector eq_mve_fft_load_##name(const type *from, eq_mve_i32x4 at) \
    { \
        const vector x = {{from[at.lane[0]], from[at.lane[1]], from[at.lane[2]], from[at.lane[3]]}}; \
        return x; \
    } \
    static inline vector eq_mve_fft_some_##name(const type *from, eq_mve_i32x4 at, int32_t end) \
    { \
        vector x; \
        for (int32_t i = 0; i < 4; i++) { \
            x.lane[i] = at.lane[i] < end ? from[at.lane[i]] : 0; \
        } \
        return x; \
    } \
    static inline void eq_mve_fft_store_##name(type *to, eq_mve_i32x4 at, vector x) \
    { \
        for (int32_t i = 0; i < 4; i++) { \
            to[at.lane[i]] = (type)x.lane[i]; \
        } \
    }
#define EQ_MVE_FFT_PAIR(name, vector, vectors, each) \
    static inline vector eq_mve_fft_##name(vector a, vector b) \
    { \
        for (int32_t i = 0; i < 4; i++) { \
            a.lane[i] = each(a.lane[i], b.lane[i]); \
        } \
        return a; \
    }
#define EQ_MVE_FFT_PLUS(a, b) ((a) + (b))
#define EQ_MVE_FFT_MINUS(a, b) ((a) - (b))
#define EQ_MVE_FFT_PLUS_S16(a, b) eq_fft_kept_s16((a) + (b))
#define EQ_MVE_FFT_MINUS_S16(a, b) eq_fft_kept_s16((a) - (b))
#endif
#define EQ_MVE_KEPT_S16(x) vmovlbq_s16(vreinterpretq_s16_s32(x))
#define EQ_MVE_ROUND_S16(x) EQ_MVE_KEPT_S16(vrshrq_n_s32(x, 15))
#define EQ_MVE_ADD_S16(a, b) EQ_MVE_KEPT_S16(vaddq_s32(a, b))
#define EQ_MVE_SUB_S16(a, b) EQ_MVE_KEPT_S16(vsubq_s32(a, b))
#define EQ_MVE_RE_B32(a, b, c, d) vshlq_n_s32(vsubq_s32(vmulhq_s32(a, c), vmulhq_s32(b, d)), 1)
#define EQ_MVE_IM_B32(a, b, c, d) vshlq_n_s32(vaddq_s32(vmulhq_s32(a, d), vmulhq_s32(b, c)), 1)
#define EQ_MVE_RE_S16(a, b, c, d) EQ_MVE_ROUND_S16(vsubq_s32(vmulq_s32(a, c), vmulq_s32(b, d)))
#define EQ_MVE_IM_S16(a, b, c, d) EQ_MVE_ROUND_S16(vaddq_s32(vmulq_s32(a, d), vmulq_s32(b, c)))
#define EQ_MVE_RE_F32(a, b, c, d) vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, d))
#define EQ_MVE_IM_F32(a, b, c, d) vaddq_f32(vmulq_f32(a, d), vmulq_f32(b, c))
#define EQ_MVE_HALF_ADD_F32(a, b) vmulq_n_f32(vaddq_f32(a, b), 0.5f)
#define EQ_MVE_HALF_SUB_F32(a, b) vmulq_n_f32(vsubq_f32(a, b), 0.5f)

EQ_MVE_FFT_MEMORY(b32, int32_t, eq_mve_i32x4, vldrwq_gather_shifted_offset_s32, vldrwq_gather_shifted_offset_z_s32, vstrwq_scatter_shifted_offset_s32)
EQ_MVE_FFT_MEMORY(s16, int16_t, eq_mve_i32x4, vldrhq_gather_shifted_offset_s32, vldrhq_gather_shifted_offset_z_s32, vstrhq_scatter_shifted_offset_s32)
EQ_MVE_FFT_MEMORY(f32, float, eq_mve_f32x4, vldrwq_gather_shifted_offset_f32, vldrwq_gather_shifted_offset_z_f32, vstrwq_scatter_shifted_offset_f32)

/* Halves, as floats. */
static inline eq_mve_f32x4 eq_mve_fft_some_f16(const uint16_t *from, eq_mve_i32x4 at, int32_t end)
{
#if EQ_MVE
    return eq_mve_float4(vreinterpretq_s32_u32(vldrhq_gather_shifted_offset_z_u32(from, vreinterpretq_u32_s32(at), vcmpltq_n_s32(at, end))));
#else
    return eq_mve_float4(eq_mve_fft_some_s16((const int16_t *)from, at, end));
#endif
}

static inline void eq_mve_fft_store_f16(uint16_t *to, eq_mve_i32x4 at, eq_mve_f32x4 x)
{
    eq_mve_fft_store_s16((int16_t *)to, at, eq_mve_half4(x));
}

EQ_MVE_FFT_PAIR(add_b32, eq_mve_i32x4, vaddq_s32, EQ_MVE_FFT_PLUS)
EQ_MVE_FFT_PAIR(sub_b32, eq_mve_i32x4, vsubq_s32, EQ_MVE_FFT_MINUS)
EQ_MVE_FFT_PAIR(add_s16, eq_mve_i32x4, EQ_MVE_ADD_S16, EQ_MVE_FFT_PLUS_S16)
EQ_MVE_FFT_PAIR(sub_s16, eq_mve_i32x4, EQ_MVE_SUB_S16, EQ_MVE_FFT_MINUS_S16)
EQ_MVE_FFT_PAIR(add_f32, eq_mve_f32x4, vaddq_f32, EQ_MVE_FFT_PLUS)
EQ_MVE_FFT_PAIR(sub_f32, eq_mve_f32x4, vsubq_f32, EQ_MVE_FFT_MINUS)

/* The real and the imaginary part of (a + i b) (c + i d). */
#if EQ_MVE
#define EQ_MVE_FFT_PARTS(name, vector, real, imaginary) \
    static inline vector eq_mve_fft_re_##name(vector a, vector b, vector c, vector d) \
    { \
        return real(a, b, c, d); \
    } \
    static inline vector eq_mve_fft_im_##name(vector a, vector b, vector c, vector d) \
    { \
        return imaginary(a, b, c, d); \
    }
#else
#define EQ_MVE_FFT_PARTS(name, vector, real, imaginary) \
    static inline vector eq_mve_fft_re_##name(vector a, vector b, vector c, vector d) \
    { \
        for (int32_t i = 0; i < 4; i++) { \
            a.lane[i] = eq_fft_re_##name(a.lane[i], b.lane[i], c.lane[i], d.lane[i]); \
        } \
        return a; \
    } \
    static inline vector eq_mve_fft_im_##name(vector a, vector b, vector c, vector d) \
    { \
        for (int32_t i = 0; i < 4; i++) { \
            a.lane[i] = eq_fft_im_##name(a.lane[i], b.lane[i], c.lane[i], d.lane[i]); \
        } \
        return a; \
    }
#endif
EQ_MVE_FFT_PARTS(b32, eq_mve_i32x4, EQ_MVE_RE_B32, EQ_MVE_IM_B32)
EQ_MVE_FFT_PARTS(s16, eq_mve_i32x4, EQ_MVE_RE_S16, EQ_MVE_IM_S16)
EQ_MVE_FFT_PARTS(f32, eq_mve_f32x4, EQ_MVE_RE_F32, EQ_MVE_IM_F32)

/* Divided by a radix, and by two at the end. */
static inline eq_mve_i32x4 eq_mve_fft_divided_s16(eq_mve_i32x4 x, int32_t by)
{
#if EQ_MVE
    return EQ_MVE_ROUND_S16(vmulq_n_s32(x, 32767 / by));
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_fft_divided_s16(x.lane[i], by);
    }
    return x;
#endif
}

static inline eq_mve_i32x4 eq_mve_fft_divided_b32(eq_mve_i32x4 x, int32_t by)
{
    (void)by;
    return x;
}

static inline eq_mve_f32x4 eq_mve_fft_divided_f32(eq_mve_f32x4 x, int32_t by)
{
    (void)by;
    return x;
}

/* Half of a sum or a difference, and the other sign. */
#if EQ_MVE
#define EQ_MVE_FFT_HALVES(name, vector, plus, minus, negated) \
    static inline vector eq_mve_fft_half_add_##name(vector a, vector b) \
    { \
        return plus(a, b); \
    } \
    static inline vector eq_mve_fft_half_sub_##name(vector a, vector b) \
    { \
        return minus(a, b); \
    } \
    static inline vector eq_mve_fft_negative_##name(vector a) \
    { \
        return negated(a); \
    }
#else
#define EQ_MVE_FFT_HALVES(name, vector, plus, minus, negated) \
    static inline vector eq_mve_fft_half_add_##name(vector a, vector b) \
    { \
        for (int32_t i = 0; i < 4; i++) { \
            a.lane[i] = eq_fft_halved_##name(a.lane[i] + b.lane[i]); \
        } \
        return a; \
    } \
    static inline vector eq_mve_fft_half_sub_##name(vector a, vector b) \
    { \
        for (int32_t i = 0; i < 4; i++) { \
            a.lane[i] = eq_fft_halved_##name(a.lane[i] - b.lane[i]); \
        } \
        return a; \
    } \
    static inline vector eq_mve_fft_negative_##name(vector a) \
    { \
        for (int32_t i = 0; i < 4; i++) { \
            a.lane[i] = -a.lane[i]; \
        } \
        return a; \
    }
#endif
EQ_MVE_FFT_HALVES(b32, eq_mve_i32x4, vhaddq_s32, vhsubq_s32, vnegq_s32)
EQ_MVE_FFT_HALVES(s16, eq_mve_i32x4, vhaddq_s32, vhsubq_s32, vnegq_s32)
EQ_MVE_FFT_HALVES(f32, eq_mve_f32x4, EQ_MVE_HALF_ADD_F32, EQ_MVE_HALF_SUB_F32, vnegq_f32)

/* x * n of every lane. */
static inline eq_mve_i32x4 eq_mve_fft_times(eq_mve_i32x4 x, int32_t n)
{
#if EQ_MVE
    return vmulq_n_s32(x, n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] *= n;
    }
    return x;
#endif
}

/* Whether vectors of floats have met subnormal numbers, which they take for zeros, since `eq_mve_fft_watch`; that gives what FPSCR then
 * held, so that it has no flag less afterwards. */
static inline uint32_t eq_mve_fft_watch(void)
{
    uint32_t before = 0;
#if EQ_MVE
    __asm__ volatile("vmrs %0, fpscr" : "=r"(before) : : "memory");
    __asm__ volatile("vmsr fpscr, %0" : : "r"(before & ~0x88u) : "memory");
#endif
    return before;
}

static inline int32_t eq_mve_fft_flushed(uint32_t before)
{
#if EQ_MVE
    uint32_t now;
    __asm__ volatile("vmrs %0, fpscr" : "=r"(now) : : "memory");
    __asm__ volatile("vmsr fpscr, %0" : : "r"(now | (before & 0x88u)) : "memory");
    return (now & 0x88u) != 0;
#else
    (void)before;
    return 0;
#endif
}

/* Four places. */
static inline eq_mve_i32x4 eq_mve_fft_places(int32_t first, int32_t second, int32_t third, int32_t fourth)
{
    const int32_t places[4] = {first, second, third, fourth};
    return eq_mve_load4_i32(places);
}

/* Lanes of a where their four bits of `some` are set, of b elsewhere. */
static inline eq_mve_i32x4 eq_mve_fft_either(eq_mve_i32x4 a, eq_mve_i32x4 b, int32_t some)
{
#if EQ_MVE
    return vpselq_s32(a, b, (mve_pred16_t)some);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = (some >> (4 * i) & 1) ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

#endif
