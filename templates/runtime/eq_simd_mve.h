/* MVE (Helium) of Armv8.1-M: Cortex-M55, M85; plain C where the compiler builds for another computer.
 *
 * Rows of weights are packed in blocks of four output channels: the biases of channels 0, 2, 1 and 3, then the first 16 weights
 * of each channel, the next 16, and so on, filled with zeros, then four multipliers, and in one word four int8 shifts, negated. */
#ifndef EQ_SIMD_MVE_H
#define EQ_SIMD_MVE_H

#include <stdint.h>

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#define EQ_MVE 1
typedef int8x16_t eq_i8x16;
typedef int32x4_t eq_i32x4;
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#error "these kernels need MVE: -mcpu=cortex-m55 (GCC, Clang), -mcpu=cortex_m55+mve_fp (Zig), or build for another target"
#else
#define EQ_MVE 0
typedef struct {
    int8_t lane[16];
} eq_i8x16;
typedef struct {
    int32_t lane[4];
} eq_i32x4;
#endif

/* Four int32. */
static inline eq_i32x4 eq_load4_i32(const int32_t *from)
{
#if EQ_MVE
    return vldrwq_s32(from);
#else
    const eq_i32x4 v = {{from[0], from[1], from[2], from[3]}};
    return v;
#endif
}

/* Four int32 to memory. */
static inline void eq_store4_i32(int32_t *to, eq_i32x4 v)
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
static inline eq_i32x4 eq_load4_i8(const int8_t *from)
{
#if EQ_MVE
    return vldrbq_s32(from);
#else
    const eq_i32x4 v = {{from[0], from[1], from[2], from[3]}};
    return v;
#endif
}

/* The first n (any number; at most four are read) of four int8, the others 0. */
static inline eq_i32x4 eq_first4_i8(const int8_t *from, int32_t n)
{
#if EQ_MVE
    return vldrbq_z_s32(from, vctp32q((uint32_t)n));
#else
    eq_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = i < n ? from[i] : 0;
    }
    return v;
#endif
}

/* Four times x. */
static inline eq_i32x4 eq_dup4(int32_t x)
{
#if EQ_MVE
    return vdupq_n_s32(x);
#else
    const eq_i32x4 v = {{x, x, x, x}};
    return v;
#endif
}

#if !EQ_MVE
/* The low words of sums and products, without overflow. */
static inline int32_t eq_wrapped(int64_t x)
{
    return (int32_t)(uint32_t)(uint64_t)x;
}
#endif

/* a + b */
static inline eq_i32x4 eq_add4(eq_i32x4 a, eq_i32x4 b)
{
#if EQ_MVE
    return vaddq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_wrapped((int64_t)a.lane[i] + b.lane[i]);
    }
    return a;
#endif
}

/* a + b in every lane */
static inline eq_i32x4 eq_offset4(eq_i32x4 a, int32_t b)
{
#if EQ_MVE
    return vaddq_n_s32(a, b);
#else
    return eq_add4(a, eq_dup4(b));
#endif
}

/* a - b */
static inline eq_i32x4 eq_sub4(eq_i32x4 a, eq_i32x4 b)
{
#if EQ_MVE
    return vsubq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_wrapped((int64_t)a.lane[i] - b.lane[i]);
    }
    return a;
#endif
}

/* a * b */
static inline eq_i32x4 eq_mul4(eq_i32x4 a, eq_i32x4 b)
{
#if EQ_MVE
    return vmulq_s32(a, b);
#else
    for (int32_t i = 0; i < 4; i++) {
        a.lane[i] = eq_wrapped((int64_t)a.lane[i] * b.lane[i]);
    }
    return a;
#endif
}

/* sum + a * b, b the same in every lane */
static inline eq_i32x4 eq_mac4(eq_i32x4 sum, eq_i32x4 a, int32_t b)
{
#if EQ_MVE
    return vmlaq_n_s32(sum, a, b);
#else
    return eq_add4(sum, eq_mul4(a, eq_dup4(b)));
#endif
}

/* a * b + c, c the same in every lane */
static inline eq_i32x4 eq_affine4(eq_i32x4 a, eq_i32x4 b, int32_t c)
{
#if EQ_MVE
    return vmlasq_n_s32(a, b, c);
#else
    return eq_offset4(eq_mul4(a, b), c);
#endif
}

/* x / divisor, halves away from zero. */
static inline eq_i32x4 eq_divide4(eq_i32x4 x, int32_t divisor)
{
    int32_t lanes[4];
    eq_store4_i32(lanes, x);
    for (int32_t i = 0; i < 4; i++) {
        const int32_t half = divisor / 2;
        lanes[i] = (lanes[i] > 0 ? lanes[i] + half : lanes[i] - half) / divisor;
    }
    return eq_load4_i32(lanes);
}

