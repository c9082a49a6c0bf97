/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Inner products by RISC-V vectors, and what gathers for them: the assembly of eq_simd_rvv.h, or plain C without vectors. */
#ifndef EQ_SIMD_RVV_PRODUCTS_H
#define EQ_SIMD_RVV_PRODUCTS_H

#include "eq_simd_rvv.h"

/* The sum of channel `o` rescaled: what the stages do. */
static inline int32_t eq_rvv_rescaled(const eq_rvv_channels_t *c, int kind, int32_t o, int32_t sum)
{
    const int32_t m = c->multiplier[o], n = c->shift[o];
    if (kind == EQ_RVV_SINGLE || kind == EQ_RVV_SINGLE_LEFT) {
        return eq_requantize_single(kind == EQ_RVV_SINGLE ? sum : eq_shift_left(sum, c->left), m, n);
    }
    return kind == EQ_RVV_TFLM ? eq_requantize_tflm_small(sum, m, n) : eq_requantize_tflm(sum, m, n);
}

static inline int8_t eq_rvv_output(const eq_rvv_channels_t *c, int kind, int32_t o, int32_t sum)
{
    return (int8_t)eq_clamp(eq_rvv_rescaled(c, kind, o, sum) + c->offset, c->low, c->high);
}

#if !EQ_RVV
static inline void eq_rvv_product_plain(const eq_rvv_product_t *job, int32_t rows, int kind)
{
    for (int32_t o = 0, n = 64; o < job->channels; o += n) {
        int8_t y[4][64];
        n = job->channels - o < n ? job->channels - o : n;
        for (int32_t i = 0; i < n * rows; i++) {
            const int8_t *x = job->x[i % rows], *w = job->c.weights + o + i / rows;
            int32_t sum = job->c.bias[o + i / rows];
            for (int32_t piece = job->pieces; piece > 0; piece--, x += job->pitch) {
                for (int32_t k = 8 * job->blocks + job->rest; k > 0; k--, w += job->channels) {
                    sum += *x++ * *w;
                }
            }
            y[i % rows][i / rows] = eq_rvv_output(&job->c, kind, o + i / rows, sum);
        }
        for (int32_t i = 0; i < n * rows; i++) {
            job->y[i % rows][o + i / rows] = y[i % rows][i / rows];
        }
    }
}
#endif

/* Four rows times all channels, 16 at a time or more. The rows are read before the outputs of these channels are written. */
static inline void eq_rvv_product4(const eq_rvv_product_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, x1, x2, x3, t0, t1, t2, t3;
    for (int32_t o = 0; o < job->channels; o += vl) {
        EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM4)
    }
#else
    eq_rvv_product_plain(job, 4, kind);
#endif
}

/* Two rows, 32 channels at a time or more. */
static inline void eq_rvv_product2(const eq_rvv_product_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, x1, t0, t1;
    for (int32_t o = 0; o < job->channels; o += vl) {
        EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM2)
    }
#else
    eq_rvv_product_plain(job, 2, kind);
#endif
}

/* One row, 64 channels at a time or more. */
static inline void eq_rvv_product1(const eq_rvv_product_t *job, int kind)
{
#if EQ_RVV
    int32_t vl, a, o4, w, s, n, k, p, x0, t0, n0, n1;
    for (int32_t o = 0; o < job->channels; o += vl) {
        EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM1)
    }
#else
    eq_rvv_product_plain(job, 1, kind);
#endif
}

/* One row of `count` inputs from `x` on as the only piece; the outputs are int16, saturated. `twos` tells whether elements may
 * be summed up in pairs. */
static inline void eq_rvv_product16(const eq_rvv_channels_t *c, int kind, int32_t channels, int32_t twos, const int8_t *x, int32_t count, int16_t *y)
{
#if EQ_RVV
    const int32_t blocks = twos ? count / 8 : 0;
    const eq_rvv_product_t made = { *c, channels, blocks, count - 8 * blocks, 1, 0, { x }, { (int8_t *)y } }, *const job = &made;
    int32_t vl, a, o4, w, s, n, k, p, x0, t0, n0, n1;
    for (int32_t o = 0; o < channels; o += vl) {
        EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM1_INT16)
    }
