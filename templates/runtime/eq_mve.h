/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Vectors of MVE (Helium), Armv8.1-M: Cortex-M55, M85, from memory and to it; plain C where the compiler builds for another computer. */
#ifndef EQ_MVE_H
#define EQ_MVE_H

#include <stdint.h>

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#define EQ_MVE 1
typedef int8x16_t eq_mve_i8x16;
typedef int32x4_t eq_mve_i32x4;
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#error "these kernels need MVE: -mcpu=cortex-m55 (GCC, Clang), -mcpu=cortex_m55+mve_fp (Zig), or build for another target"
#else
#define EQ_MVE 0
typedef struct {
    int8_t lane[16];
} eq_mve_i8x16;
typedef struct {
    int32_t lane[4];
} eq_mve_i32x4;
#endif

/* Four int32. */
static inline eq_mve_i32x4 eq_mve_load4_i32(const int32_t *from)
{
#if EQ_MVE
    return vldrwq_s32(from);
#else
    const eq_mve_i32x4 v = {{from[0], from[1], from[2], from[3]}};
    return v;
#endif
}

/* Four int32 to memory. */
static inline void eq_mve_store4_i32(int32_t *to, eq_mve_i32x4 v)
{
#if EQ_MVE
    vstrwq_s32(to, v);
#else
    for (int32_t i = 0; i < 4; i++) {
        to[i] = v.lane[i];
    }
#endif
}

/* Four int8. */
static inline eq_mve_i32x4 eq_mve_load4_i8(const int8_t *from)
{
#if EQ_MVE
    return vldrbq_s32(from);
#else
    const eq_mve_i32x4 v = {{from[0], from[1], from[2], from[3]}};
    return v;
#endif
}

/* The first n (any number; at most four are read) of four int8, the others 0. */
static inline eq_mve_i32x4 eq_mve_first4_i8(const int8_t *from, int32_t n)
{
#if EQ_MVE
    return vldrbq_z_s32(from, vctp32q((uint32_t)n));
#else
    eq_mve_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = i < n ? from[i] : 0;
    }
    return v;
#endif
}

/* Of four lanes the first n (any number) from memory, the others 0, and to memory: eq_mve_first4_NAME, eq_mve_store_first_NAME. */
#if EQ_MVE
#define EQ_MVE_FIRST_LANES(name, type, load, store) \
    static inline eq_mve_i32x4 eq_mve_first4_##name(const type *from, int32_t n) \
    { \
        return load(from, vctp32q((uint32_t)n)); \
    } \
    static inline void eq_mve_store_first_##name(type *to, eq_mve_i32x4 v, int32_t n) \
    { \
        store(to, v, vctp32q((uint32_t)n)); \
    }
#else
#define EQ_MVE_FIRST_LANES(name, type, load, store) \
    static inline eq_mve_i32x4 eq_mve_first4_##name(const type *from, int32_t n) \
    { \
        eq_mve_i32x4 v; \
        for (int32_t i = 0; i < 4; i++) { \
            v.lane[i] = i < n ? from[i] : 0; \
        } \
        return v; \
    } \
    static inline void eq_mve_store_first_##name(type *to, eq_mve_i32x4 v, int32_t n) \
    { \
        for (int32_t i = 0; i < 4 && i < n; i++) { \
            to[i] = (type)v.lane[i]; \
        } \
    }
#endif
EQ_MVE_FIRST_LANES(i16, int16_t, vldrhq_z_s32, vstrhq_p_s32)
EQ_MVE_FIRST_LANES(i32, int32_t, vldrwq_z_s32, vstrwq_p_s32)

/* Four times x. */
static inline eq_mve_i32x4 eq_mve_dup4(int32_t x)
{
#if EQ_MVE
    return vdupq_n_s32(x);
#else
    const eq_mve_i32x4 v = {{x, x, x, x}};
    return v;
#endif
}

#endif