/* x * 2^n, n from -31 to 31; the result must fit. */
static inline eq_i32x4 eq_shift4(eq_i32x4 x, int32_t n)
{
#if EQ_MVE
    return vshlq_r_s32(x, n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = n < 0 ? x.lane[i] >> -n : eq_shift_left(x.lane[i], n);
    }
    return x;
#endif
}

/* Law "single" of x * 2^left, the bits to shift right given as negative numbers. */
static inline eq_i32x4 eq_requantize4_single(eq_i32x4 x, int32_t left, eq_i32x4 m, eq_i32x4 minus_n)
{
#if EQ_MVE
    return vrshlq_s32(vmulhq_s32(left ? vshlq_r_s32(x, left) : x, m), minus_n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_single(eq_shift_left(x.lane[i], left), m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* Law "tflm", likewise. */
static inline eq_i32x4 eq_requantize4_tflm(eq_i32x4 x, eq_i32x4 m, eq_i32x4 minus_n)
{
#if EQ_MVE
    const eq_i32x4 zero = vdupq_n_s32(0), right = vminq_s32(minus_n, zero);
    const eq_i32x4 high = vqrdmulhq_s32(vqshlq_s32(x, vmaxq_s32(minus_n, zero)), m);
    return vrshlq_s32(vqaddq_s32(high, vshrq_n_s32(vandq_s32(high, right), 31)), right);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_tflm(x.lane[i], m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* Law "tflm" where |x| < 2^30, every n is at least 1 and the results below 0, which round otherwise, are not told from 0. */
static inline eq_i32x4 eq_requantize4_tflm_rectified(eq_i32x4 x, eq_i32x4 m, eq_i32x4 minus_n)
{
#if EQ_MVE
    return vrshlq_s32(vqrdmulhq_s32(x, m), minus_n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_tflm_small(x.lane[i], m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* Law "tflm" where |x| < 2^30 and every n is at least 1. */
static inline eq_i32x4 eq_requantize4_tflm_small(eq_i32x4 x, eq_i32x4 m, eq_i32x4 minus_n)
{
#if EQ_MVE
    const eq_i32x4 high = vqrdmulhq_s32(x, m);
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), minus_n);
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_requantize_tflm_small(x.lane[i], m.lane[i], -minus_n.lane[i]);
    }
    return x;
#endif
}

/* The same, multiplier and shift alike in every lane. */
static inline eq_i32x4 eq_rescale4_tflm_small(eq_i32x4 x, int32_t m, int32_t minus_n)
{
#if EQ_MVE
    const eq_i32x4 high = vqrdmulhq_n_s32(x, m);
    return vrshlq_n_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), minus_n);
#else
    return eq_requantize4_tflm_small(x, eq_dup4(m), eq_dup4(minus_n));
#endif
}

/* x + offset, limited to [low, high]. */
static inline eq_i32x4 eq_limit4(eq_i32x4 x, int32_t offset, int32_t low, int32_t high)
{
#if EQ_MVE
    return vminq_s32(vmaxq_s32(vaddq_n_s32(x, offset), vdupq_n_s32(low)), vdupq_n_s32(high));
#else
    for (int32_t i = 0; i < 4; i++) {
        x.lane[i] = eq_clamp(x.lane[i] + offset, low, high);
    }
    return x;
#endif
}

/* x + offset, limited to int8 in the low bytes of the lanes; the other bytes are arbitrary. */
static inline eq_i32x4 eq_saturate4(eq_i32x4 x, int32_t offset)
{
#if EQ_MVE
    x = vaddq_n_s32(x, offset);
    __asm__("vqmovnb.s32 %q0, %q0\n"
            "vqmovnb.s16 %q0, %q0"
            : "+w"(x));
    return x;
#else
    return eq_limit4(x, offset, -128, 127);
#endif
}

/* The low bytes of four lanes. */
static inline void eq_store4_i8(int8_t *to, eq_i32x4 v)
{
#if EQ_MVE
    vstrbq_s32(to, v);
#else
    for (int32_t i = 0; i < 4; i++) {
        to[i] = (int8_t)v.lane[i];
    }
#endif
}

/* The low bytes of the first n (any number) of four lanes. */
static inline void eq_store_first_i8(int8_t *to, eq_i32x4 v, int32_t n)
{
#if EQ_MVE
    vstrbq_p_s32(to, v, vctp32q((uint32_t)n));
#else
    for (int32_t i = 0; i < 4 && i < n; i++) {
        to[i] = (int8_t)v.lane[i];
    }
#endif
}

/* The same to addresses `step` bytes apart. */
static inline void eq_scatter4_i8(int8_t *to, int32_t step, eq_i32x4 v, int32_t n)
{
#if EQ_MVE
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)step);
    if (n >= 4) {
        vstrbq_scatter_offset_s32(to, at, v);
    } else {
        vstrbq_scatter_offset_p_s32(to, at, v, vctp32q((uint32_t)n));
    }
#else
    for (int32_t i = 0; i < 4 && i < n; i++) {
        to[i * step] = (int8_t)v.lane[i];
    }
#endif
}

/* `columns` groups of n (1 to 8) int8, `step` bytes apart: each is spread over planes of `plane` bytes, at most 9362, `pitch`
 * bytes after the one before. */
static inline void eq_spread(int8_t *to, int32_t plane, int32_t pitch, const int8_t *from, int32_t step, int32_t n, int32_t columns)
{
#if EQ_MVE
    const uint16x8_t at = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)plane);
    for (; columns > 0; columns--, from += step, to += pitch) {
        __asm__ volatile("dlstp.16 lr, %2\n1:\n"
                         "vldrb.s16 q0, [%0]\n"
                         "vstrb.16 q0, [%1, %q3]\n"
                         "letp lr, 1b"
                         :
                         : "l"(from), "r"(to), "r"(n), "w"(at)
                         : "q0", "lr", "memory");
    }
