/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* RISC-V vectors for operators whose rescaling is the same for all elements; see eq_simd_rvv.h. */
#ifndef EQ_SIMD_RVV_ELEMENTS_H
#define EQ_SIMD_RVV_ELEMENTS_H

#include "eq_simd_rvv.h"

/* int32 -> int8 by one multiplier: as eq_requantize_single or eq_requantize_tflm, plus `offset`, limited. The rest is
 * derived: the limits within which `left` bits more fit int32, and -1 where `right` is not 0. */
typedef struct {
    int32_t multiplier, right, offset, low, high, left, least, most, rounds;
} eq_rvv_scale_t;

enum { EQ_RVV_DIVIDE = -1 }; /* the kind of scale that divides by `right`, halves away from zero; `multiplier` is half of it */

/* `left` and `shift` as linear.rescaling gives them; `kind` as in eq_simd_rvv.h, a literal. */
static inline eq_rvv_scale_t eq_rvv_scale(int kind, int32_t multiplier, int32_t shift, int32_t left, int32_t offset, int32_t low, int32_t high)
{
    if (kind == EQ_RVV_TFLM || kind == EQ_RVV_TFLM_LEFT) {
        left = shift < 0 ? -shift : 0;
        shift = shift > 0 ? shift : 0;
    }
    const eq_rvv_scale_t scale = { multiplier, shift, offset, low, high, left, INT32_MIN >> left, INT32_MAX >> left, -(shift > 0) };
    return scale;
}

#if !EQ_RVV
static inline int8_t eq_rvv_scaled(int kind, int32_t x, const eq_rvv_scale_t *scale)
{
    if (kind == EQ_RVV_DIVIDE) {
        x = (x > 0 ? x + scale->multiplier : x - scale->multiplier) / scale->right;
    } else if (kind == EQ_RVV_SINGLE) {
        x = eq_requantize_single(eq_shift_left(x, scale->left), scale->multiplier, scale->right);
    } else {
        x = eq_requantize_tflm(x, scale->multiplier, scale->right - scale->left);
    }
    return (int8_t)eq_clamp(x + scale->offset, scale->low, scale->high);
}
#endif

#if EQ_RVV
/* v0 rescaled; v16 is free. */
#define EQ_RVV_SCALE_SINGLE(d) \
    "vsll.vx " d ", " d ", %[left]\n\t" \
    "vmulh.vx " d ", " d ", %[m]\n\t" \
    "vssra.vx " d ", " d ", %[right]\n\t"
#define EQ_RVV_SCALE_TFLM(d) \
    "vmax.vx " d ", " d ", %[least]\n\t" \
    "vmin.vx " d ", " d ", %[most]\n\t" \
    "vsll.vx " d ", " d ", %[left]\n\t" \
    "vsmul.vx " d ", " d ", %[m]\n\t" \
    EQ_RVV_ROUND_AWAY(d, "rounds", "right")
#define EQ_RVV_ROUND_AWAY(d, rounds, right) /* d / 2^right, halves away from zero; `rounds` is -1, or 0 where right is 0 */ \
    "vand.vx v16, " d ", %[" rounds "]\n\t" \
    "vsra.vi v16, v16, 31\n\t" \
    "vadd.vv " d ", " d ", v16\n\t" \
    "vssra.vx " d ", " d ", %[" right "]\n\t"
#define EQ_RVV_SCALE_DIVIDE(d) /* plus or minus half of the divisor, then the quotient toward zero */ \
    "vsra.vi v16, " d ", 31\n\t" \
    "vxor.vx v8, v16, %[m]\n\t" \
    "vsub.vv v8, v8, v16\n\t" \
    "vadd.vv " d ", " d ", v8\n\t" \
    "vdiv.vx " d ", " d ", %[right]\n\t"
#define EQ_RVV_SCALE_OPERANDS \
    [m] "r"(scale->multiplier), [right] "r"(scale->right), [left] "r"(scale->left), [least] "r"(scale->least), \
    [most] "r"(scale->most), [rounds] "r"(scale->rounds)
