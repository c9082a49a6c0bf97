/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* What stands before and behind a Fourier transform of a real frame, with RISC-V vectors; see eq_fft_rvv.h. */
#ifndef EQ_FFT_RVV_ROWS_H
#define EQ_FFT_RVV_ROWS_H

#include "eq_fft_rvv.h"

#if EQ_RVV
/* Pairs at 2 * order from x, zeros from `end` bytes on. `index` makes byte offsets of pairs in v8 of places in v0. */
#define EQ_RVV_FFT_GATHER_32 \
    "1:\n\tvsetvli %[vl], %[n], e16, m1, ta, ma\n\tvle16.v v1, (%[order])\n\t" \
    "vsetvli zero, zero, e32, m2, ta, mu\n\tvzext.vf2 v8, v1\n\tvsll.vi v8, v8, 3\n\tvmsltu.vx v0, v8, %[end]\n\t" \
    "vmv.v.i v4, 0\n\tvmv.v.i v6, 0\n\tvluxseg2ei32.v v4, (%[x]), v8, v0.t\n\tvsseg2e32.v v4, (%[z])\n\t"
#define EQ_RVV_FFT_GATHER_16 \
    "1:\n\tvsetvli %[vl], %[n], e16, m1, ta, mu\n\tvle16.v v8, (%[order])\n\tvsll.vi v8, v8, 2\n\tvmsltu.vx v0, v8, %[end]\n\t" \
    "vmv.v.i v4, 0\n\tvmv.v.i v5, 0\n\tvluxseg2ei16.v v4, (%[x]), v8, v0.t\n\tvsseg2e16.v v4, (%[z])\n\t"
#define EQ_RVV_FFT_GATHER(name, from, real, get, body) \
    static inline void eq_rvv_fft_gather_##name(real *z, const from *x, const int16_t *order, int32_t n, int32_t given) \
    { \
        int32_t vl, t; \
        __asm__ volatile(body \
                         "slli %[t], %[vl], 1\n\t" \
                         "add %[order], %[order], %[t]\n\t" \
                         "slli %[t], %[vl], %[bits]\n\t" \
                         "add %[z], %[z], %[t]\n\t" \
                         "sub %[n], %[n], %[vl]\n\t" \
                         "bnez %[n], 1b\n\t" \
                         : [vl] "=&r"(vl), [t] "=&r"(t), [z] "+&r"(z), [order] "+&r"(order), [n] "+&r"(n) \
                         : [x] "r"(x), [end] "r"(given * (int32_t)sizeof(from)), [bits] "i"(sizeof(real) == 4 ? 3 : 2) \
                         : EQ_RVV_CLOBBERED); \
    }
/* Elements k and N - k: sums and differences, the differences turned, halves of sums. */
#define EQ_RVV_FFT_HALVES_B32 \
    "1:\n\tvsetvli %[vl], %[n], e32, m2, ta, ma\n\tvlseg2e32.v v0, (%[here])\n\tvlsseg2e32.v v4, (%[there]), %[back]\n\t" \
    "vlseg2e32.v v16, (%[w])\n\tvrsub.vi v6, v6, 0\n\tvadd.vv v8, v0, v4\n\tvadd.vv v10, v2, v6\n\tvsub.vv v0, v0, v4\n\tvsub.vv v2, v2, v6\n\t" \
    EQ_RVV_FFT_TURN_B32("v0", "v2") \
    "vadd.vv v4, v8, v0\n\tvadd.vv v6, v10, v2\n\tvsub.vv v12, v8, v0\n\tvsub.vv v14, v2, v10\n\t" \
    "vsra.vi v4, v4, 1\n\tvsra.vi v6, v6, 1\n\tvsra.vi v12, v12, 1\n\tvsra.vi v14, v14, 1\n\t" \
    "vsseg2e32.v v4, (%[near])\n\tvssseg2e32.v v12, (%[far]), %[back]\n\t"
#define EQ_RVV_FFT_HALVES_S16 \
    "1:\n\tvsetvli %[vl], %[n], e16, m1, ta, ma\n\tcsrwi vxrm, 0\n\tvlseg2e16.v v0, (%[here])\n\t" \
    "vlsseg2e16.v v2, (%[there]), %[back]\n\tvlseg2e16.v v8, (%[w])\n\t" \
    "li %[t], 16383\n\tvsmul.vx v0, v0, %[t]\n\tvsmul.vx v1, v1, %[t]\n\tvsmul.vx v2, v2, %[t]\n\tneg %[t], %[t]\n\tvsmul.vx v3, v3, %[t]\n\t" \
    "vadd.vv v4, v0, v2\n\tvadd.vv v5, v1, v3\n\tvsub.vv v0, v0, v2\n\tvsub.vv v1, v1, v3\n\t" \
    EQ_RVV_FFT_TURN_S16("v0", "v1") \
    "csrwi vxrm, 2\n\tvaadd.vv v2, v4, v0\n\tvaadd.vv v3, v5, v1\n\tvasub.vv v6, v4, v0\n\tvasub.vv v7, v1, v5\n\t" \
    "vsseg2e16.v v2, (%[near])\n\tvssseg2e16.v v6, (%[far]), %[back]\n\t"