#else
    (void)twos;
    for (int32_t o = 0; o < channels; o++) {
        int32_t sum = c->bias[o];
        for (int32_t k = 0; k < count; k++) {
            sum += x[k] * c->weights[k * channels + o];
        }
        y[o] = (int16_t)eq_clamp(eq_rvv_rescaled(c, kind, o, sum), INT16_MIN, INT16_MAX);
    }
#endif
}

/* Up to `n` outputs, the first of which has channel `o`. Returns how many were computed. */
static inline int32_t eq_rvv_depthwise(const eq_rvv_depthwise_t *job, int kind, int32_t o, int32_t n, const int8_t *x, int8_t *y)
{
#if EQ_RVV
    int32_t a, o4, w, s, k, l, t0, n0, n1;
    EQ_RVV_CHOOSE_STAGE(kind, EQ_RVV_ASM_DEPTHWISE)
#else
    for (int32_t i = 0; i < n; i++) {
        int32_t sum = job->c.bias[o + i];
        for (int32_t t = 0; t < 2 * job->pairs + job->rest; t++) {
            sum += x[((const int32_t *)job->taps)[t] + i] * job->c.weights[t * job->step + o + i];
        }
        y[i] = eq_rvv_output(&job->c, kind, o + i, sum);
    }
#endif
    return n;
}

/* The same of taps that are addresses: `n` outputs from element `i` of each on. */
static inline int32_t eq_rvv_depthwise_at(const eq_rvv_depthwise_t *job, int kind, int32_t o, int32_t n, int32_t i, int8_t *y)
{
#if EQ_RVV
    return eq_rvv_depthwise(job, kind, o, n, (const int8_t *)i, y);
#else
    for (int32_t k = 0; k < n; k++) {
        int32_t sum = job->c.bias[o + k];
        for (int32_t t = 0; t < 2 * job->pairs + job->rest; t++) {
            sum += ((const int8_t *const *)job->taps)[t][i + k] * job->c.weights[t * job->step + o + k];
        }
        y[k] = eq_rvv_output(&job->c, kind, o + k, sum);
    }
    return n;
#endif
}

/* Copies `n` >= 0 bytes from `from` to `to`, which do not overlap. Returns the end of `to`. */
static inline int8_t *eq_rvv_copy(int8_t *to, const int8_t *from, int32_t n)
{
#if EQ_RVV
    int32_t vl;
    __asm__ volatile(
        "1:\n\t"
        "vsetvli %[vl], %[n], e8, m8, ta, ma\n\t"
        "vle8.v v0, (%[from])\n\t"
        "add %[from], %[from], %[vl]\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "vse8.v v0, (%[to])\n\t"
        "add %[to], %[to], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [n] "+&r"(n), [from] "+&r"(from), [to] "+&r"(to) : : EQ_RVV_CLOBBERED);
#else
    for (; n > 0; n--) {
        *to++ = *from++;
    }
#endif
    return to;
}

/* `n` >= 0 bytes of `value` to `to`. Returns their end. */
static inline int8_t *eq_rvv_fill(int8_t *to, int32_t value, int32_t n)
{
#if EQ_RVV
    int32_t vl;
    __asm__ volatile(
        "vsetvli %[vl], zero, e8, m8, ta, ma\n\t"
        "vmv.v.x v0, %[value]\n\t"
        "1:\n\t"
        "vsetvli %[vl], %[n], e8, m8, ta, ma\n\t"
        "vse8.v v0, (%[to])\n\t"
        "sub %[n], %[n], %[vl]\n\t"
        "add %[to], %[to], %[vl]\n\t"
        "bnez %[n], 1b\n\t"
        : [vl] "=&r"(vl), [n] "+&r"(n), [to] "+&r"(to) : [value] "r"(value) : EQ_RVV_CLOBBERED);
#else
    for (; n > 0; n--) {
        *to++ = (int8_t)value;
    }
#endif
    return to;
}

#endif