#define EQ_RVV_LIMIT_OPERANDS [offset] "r"(scale->offset), [low] "r"(scale->low), [high] "r"(scale->high)

/* v0 as int8 to `y`. */
#define EQ_RVV_STORE_NARROWED \
    "vsetvli zero, zero, e16, m4, ta, ma\n\t" \
    "vnclip.wi v16, v0, 0\n\t" \
    "vsadd.vx v16, v16, %[offset]\n\t" \
    "vsetvli zero, zero, e8, m2, ta, ma\n\t" \
    "vnclip.wi v0, v16, 0\n\t" \
    "vmax.vx v0, v0, %[low]\n\t" \
    "vmin.vx v0, v0, %[high]\n\t" \
    "vse8.v v0, (%[y])\n\t"

/* Elements of `a` as int32 in v0, of `b` in v8; a tensor whose step is 0 stands still. */
#define EQ_RVV_LOAD_BOTH \
    "vle8.v v6, (%[a])\n\t" \
    "vle8.v v14, (%[b])\n\t" \
    "add %[a], %[a], %[vl]\n\t" \
    "add %[b], %[b], %[vl]\n\t" \
    "vsext.vf4 v0, v6\n\t" \
    "vsext.vf4 v8, v14\n\t"
#define EQ_RVV_LOAD_STEPPED \
    "vlse8.v v6, (%[a]), %[ka]\n\t" \
    "vlse8.v v14, (%[b]), %[kb]\n\t" \
    "mul %[t], %[vl], %[ka]\n\t" \
    "add %[a], %[a], %[t]\n\t" \
    "mul %[t], %[vl], %[kb]\n\t" \
    "add %[b], %[b], %[t]\n\t" \
    "vsext.vf4 v0, v6\n\t" \
    "vsext.vf4 v8, v14\n\t"
#define EQ_RVV_ELEMENTS(LOAD, WORK, ...) \
    __asm__ volatile( \
        "csrwi vxrm, 0\n\t" \
        "1:\n\t" \
        "vsetvli %[vl], %[n], e32, m8, ta, ma\n\t" \
        LOAD WORK EQ_RVV_STORE_NARROWED \
        "add %[y], %[y], %[vl]\n\t" \
        "sub %[n], %[n], %[vl]\n\t" \
        "bnez %[n], 1b\n\t" \
        : [vl] "=&r"(vl), [t] "=&r"(t), [n] "+&r"(n), [a] "+&r"(a), [b] "+&r"(b), [y] "+&r"(y) \
        : [ka] "r"(a_step), [kb] "r"(b_step), EQ_RVV_LIMIT_OPERANDS, __VA_ARGS__ \
        : EQ_RVV_CLOBBERED)
#define EQ_RVV_CHOOSE_LOAD(WORK, ...) \
    if (a_step == 1 && b_step == 1) { \
        EQ_RVV_ELEMENTS(EQ_RVV_LOAD_BOTH, WORK, __VA_ARGS__); \
    } else { \
        EQ_RVV_ELEMENTS(EQ_RVV_LOAD_STEPPED, WORK, __VA_ARGS__); \
    }
#endif

/* y = (a * a_multiplier + b * b_multiplier + start) >> shift, plus the offset, limited. n > 0; steps are 0 or 1. */
static inline void eq_rvv_add_single(
    int8_t *y, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n, int32_t a_multiplier, int32_t b_multiplier,
    int32_t start, int32_t shift, const eq_rvv_scale_t *scale)
{
#if EQ_RVV
    int32_t vl, t;
    EQ_RVV_CHOOSE_LOAD("vmul.vx v0, v0, %[am]\n\t"
                   "vmacc.vx v0, %[bm], v8\n\t"
                   "vadd.vx v0, v0, %[start]\n\t"
                   "vsra.vx v0, v0, %[shift]\n\t",
        [am] "r"(a_multiplier), [bm] "r"(b_multiplier), [start] "r"(start), [shift] "r"(shift))
#else
    for (; n > 0; n--, a += a_step, b += b_step) {
        const int32_t sum = (*a * a_multiplier + start + *b * b_multiplier) >> shift;
        *y++ = (int8_t)eq_clamp(sum + scale->offset, scale->low, scale->high);
    }
#endif
}