#define EQ_RVV_FFT_HALVES(name, kind, real, sum, to, put, body) \
    static inline void eq_rvv_fft_halves_##name(to *y, const real *z, const real *w, int32_t count) \
    { \
        const real *here = z + 2, *there = z + 2 * (count - 1); \
        to *near = y + 2, *far = y + 2 * (count - 1); \
        const int32_t size = 2 * (int32_t)sizeof(real), stored = 2 * (int32_t)sizeof(to); \
        int32_t vl, t, n = count / 2; \
        __asm__ volatile(body \
                         "mul %[t], %[vl], %[back]\n\t" \
                         "sub %[here], %[here], %[t]\n\t" \
                         "add %[there], %[there], %[t]\n\t" \
                         "sub %[w], %[w], %[t]\n\t" \
                         "mul %[t], %[vl], %[stored]\n\t" \
                         "add %[near], %[near], %[t]\n\t" \
                         "sub %[far], %[far], %[t]\n\t" \
                         "sub %[n], %[n], %[vl]\n\t" \
                         "bnez %[n], 1b\n\t" \
                         : [vl] "=&r"(vl), [t] "=&r"(t), [here] "+&r"(here), [there] "+&r"(there), [near] "+&r"(near), [far] "+&r"(far), \
                           [w] "+&r"(w), [n] "+&r"(n) \
                         : [back] "r"(-size), [stored] "r"(stored) \
                         : EQ_RVV_CLOBBERED); \
    }
#else
#define EQ_RVV_FFT_GATHER_32 0
#define EQ_RVV_FFT_GATHER_16 0
#define EQ_RVV_FFT_HALVES_B32 0
#define EQ_RVV_FFT_HALVES_S16 0
#define EQ_RVV_FFT_ITSELF(x) (x)
#define EQ_RVV_FFT_GATHER(name, from, real, get, body) \
    static inline void eq_rvv_fft_gather_##name(real *z, const from *x, const int16_t *order, int32_t n, int32_t given) \
    { \
        for (int32_t i = 0; i < n; i++, z += 2) { \
            z[0] = 2 * order[i] < given ? get(x[2 * order[i]]) : 0; \
            z[1] = 2 * order[i] < given ? get(x[2 * order[i] + 1]) : 0; \
        } \
    }
#define EQ_RVV_FFT_HALVES(name, kind, real, sum, to, put, body) \
    static inline void eq_rvv_fft_halves_##name(to *y, const real *z, const real *w, int32_t count) \
    { \
        for (int32_t k = 1; k <= count / 2; k++, w += 2) { \
            const real *const here = z + 2 * k, *const there = z + 2 * (count - k); \
            const real ar = eq_fft_divided_##kind(here[0], 2), ai = eq_fft_divided_##kind(here[1], 2); \
            const real br = eq_fft_divided_##kind(there[0], 2), bi = eq_fft_divided_##kind(-(sum)there[1], 2); \
            const real er = eq_fft_kept_##kind((sum)ar + br), ei = eq_fft_kept_##kind((sum)ai + bi); \
            const real dr = eq_fft_kept_##kind((sum)ar - br), di = eq_fft_kept_##kind((sum)ai - bi); \
            const real odd_r = eq_fft_re_##kind(dr, di, w[0], w[1]), odd_i = eq_fft_im_##kind(dr, di, w[0], w[1]); \
            y[2 * k] = put(eq_fft_halved_##kind((sum)er + odd_r)); \
            y[2 * k + 1] = put(eq_fft_halved_##kind((sum)ei + odd_i)); \
            y[2 * (count - k)] = put(eq_fft_halved_##kind((sum)er - odd_r)); \
            y[2 * (count - k) + 1] = put(eq_fft_halved_##kind((sum)odd_i - ei)); \
        } \
    }
#endif

EQ_RVV_FFT_GATHER(b32, int32_t, int32_t, EQ_RVV_FFT_ITSELF, EQ_RVV_FFT_GATHER_32)
EQ_RVV_FFT_GATHER(s16, int16_t, int16_t, EQ_RVV_FFT_ITSELF, EQ_RVV_FFT_GATHER_16)
EQ_RVV_FFT_HALVES(b32, b32, int32_t, int32_t, int32_t, EQ_RVV_FFT_ITSELF, EQ_RVV_FFT_HALVES_B32)
EQ_RVV_FFT_HALVES(s16, s16, int16_t, int32_t, int16_t, EQ_RVV_FFT_ITSELF, EQ_RVV_FFT_HALVES_S16)

#endif
