/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Stages of Fourier transforms with RISC-V vectors, for any VLEN; plain C where they are absent. A vector runs over butterflies that lie
 * `lane` elements apart; the factors of their points are those from twiddles + q * first on, q * turn elements apart. Elements are real
 * and imaginary parts in turn, so that distances are even. */
#ifndef EQ_FFT_RVV_H
#define EQ_FFT_RVV_H

#include "eq_fft.h"
#include "eq_rvv.h"

#if EQ_RVV
/* Assembly that types share: `size` is the width of an element's part in bits, `set` what a vector of them is, v<re> and v<im> the
 * registers of a point. */
#define EQ_RVV_FFT_LOAD4(size, p0, p1, p2, p3) \
    "vlsseg2e" size ".v " p0 ", (%[z]), %[lane]\n\t" \
    "add %[t], %[z], %[step]\n\t" \
    "vlsseg2e" size ".v " p1 ", (%[t]), %[lane]\n\t" \
    "add %[t], %[t], %[step]\n\t" \
    "vlsseg2e" size ".v " p2 ", (%[t]), %[lane]\n\t" \
    "add %[t], %[t], %[step]\n\t" \
    "vlsseg2e" size ".v " p3 ", (%[t]), %[lane]\n\t"
#define EQ_RVV_FFT_LOAD2(size, p0, p1) \
    "vlsseg2e" size ".v " p0 ", (%[z]), %[lane]\n\t" \
    "add %[t], %[z], %[step]\n\t" \
    "vlsseg2e" size ".v " p1 ", (%[t]), %[lane]\n\t"
#define EQ_RVV_FFT_NEXT \
    "mul %[t], %[vl], %[lane]\n\t" \
    "add %[z], %[z], %[t]\n\t" \
    "sub %[n], %[n], %[vl]\n\t" \
    "bnez %[n], 1b\n\t"
/* The factors of point q move on by `turn` bytes an element. */
#define EQ_RVV_FFT_FACTORS(size, c, w, turn) \
    "vlsseg2e" size ".v " c ", (%[" w "]), %[" turn "]\n\t" \
    "mul %[t], %[vl], %[" turn "]\n\t" \
    "add %[" w "], %[" w "], %[t]\n\t"
/* Sums of four points p0 to p3 whose imaginary parts lie in i0 to i3, with four pairs of free registers behind them. */
#define EQ_RVV_FFT_SUMS4(add, sub, r0, i0, r1, i1, r2, i2, r3, i3, a, b, c, d, e, f, g, h) \
    add " " a ", " r1 ", " r3 "\n\t" \
    add " " b ", " i1 ", " i3 "\n\t" \
    sub " " c ", " r1 ", " r3 "\n\t" \
    sub " " d ", " i1 ", " i3 "\n\t" \
    sub " " e ", " r0 ", " r2 "\n\t" \
    sub " " f ", " i0 ", " i2 "\n\t" \
    add " " r0 ", " r0 ", " r2 "\n\t" \
    add " " i0 ", " i0 ", " i2 "\n\t" \
    add " " g ", " r0 ", " a "\n\t" \
    add " " h ", " i0 ", " b "\n\t" \
    sub " " r1 ", " r0 ", " a "\n\t" \
    sub " " i1 ", " i0 ", " b "\n\t" \
    add " " r2 ", " e ", " d "\n\t" \
    sub " " i2 ", " f ", " c "\n\t" \
    sub " " r3 ", " e ", " d "\n\t" \
    add " " i3 ", " f ", " c "\n\t"
#define EQ_RVV_FFT_STORE4(size, first, second, third, fourth) \
    "vssseg2e" size ".v " first ", (%[z]), %[lane]\n\t" \
    "add %[t], %[z], %[two]\n\t" \
    "vssseg2e" size ".v " second ", (%[t]), %[lane]\n\t" \
    "add %[t], %[z], %[one]\n\t" \
    "vssseg2e" size ".v " third ", (%[t]), %[lane]\n\t" \
    "add %[t], %[z], %[three]\n\t" \
    "vssseg2e" size ".v " fourth ", (%[t]), %[lane]\n\t"
/* Sum and difference of two points. */
#define EQ_RVV_FFT_SUMS2(add, sub, r0, i0, r1, i1, a, b) \
    add " " a ", " r0 ", " r1 "\n\t" \
    add " " b ", " i0 ", " i1 "\n\t" \
    sub " " r1 ", " r0 ", " r1 "\n\t" \
    sub " " i1 ", " i0 ", " i1 "\n\t"
