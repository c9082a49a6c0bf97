/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Vectors of eight sums for desktop processors: AVX2 where the compiler may use it, else plain C, which compilers make vectors of. */
#ifndef EQ_SIMD_HOST_H
#define EQ_SIMD_HOST_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#define EQ_HOST_AVX2 1
typedef __m256i eq_host_i32x8;
typedef __m256i eq_host_i16x16;
#else
#define EQ_HOST_AVX2 0
typedef struct {
    int32_t lane[8];
} eq_host_i32x8;
typedef struct {
    int16_t lane[16];
} eq_host_i16x16;
#endif

/* Eight int32. */
static inline eq_host_i32x8 eq_host_load8_i32(const int32_t *from)
{
    eq_host_i32x8 v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* Eight int32 to memory. */
static inline void eq_host_store8_i32(int32_t *to, eq_host_i32x8 v)
{
    memcpy(to, &v, sizeof v);
}

/* Sixteen int8, each as an int16. */
static inline eq_host_i16x16 eq_host_load16_i8(const int8_t *from)
{
#if EQ_HOST_AVX2
    __m128i bytes;
    memcpy(&bytes, from, sizeof bytes);
    return _mm256_cvtepi8_epi16(bytes);
#else
    eq_host_i16x16 v;
    for (int32_t i = 0; i < 16; i++) {
        v.lane[i] = from[i];
    }
    return v;
#endif
}

/* Two int16, eight times. */
static inline eq_host_i16x16 eq_host_pair(const int16_t *from)
{
#if EQ_HOST_AVX2
    int32_t both;
    memcpy(&both, from, sizeof both);
    return _mm256_set1_epi32(both);
#else
    eq_host_i16x16 v;
    for (int32_t i = 0; i < 16; i += 2) {
        v.lane[i] = from[0];
        v.lane[i + 1] = from[1];
    }
    return v;
#endif
}

/* Eight int8 of two places in turn, each as an int16: a[0], b[0], a[1], b[1], ... */
static inline eq_host_i16x16 eq_host_zip8_i8(const int8_t *a, const int8_t *b)
{
#if EQ_HOST_AVX2
    int64_t first, second;
    memcpy(&first, a, sizeof first);
    memcpy(&second, b, sizeof second);
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(_mm_cvtsi64_si128(first), _mm_cvtsi64_si128(second)));
#else
    eq_host_i16x16 v;
    for (int32_t i = 0; i < 8; i++) {
        v.lane[2 * i] = a[i];
        v.lane[2 * i + 1] = b[i];
    }
    return v;
#endif
}

/* To each sum the products of two neighbours; sums wrap. Every lane of `a` and `b` holds an int8. */
static inline eq_host_i32x8 eq_host_dot(eq_host_i32x8 sum, eq_host_i16x16 a, eq_host_i16x16 b)
{
#if EQ_HOST_AVX2
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#else
    for (int32_t i = 0; i < 8; i++) {
        const int32_t products = a.lane[2 * i] * b.lane[2 * i] + a.lane[2 * i + 1] * b.lane[2 * i + 1];
        sum.lane[i] = (int32_t)((uint32_t)sum.lane[i] + (uint32_t)products);
    }
    return sum;
#endif
}

#endif
