/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* XCV: scores of attention; see eq_simd_xcv.h. */
#ifndef EQ_SIMD_XCV_ATTENTION_H
#define EQ_SIMD_XCV_ATTENTION_H

#include "eq_simd_xcv.h"

/* Products of `quads` words, at least one, of a and of b with those of k0, to to[0] and to[1], and with those of k1, to to[2] and to[3], each
 * less `zero` times the sum of the key. */
static inline void eq_xcv_scores2(int32_t to[4], const int8_t *a, const int8_t *b, const int8_t *k0, const int8_t *k1, int32_t quads, int32_t zero)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0;
#if EQ_XCV
    uint32_t x0, x1, w0, w1;
    __asm__ volatile(
        EQ_XCV_LOOP("%[n]", "11")
        EQ_XCV_NEXT("%[x0]", "%[a]") EQ_XCV_NEXT("%[x1]", "%[b]") EQ_XCV_NEXT("%[w0]", "%[k0]") EQ_XCV_NEXT("%[w1]", "%[k1]")
        EQ_XCV_DOT("%[s0]", "%[x0]", "%[w0]") EQ_XCV_DOT("%[s1]", "%[x1]", "%[w0]") EQ_XCV_DOT("%[t0]", "%[ones]", "%[w0]")
        EQ_XCV_DOT("%[s2]", "%[x0]", "%[w1]") EQ_XCV_DOT("%[s3]", "%[x1]", "%[w1]") EQ_XCV_DOT("%[t1]", "%[ones]", "%[w1]")
        EQ_XCV_END
        : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [t0] "+r"(t0), [t1] "+r"(t1), [a] "+r"(a), [b] "+r"(b),
          [k0] "+r"(k0), [k1] "+r"(k1), [x0] "=&r"(x0), [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1)
        : [n] "r"(quads), [ones] "r"(0x01010101u)
        : "memory");
#else
    for (; quads > 0; quads--, a += 4, b += 4, k0 += 4, k1 += 4) {
        const uint32_t x0 = eq_xcv_load4(a), x1 = eq_xcv_load4(b), w0 = eq_xcv_load4(k0), w1 = eq_xcv_load4(k1);
        s0 = eq_xcv_dot4(s0, x0, w0);
        s1 = eq_xcv_dot4(s1, x1, w0);
        t0 = eq_xcv_dot4(t0, 0x01010101u, w0);
        s2 = eq_xcv_dot4(s2, x0, w1);
        s3 = eq_xcv_dot4(s3, x1, w1);
        t1 = eq_xcv_dot4(t1, 0x01010101u, w1);
    }
#endif
    to[0] = s0 - zero * t0;
    to[1] = s1 - zero * t0;
    to[2] = s2 - zero * t1;
    to[3] = s3 - zero * t1;
}

#endif