#define EQ_RVV_FFT_STORE2(size, first, second) \
    "vssseg2e" size ".v " first ", (%[z]), %[lane]\n\t" \
    "add %[t], %[z], %[step]\n\t" \
    "vssseg2e" size ".v " second ", (%[t]), %[lane]\n\t"
/* A point times its factors, with a free register pair behind each of both. */
#define EQ_RVV_FFT_TURN_B32(re, im) \
    "vmulh.vv v20, " re ", v16\n\t" \
    "vmulh.vv v22, " im ", v18\n\t" \
    "vmulh.vv v24, " re ", v18\n\t" \
    "vmulh.vv v26, " im ", v16\n\t" \
    "vsub.vv v20, v20, v22\n\t" \
    "vadd.vv v24, v24, v26\n\t" \
    "vadd.vv " re ", v20, v20\n\t" \
    "vadd.vv " im ", v24, v24\n\t"
#define EQ_RVV_FFT_TURN_S16(re, im) \
    "vwmul.vv v16, " re ", v8\n\t" \
    "vwmul.vv v18, " im ", v9\n\t" \
    "vwmul.vv v20, " re ", v9\n\t" \
    "vwmul.vv v22, " im ", v8\n\t" \
    "vsetvli zero, zero, e32, m2, ta, ma\n\t" \
    "vsub.vv v16, v16, v18\n\t" \
    "vadd.vv v20, v20, v22\n\t" \
    "vsetvli zero, zero, e16, m1, ta, ma\n\t" \
    "vnclip.wi " re ", v16, 15\n\t" \
    "vnclip.wi " im ", v20, 15\n\t"
#define EQ_RVV_FFT_DIVIDE(re, im) \
    "vsmul.vx " re ", " re ", %[by]\n\t" \
    "vsmul.vx " im ", " im ", %[by]\n\t"
#define EQ_RVV_FFT_TURN4_B32 \
    EQ_RVV_FFT_FACTORS("32", "v16", "w1", "turn1") EQ_RVV_FFT_TURN_B32("v4", "v6") \
    EQ_RVV_FFT_FACTORS("32", "v16", "w2", "turn2") EQ_RVV_FFT_TURN_B32("v8", "v10") \
    EQ_RVV_FFT_FACTORS("32", "v16", "w3", "turn3") EQ_RVV_FFT_TURN_B32("v12", "v14")
#define EQ_RVV_FFT_TURN2_B32 EQ_RVV_FFT_FACTORS("32", "v16", "w1", "turn1") EQ_RVV_FFT_TURN_B32("v4", "v6")
#define EQ_RVV_FFT_TURN4_S16 \
    EQ_RVV_FFT_DIVIDE("v0", "v1") EQ_RVV_FFT_DIVIDE("v2", "v3") EQ_RVV_FFT_DIVIDE("v4", "v5") EQ_RVV_FFT_DIVIDE("v6", "v7") \
    EQ_RVV_FFT_FACTORS("16", "v8", "w1", "turn1") EQ_RVV_FFT_TURN_S16("v2", "v3") \
    EQ_RVV_FFT_FACTORS("16", "v8", "w2", "turn2") EQ_RVV_FFT_TURN_S16("v4", "v5") \
    EQ_RVV_FFT_FACTORS("16", "v8", "w3", "turn3") EQ_RVV_FFT_TURN_S16("v6", "v7")
#define EQ_RVV_FFT_TURN2_S16 \
    EQ_RVV_FFT_DIVIDE("v0", "v1") EQ_RVV_FFT_DIVIDE("v2", "v3") EQ_RVV_FFT_FACTORS("16", "v8", "w1", "turn1") EQ_RVV_FFT_TURN_S16("v2", "v3")
#define EQ_RVV_FFT_BODY4_32(turn, add, sub) \
    "1:\n\tvsetvli %[vl], %[n], e32, m2, ta, ma\n\t" EQ_RVV_FFT_LOAD4("32", "v0", "v4", "v8", "v12") turn \
    EQ_RVV_FFT_SUMS4(add, sub, "v0", "v2", "v4", "v6", "v8", "v10", "v12", "v14", "v16", "v18", "v20", "v22", "v24", "v26", "v28", "v30") \
    EQ_RVV_FFT_STORE4("32", "v28", "v4", "v8", "v12") EQ_RVV_FFT_NEXT
#define EQ_RVV_FFT_BODY2_32(turn, add, sub) \
    "1:\n\tvsetvli %[vl], %[n], e32, m2, ta, ma\n\t" EQ_RVV_FFT_LOAD2("32", "v0", "v4") turn \
    EQ_RVV_FFT_SUMS2(add, sub, "v0", "v2", "v4", "v6", "v8", "v10") EQ_RVV_FFT_STORE2("32", "v8", "v4") EQ_RVV_FFT_NEXT