#else
    for (; columns > 0; columns--, from += step, to += pitch) {
        for (int32_t i = 0; i < n; i++) {
            to[i * plane] = from[i];
        }
    }
#endif
}

/* n >= 0 bytes from one place to another that does not overlap it. */
static inline void eq_copy(int8_t *to, const int8_t *from, int32_t n)
{
#if EQ_MVE
    __asm__ volatile("wlstp.8 lr, %2, 2f\n1:\n"
                     "vldrb.8 q0, [%1], #16\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n2:"
                     : "+r"(to), "+r"(from)
                     : "r"(n)
                     : "q0", "lr", "memory");
#else
    for (int32_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
#endif
}

/* `rows` >= 1 rows of n >= 1 bytes, `pitch` bytes apart, to contiguous memory that they do not overlap. */
static inline void eq_copy_rows(int8_t *to, const int8_t *from, int32_t rows, int32_t pitch, int32_t n)
{
#if EQ_MVE
    const int8_t *source;
    int8_t *end;
    __asm__ volatile("1:\n"
                     "mov %3, %1\n"
                     "mov %4, %0\n"
                     "dlstp.8 lr, %6\n2:\n"
                     "vldrb.8 q0, [%3], #16\n"
                     "vstrb.8 q0, [%4], #16\n"
                     "letp lr, 2b\n"
                     "add %1, %5\n"
                     "add %0, %6\n"
                     "subs %2, #1\n"
                     "bne 1b"
                     : "+r"(to), "+r"(from), "+r"(rows), "=&r"(source), "=&r"(end)
                     : "r"(pitch), "r"(n)
                     : "q0", "lr", "cc", "memory");
#else
    for (; rows > 0; rows--, from += pitch, to += n) {
        eq_copy(to, from, n);
    }
#endif
}

/* n >= 0 bytes of one value. */
static inline void eq_fill(int8_t *to, int8_t value, int32_t n)
{
#if EQ_MVE
    __asm__ volatile("vdup.8 q0, %1\n"
                     "wlstp.8 lr, %2, 2f\n1:\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n2:"
                     : "+r"(to)
                     : "r"(value), "r"(n)
                     : "q0", "lr", "memory");
#else
    for (int32_t i = 0; i < n; i++) {
        to[i] = value;
    }
#endif
}

#if EQ_MVE
/* Four int32 in registers as a vector. */
static inline eq_i32x4 eq_join4(int32_t a0, int32_t a1, int32_t a2, int32_t a3)
{
    eq_i32x4 v;
    __asm__("vmov %q0[2], %q0[0], %1, %2\n"
            "vmov %q0[3], %q0[1], %3, %4"
            : "=&w"(v)
            : "r"(a0), "r"(a2), "r"(a1), "r"(a3));
    return v;
}
#else
/* The inner product of n elements with channel c of a block, added to its bias. */
static inline int32_t eq_dot(const int8_t *x, const int32_t *block, int32_t c, int32_t n)
{
    const int8_t *const w = (const int8_t *)(block + 4);
    int32_t sum = block[c / 2 + c % 2 * 2];
    for (int32_t k = 0; k < n; k++) {
        sum += x[k] * w[k / 16 * 64 + 16 * c + k % 16];
    }
    return sum;
}
#endif

/* Inner products of n >= 1 elements with four output channels, added to their biases. Returns where the block's multipliers are. */
static inline const int32_t *eq_dots1(eq_i32x4 sums[1], const int8_t *x, const int32_t *block, int32_t n)
{
#if EQ_MVE
    const int8_t *w = (const int8_t *)(block + 4);
    int32_t a0 = block[0], a1 = block[2], a2 = block[1], a3 = block[3];
    __asm__ volatile("dlstp.8 lr, %6\n1:\n"
                     "vldrb.8 q0, [%4], #16\n"
                     "vldrb.8 q1, [%5], #64\n"
                     "vmladava.s8 %0, q0, q1\n"
                     "vldrb.8 q2, [%5, #-48]\n"
                     "vmladava.s8 %1, q0, q2\n"
                     "vldrb.8 q1, [%5, #-32]\n"
                     "vmladava.s8 %2, q0, q1\n"
                     "vldrb.8 q2, [%5, #-16]\n"
                     "vmladava.s8 %3, q0, q2\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(a2), "+Te"(a3), "+r"(x), "+r"(w)
                     : "r"(n)
                     : "q0", "q1", "q2", "lr", "memory");
    sums[0] = eq_join4(a0, a1, a2, a3);
    return (const int32_t *)(const void *)w;
#else
    for (int32_t i = 0; i < 4; i++) {
        sums[0].lane[i] = eq_dot(x, block, i, n);
    }
    return block + 4 + (n + 15) / 16 * 16;
#endif
}

#if EQ_MVE
/* Inner products of three rows with the channels whose weights lie at `w` and 32 bytes further, added to bias[0] and bias[1].
 * Returns the end of the weights. */
static inline const int8_t *eq_dots3x2(int32_t a[6], const int32_t *bias, const int8_t *x0, const int8_t *x1, const int8_t *x2, const int8_t *w, int32_t n)
{
    int32_t a0 = bias[0], a1 = a0, a2 = a0, b0 = bias[1], b1 = b0, b2 = b0;
    register int32_t count __asm__("lr") = n; /* takes no other register: a frame pointer must fit, too */
    __asm__ volatile("dlstp.8 lr, lr\n1:\n"
                     "vldrb.8 q3, [%9], #64\n"
                     "vldrb.8 q0, [%6], #16\n"
                     "vmladava.s8 %0, q0, q3\n"
                     "vldrb.8 q1, [%7], #16\n"
                     "vmladava.s8 %1, q1, q3\n"
                     "vldrb.8 q2, [%8], #16\n"
                     "vmladava.s8 %2, q2, q3\n"
                     "vldrb.8 q3, [%9, #-32]\n"
                     "vmladava.s8 %3, q0, q3\n"
                     "vmladava.s8 %4, q1, q3\n"
                     "vmladava.s8 %5, q2, q3\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+Te"(a2), "+Te"(b0), "+Te"(b1), "+Te"(b2), "+r"(x0), "+r"(x1), "+r"(x2), "+r"(w), "+r"(count)
                     :
                     : "q0", "q1", "q2", "q3", "memory");
    a[0] = a0, a[1] = a1, a[2] = a2, a[3] = b0, a[4] = b1, a[5] = b2;
    return w;
}
#endif

/* The same of three rows. */
static inline const int32_t *eq_dots3(eq_i32x4 sums[3], const int8_t *x0, const int8_t *x1, const int8_t *x2, const int32_t *block, int32_t n)
{
#if EQ_MVE
    const int8_t *const w = (const int8_t *)(block + 4);
    int32_t even[6], odd[6]; /* channels 0 and 2, 1 and 3 */
    eq_i32x4 v0, v1, v2; /* made at once (volatile), for fourteen registers do not hold twelve sums */
    eq_dots3x2(even, block, x0, x1, x2, w, n);
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v0) : "r"(even[0]), "r"(even[3]));
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v1) : "r"(even[1]), "r"(even[4]));
    __asm__ volatile("vmov %q0[2], %q0[0], %1, %2" : "=w"(v2) : "r"(even[2]), "r"(even[5]));
    const int8_t *const end = eq_dots3x2(odd, block + 2, x0, x1, x2, w + 16, n) - 16;
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v0) : "r"(odd[0]), "r"(odd[3]));
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v1) : "r"(odd[1]), "r"(odd[4]));
    __asm__("vmov %q0[3], %q0[1], %1, %2" : "+w"(v2) : "r"(odd[2]), "r"(odd[5]));
    sums[0] = v0, sums[1] = v1, sums[2] = v2;
    return (const int32_t *)(const void *)end;
