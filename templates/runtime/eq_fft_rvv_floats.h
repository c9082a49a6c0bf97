/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Fourier transforms on floats, of floats and halves in memory, with RISC-V vectors; see eq_fft_rvv.h. */
#ifndef EQ_FFT_RVV_FLOATS_H
#define EQ_FFT_RVV_FLOATS_H

#include "eq_fft_rvv_rows.h"
#include "eq_half_zvfh.h"

#if EQ_ZVFH
#define EQ_RVV_FFT_FLOAT_TURN(re, im) \
    "vfmul.vv v20, " re ", v16\n\t" \
    "vfmul.vv v22, " im ", v18\n\t" \
    "vfmul.vv v24, " re ", v18\n\t" \
    "vfmul.vv v26, " im ", v16\n\t" \
    "vfsub.vv " re ", v20, v22\n\t" \
    "vfadd.vv " im ", v24, v26\n\t"
#define EQ_RVV_FFT_FLOAT_TURN4 \
    EQ_RVV_FFT_FACTORS("32", "v16", "w1", "turn1") EQ_RVV_FFT_FLOAT_TURN("v4", "v6") \
    EQ_RVV_FFT_FACTORS("32", "v16", "w2", "turn2") EQ_RVV_FFT_FLOAT_TURN("v8", "v10") \
    EQ_RVV_FFT_FACTORS("32", "v16", "w3", "turn3") EQ_RVV_FFT_FLOAT_TURN("v12", "v14")
#define EQ_RVV_FFT_FLOAT_TURN2 EQ_RVV_FFT_FACTORS("32", "v16", "w1", "turn1") EQ_RVV_FFT_FLOAT_TURN("v4", "v6")
#define EQ_RVV_FFT_FLOAT_R4 EQ_RVV_FFT_BODY4_32(EQ_RVV_FFT_FLOAT_TURN4, "vfadd.vv", "vfsub.vv")
#define EQ_RVV_FFT_FLOAT_R2 EQ_RVV_FFT_BODY2_32(EQ_RVV_FFT_FLOAT_TURN2, "vfadd.vv", "vfsub.vv")
#define EQ_RVV_FFT_FLOAT_GATHER_16 \
    "1:\n\tvsetvli %[vl], %[n], e16, m1, ta, mu\n\tvle16.v v8, (%[order])\n\tvsll.vi v8, v8, 2\n\tvmsltu.vx v0, v8, %[end]\n\t" \
    "vmv.v.i v4, 0\n\tvmv.v.i v5, 0\n\tvluxseg2ei16.v v4, (%[x]), v8, v0.t\n\t" \
    "vfwcvt.f.f.v v12, v4\n\tvfwcvt.f.f.v v14, v5\n\tvsetvli zero, zero, e32, m2, ta, ma\n\tvsseg2e32.v v12, (%[z])\n\t"
/* Halves of sums in v4 and v6, of differences in v12 and v14; then how they are stored. */
#define EQ_RVV_FFT_FLOAT_HALVES \
    "1:\n\tvsetvli %[vl], %[n], e32, m2, ta, ma\n\tvlseg2e32.v v0, (%[here])\n\tvlsseg2e32.v v4, (%[there]), %[back]\n\t" \
    "vlseg2e32.v v16, (%[w])\n\tvfsgnjn.vv v6, v6, v6\n\tvfadd.vv v8, v0, v4\n\tvfadd.vv v10, v2, v6\n\tvfsub.vv v0, v0, v4\n\tvfsub.vv v2, v2, v6\n\t" \
    EQ_RVV_FFT_FLOAT_TURN("v0", "v2") \
    "vfadd.vv v4, v8, v0\n\tvfadd.vv v6, v10, v2\n\tvfsub.vv v12, v8, v0\n\tvfsub.vv v14, v2, v10\n\t" \
    "li %[t], 0x3f000000\n\tvmv.v.x v16, %[t]\n\tvfmul.vv v4, v4, v16\n\tvfmul.vv v6, v6, v16\n\tvfmul.vv v12, v12, v16\n\tvfmul.vv v14, v14, v16\n\t"
#define EQ_RVV_FFT_FLOAT_HALVES_F32 EQ_RVV_FFT_FLOAT_HALVES "vsseg2e32.v v4, (%[near])\n\tvssseg2e32.v v12, (%[far]), %[back]\n\t"
#define EQ_RVV_FFT_FLOAT_HALVES_F16 \
    EQ_RVV_FFT_FLOAT_HALVES "vsetvli zero, zero, e16, m1, ta, ma\n\tvfncvt.f.f.w v20, v4\n\tvfncvt.f.f.w v21, v6\n\tvfncvt.f.f.w v22, v12\n\t" \
                       "vfncvt.f.f.w v23, v14\n\tvsseg2e16.v v20, (%[near])\n\tneg %[t], %[stored]\n\tvssseg2e16.v v22, (%[far]), %[t]\n\t"
#else
#define EQ_RVV_FFT_FLOAT_R4 1
#define EQ_RVV_FFT_FLOAT_R2 1
#define EQ_RVV_FFT_FLOAT_GATHER_16 0
#define EQ_RVV_FFT_FLOAT_HALVES_F32 0
#define EQ_RVV_FFT_FLOAT_HALVES_F16 0
#endif

EQ_RVV_FFT_RADIX4(f32, f32, float, float, EQ_RVV_FFT_FLOAT_R4)
EQ_RVV_FFT_RADIX2(f32, f32, float, float, EQ_RVV_FFT_FLOAT_R2)
EQ_RVV_FFT_GATHER(f32, float, float, EQ_RVV_FFT_ITSELF, EQ_RVV_FFT_GATHER_32)
EQ_RVV_FFT_GATHER(f16, uint16_t, float, eq_float_from_half, EQ_RVV_FFT_FLOAT_GATHER_16)
EQ_RVV_FFT_HALVES(f32, f32, float, float, float, EQ_RVV_FFT_ITSELF, EQ_RVV_FFT_FLOAT_HALVES_F32)
EQ_RVV_FFT_HALVES(f16, f32, float, float, uint16_t, eq_half_from_float, EQ_RVV_FFT_FLOAT_HALVES_F16)

#endif