#define EQ_RVV_FFT_BODY4_16(turn, add, sub) \
    "csrwi vxrm, 0\n\t1:\n\tvsetvli %[vl], %[n], e16, m1, ta, ma\n\t" EQ_RVV_FFT_LOAD4("16", "v0", "v2", "v4", "v6") turn \
    EQ_RVV_FFT_SUMS4(add, sub, "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15") \
    EQ_RVV_FFT_STORE4("16", "v14", "v2", "v4", "v6") EQ_RVV_FFT_NEXT
#define EQ_RVV_FFT_BODY2_16(turn, add, sub) \
    "csrwi vxrm, 0\n\t1:\n\tvsetvli %[vl], %[n], e16, m1, ta, ma\n\t" EQ_RVV_FFT_LOAD2("16", "v0", "v2") turn \
    EQ_RVV_FFT_SUMS2(add, sub, "v0", "v1", "v2", "v3", "v10", "v11") EQ_RVV_FFT_STORE2("16", "v10", "v2") EQ_RVV_FFT_NEXT

/* Butterflies of radix 4 and 2, n >= 1 of them: `body` is their assembly. */
#define EQ_RVV_FFT_RADIX4(name, kind, real, sum, body) \
    static inline void eq_rvv_fft_radix4_##name( \
        real *z, int32_t lane, int32_t step, int32_t n, const real *twiddles, int32_t first, int32_t turn, int32_t inverse) \
    { \
        const real *w1 = twiddles + first, *w2 = w1 + first, *w3 = w2 + first; \
        const int32_t size = (int32_t)sizeof(real), by = 32767 / 4; \
        int32_t vl, t; \
        __asm__ volatile(body \
                         : [vl] "=&r"(vl), [t] "=&r"(t), [z] "+&r"(z), [n] "+&r"(n), [w1] "+&r"(w1), [w2] "+&r"(w2), [w3] "+&r"(w3) \
                         : [lane] "r"(lane * size), [step] "r"(step * size), [one] "r"((inverse ? 3 : 1) * step * size), \
                           [two] "r"(2 * step * size), [three] "r"((inverse ? 1 : 3) * step * size), [turn1] "r"(turn * size), \
                           [turn2] "r"(2 * turn * size), [turn3] "r"(3 * turn * size), [by] "r"(by) \
                         : EQ_RVV_CLOBBERED); \
    }
#define EQ_RVV_FFT_RADIX2(name, kind, real, sum, body) \
    static inline void eq_rvv_fft_radix2_##name( \
        real *z, int32_t lane, int32_t step, int32_t n, const real *twiddles, int32_t first, int32_t turn, int32_t inverse) \
    { \
        const real *w1 = twiddles + first; \
        const int32_t size = (int32_t)sizeof(real), by = 32767 / 2; \
        int32_t vl, t; \
        (void)inverse; \
        __asm__ volatile(body \
                         : [vl] "=&r"(vl), [t] "=&r"(t), [z] "+&r"(z), [n] "+&r"(n), [w1] "+&r"(w1) \
                         : [lane] "r"(lane * size), [step] "r"(step * size), [turn1] "r"(turn * size), [by] "r"(by) \
                         : EQ_RVV_CLOBBERED); \
    }
#define EQ_RVV_FFT_R4_B32 EQ_RVV_FFT_BODY4_32(EQ_RVV_FFT_TURN4_B32, "vadd.vv", "vsub.vv")
#define EQ_RVV_FFT_R2_B32 EQ_RVV_FFT_BODY2_32(EQ_RVV_FFT_TURN2_B32, "vadd.vv", "vsub.vv")
#define EQ_RVV_FFT_R4_ONES EQ_RVV_FFT_BODY4_32("", "vadd.vv", "vsub.vv")
#define EQ_RVV_FFT_R2_ONES EQ_RVV_FFT_BODY2_32("", "vadd.vv", "vsub.vv")
#define EQ_RVV_FFT_R4_S16 EQ_RVV_FFT_BODY4_16(EQ_RVV_FFT_TURN4_S16, "vadd.vv", "vsub.vv")
#define EQ_RVV_FFT_R2_S16 EQ_RVV_FFT_BODY2_16(EQ_RVV_FFT_TURN2_S16, "vadd.vv", "vsub.vv")
#else
#define EQ_RVV_FFT_R4_B32 1
#define EQ_RVV_FFT_R2_B32 1
#define EQ_RVV_FFT_R4_ONES 0
#define EQ_RVV_FFT_R2_ONES 0
#define EQ_RVV_FFT_R4_S16 1
#define EQ_RVV_FFT_R2_S16 1
/* `body` says whether points are turned. */
#define EQ_RVV_FFT_POINT(kind, real, q, radix, turned) \
    const real a##q = eq_fft_divided_##kind(z[(q) * step], radix), b##q = eq_fft_divided_##kind(z[(q) * step + 1], radix); \
    const real *const w##q = twiddles + (q) * (first + i * turn); \
    const real r##q = (turned) ? eq_fft_re_##kind(a##q, b##q, w##q[0], w##q[1]) : a##q; \
    const real i##q = (turned) ? eq_fft_im_##kind(a##q, b##q, w##q[0], w##q[1]) : b##q