#else
    eq_dots1(sums, x0, block, n);
    eq_dots1(sums + 1, x1, block, n);
    return eq_dots1(sums + 2, x2, block, n);
#endif
}

/* The first n (any number; at most sixteen are read) of sixteen int8, the others 0. */
static inline eq_i8x16 eq_first16(const int8_t *from, int32_t n)
{
#if EQ_MVE
    return vldrbq_z_s8(from, vctp8q((uint32_t)n));
#else
    eq_i8x16 v;
    for (int32_t i = 0; i < 16; i++) {
        v.lane[i] = i < n ? from[i] : (int8_t)0;
    }
    return v;
#endif
}

/* Sixteen times x. */
static inline eq_i8x16 eq_dup16(int8_t x)
{
#if EQ_MVE
    return vdupq_n_s8(x);
#else
    eq_i8x16 v;
    for (int32_t i = 0; i < 16; i++) {
        v.lane[i] = x;
    }
    return v;
#endif
}

/* The larger ones. */
static inline eq_i8x16 eq_max16(eq_i8x16 a, eq_i8x16 b)
{
#if EQ_MVE
    return vmaxq_s8(a, b);
#else
    for (int32_t i = 0; i < 16; i++) {
        a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

/* The smaller ones. */
static inline eq_i8x16 eq_min16(eq_i8x16 a, eq_i8x16 b)
{
#if EQ_MVE
    return vminq_s8(a, b);
#else
    for (int32_t i = 0; i < 16; i++) {
        a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
    }
    return a;
#endif
}

/* The first n (any number) of sixteen int8. */
static inline void eq_store_first16(int8_t *to, eq_i8x16 v, int32_t n)
{
#if EQ_MVE
    vstrbq_p_s8(to, v, vctp8q((uint32_t)n));
#else
    for (int32_t i = 0; i < 16 && i < n; i++) {
        to[i] = v.lane[i];
    }
#endif
}

/* Inner products of sixteen weights with four windows of sixteen bytes, each of which begins `step` bytes after the one before. */
static inline eq_i32x4 eq_windows4(const int8_t *x, int32_t step, eq_i8x16 w)
{
#if EQ_MVE
    const int32_t a0 = vmladavq_s8(vldrbq_s8(x), w), a1 = vmladavq_s8(vldrbq_s8(x + step), w);
    const int32_t a2 = vmladavq_s8(vldrbq_s8(x + 2 * step), w), a3 = vmladavq_s8(vldrbq_s8(x + 3 * step), w);
    return eq_join4(a0, a1, a2, a3);
#else
    eq_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = 0;
        for (int32_t k = 0; k < 16; k++) {
            v.lane[i] += x[i * step + k] * w.lane[k];
        }
    }
    return v;
#endif
}

#if EQ_MVE
/* Inner products of n >= 1 weights with two windows. */
static inline void eq_wide_windows2(int32_t a[2], const int8_t *x0, const int8_t *x1, const int8_t *w, int32_t n)
{
    int32_t a0 = 0, a1 = 0;
    __asm__ volatile("dlstp.8 lr, %5\n1:\n"
                     "vldrb.8 q0, [%4], #16\n"
                     "vldrb.8 q1, [%2], #16\n"
                     "vmladava.s8 %0, q0, q1\n"
                     "vldrb.8 q2, [%3], #16\n"
                     "vmladava.s8 %1, q0, q2\n"
                     "letp lr, 1b"
                     : "+Te"(a0), "+Te"(a1), "+r"(x0), "+r"(x1), "+r"(w)
                     : "r"(n)
                     : "q0", "q1", "q2", "lr", "memory");
    a[0] = a0, a[1] = a1;
}
#endif

/* Inner products of n >= 1 weights with four windows, each of which begins `step` bytes after the one before. */
static inline eq_i32x4 eq_wide_windows4(const int8_t *x, int32_t step, const int8_t *w, int32_t n)
{
#if EQ_MVE
    int32_t low[2], high[2];
    eq_wide_windows2(low, x, x + step, w, n);
    eq_wide_windows2(high, x + 2 * step, x + 3 * step, w, n);
    return eq_join4(low[0], low[1], high[0], high[1]);
#else
    eq_i32x4 v;
    for (int32_t i = 0; i < 4; i++) {
        v.lane[i] = 0;
        for (int32_t k = 0; k < n; k++) {
            v.lane[i] += x[i * step + k] * w[k];
        }
    }
    return v;
#endif
}

#endif