/* An input of the addition with rounding tflm: (x - zero) * 2^20 is multiplied and shifted right. */
typedef struct {
    int32_t zero, multiplier, shift;
} eq_rvv_addend_t;

#if EQ_RVV
#define EQ_RVV_ADDEND(d, name) \
    "vsub.vx " d ", " d ", %[" name "z]\n\t" \
    "vsll.vi " d ", " d ", 20\n\t" \
    "vsmul.vx " d ", " d ", %[" name "m]\n\t" \
    EQ_RVV_ROUND_AWAY(d, name "r", name "s")
#define EQ_RVV_SUM(operation) \
    EQ_RVV_CHOOSE_LOAD(EQ_RVV_ADDEND("v0", "a") EQ_RVV_ADDEND("v8", "b") operation " v0, v0, v8\n\t" \
                   "vsmul.vx v0, v0, %[m]\n\t" \
                   EQ_RVV_ROUND_AWAY("v0", "rounds", "right"), \
        [az] "r"(first->zero), [am] "r"(first->multiplier), [as] "r"(first->shift), [ar] "r"(first_rounds), \
        [bz] "r"(second->zero), [bm] "r"(second->multiplier), [bs] "r"(second->shift), [br] "r"(second_rounds), \
        [m] "r"(scale->multiplier), [right] "r"(scale->right), [rounds] "r"(scale->rounds))
#endif

/* y = a + sign * b with rounding tflm; n > 0, steps are 0 or 1, sign is 1 or -1. */
static inline void eq_rvv_add_tflm(
    int8_t *y, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n, const eq_rvv_addend_t *first,
    const eq_rvv_addend_t *second, int32_t sign, const eq_rvv_scale_t *scale)
{
#if EQ_RVV
    int32_t vl, t;
    const int32_t first_rounds = -(first->shift > 0), second_rounds = -(second->shift > 0);
    if (sign > 0) {
        EQ_RVV_SUM("vadd.vv")
    } else {
        EQ_RVV_SUM("vsub.vv")
    }
#else
    for (; n > 0; n--, a += a_step, b += b_step) {
        const int32_t scaled_a = eq_requantize_tflm((*a - first->zero) * (1 << 20), first->multiplier, first->shift);
        const int32_t scaled_b = eq_requantize_tflm((*b - second->zero) * (1 << 20), second->multiplier, second->shift);
        const int32_t sum = eq_requantize_tflm(scaled_a + sign * scaled_b, scale->multiplier, scale->right);
        *y++ = (int8_t)eq_clamp(sum + scale->offset, scale->low, scale->high);
    }
#endif
}

/* y = (a - a_zero) * (b - b_zero), rescaled; n > 0, steps are 0 or 1. */
static inline void eq_rvv_mul(
    int8_t *y, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t n, int32_t a_zero, int32_t b_zero, int kind,
    const eq_rvv_scale_t *scale)
{
#if EQ_RVV
    int32_t vl, t;
#define EQ_RVV_PRODUCT(SCALE) \
    EQ_RVV_CHOOSE_LOAD("vsub.vx v0, v0, %[az]\n\t" \
                   "vsub.vx v8, v8, %[bz]\n\t" \
                   "vmul.vv v0, v0, v8\n\t" \
                   SCALE("v0"), \
        [az] "r"(a_zero), [bz] "r"(b_zero), EQ_RVV_SCALE_OPERANDS)
    if (kind == EQ_RVV_SINGLE) {
        EQ_RVV_PRODUCT(EQ_RVV_SCALE_SINGLE)
    } else {
        EQ_RVV_PRODUCT(EQ_RVV_SCALE_TFLM)
    }
#else
    for (; n > 0; n--, a += a_step, b += b_step) {
        *y++ = eq_rvv_scaled(kind, (*a - a_zero) * (*b - b_zero), scale);
    }
#endif
}

#endif
