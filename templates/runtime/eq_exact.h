/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* What keeps floats the same bits under every compiler and its flags: each operation rounded once, in the order written.
 * Included before anything else. */
#ifndef EQ_EXACT_H
#define EQ_EXACT_H

#include <float.h>

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__) \
    || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ + 0)
#error "edgeq's floats need IEEE arithmetic: compile this file without -ffast-math, -Ofast and their parts"
#endif
#if FLT_EVAL_METHOD != 0
#error "edgeq's floats must not have excess precision (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif

/* No fused multiply-add where the C says two operations, also where the flags allow it. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#if __clang_major__ >= 12
#pragma clang fp reassociate(off)
#endif
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2) /* whose vectors take subnormal floats for zeros; Clang: -fno-vectorize -fno-slp-vectorize */
#pragma GCC optimize("no-tree-vectorize")
#endif
#else
#pragma STDC FP_CONTRACT OFF
#endif

#endif