#define EQ_RVV_FFT_STORE(kind, at, re, im) \
    z[at] = eq_fft_kept_##kind(re); \
    z[(at) + 1] = eq_fft_kept_##kind(im)
#define EQ_RVV_FFT_RADIX4(name, kind, real, sum, body) \
    static inline void eq_rvv_fft_radix4_##name( \
        real *z, int32_t lane, int32_t step, int32_t n, const real *twiddles, int32_t first, int32_t turn, int32_t inverse) \
    { \
        const int32_t second = (inverse ? 3 : 1) * step, fourth = (inverse ? 1 : 3) * step; \
        for (int32_t i = 0; i < n; i++, z += lane) { \
            EQ_RVV_FFT_POINT(kind, real, 0, 4, 0); \
            EQ_RVV_FFT_POINT(kind, real, 1, 4, body); \
            EQ_RVV_FFT_POINT(kind, real, 2, 4, body); \
            EQ_RVV_FFT_POINT(kind, real, 3, 4, body); \
            const real r5 = eq_fft_kept_##kind((sum)r0 - r2), i5 = eq_fft_kept_##kind((sum)i0 - i2); \
            const real r6 = eq_fft_kept_##kind((sum)r0 + r2), i6 = eq_fft_kept_##kind((sum)i0 + i2); \
            const real r7 = eq_fft_kept_##kind((sum)r1 + r3), i7 = eq_fft_kept_##kind((sum)i1 + i3); \
            const real r8 = eq_fft_kept_##kind((sum)r1 - r3), i8 = eq_fft_kept_##kind((sum)i1 - i3); \
            EQ_RVV_FFT_STORE(kind, 0, (sum)r6 + r7, (sum)i6 + i7); \
            EQ_RVV_FFT_STORE(kind, 2 * step, (sum)r6 - r7, (sum)i6 - i7); \
            EQ_RVV_FFT_STORE(kind, second, (sum)r5 + i8, (sum)i5 - r8); \
            EQ_RVV_FFT_STORE(kind, fourth, (sum)r5 - i8, (sum)i5 + r8); \
        } \
    }
#define EQ_RVV_FFT_RADIX2(name, kind, real, sum, body) \
    static inline void eq_rvv_fft_radix2_##name( \
        real *z, int32_t lane, int32_t step, int32_t n, const real *twiddles, int32_t first, int32_t turn, int32_t inverse) \
    { \
        (void)inverse; \
        for (int32_t i = 0; i < n; i++, z += lane) { \
            EQ_RVV_FFT_POINT(kind, real, 0, 2, 0); \
            EQ_RVV_FFT_POINT(kind, real, 1, 2, body); \
            EQ_RVV_FFT_STORE(kind, 0, (sum)r0 + r1, (sum)i0 + i1); \
            EQ_RVV_FFT_STORE(kind, step, (sum)r0 - r1, (sum)i0 - i1); \
        } \
    }
#endif

/* `ones`: all factors are 1. */
EQ_RVV_FFT_RADIX4(b32, b32, int32_t, int32_t, EQ_RVV_FFT_R4_B32)
EQ_RVV_FFT_RADIX2(b32, b32, int32_t, int32_t, EQ_RVV_FFT_R2_B32)
EQ_RVV_FFT_RADIX4(ones, b32, int32_t, int32_t, EQ_RVV_FFT_R4_ONES)
EQ_RVV_FFT_RADIX2(ones, b32, int32_t, int32_t, EQ_RVV_FFT_R2_ONES)
EQ_RVV_FFT_RADIX4(s16, s16, int16_t, int32_t, EQ_RVV_FFT_R4_S16)
EQ_RVV_FFT_RADIX2(s16, s16, int16_t, int32_t, EQ_RVV_FFT_R2_S16)

#endif
