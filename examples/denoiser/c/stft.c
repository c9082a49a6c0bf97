/* See stft.h; the twin of this file is stft.py. */
#include "stft.h"

#include "eq_float.h"
#include "stft_tables.h"

#define HALF 256
#define QUARTER 128 /* of a turn, in entries of the sine table */

void stft_reset(stft_t *s)
{
    for (int32_t i = 0; i < STFT_WINDOW; i++) {
        s->history[i] = 0;
        s->overlap[i] = 0.0f;
    }
    for (int32_t i = 0; i < STFT_BINS; i++) {
        s->re[i] = 0.0f;
        s->im[i] = 0.0f;
    }
}

/* (x + iy) e^(-2 pi i k / 512), k in 0...383 */
static inline void turned(float x, float y, int32_t k, float *re, float *im)
{
    const float c = stft_sine[k + QUARTER], s = stft_sine[k];
    *re = x * c + y * s;
    *im = y * c - x * s;
}

/* One stage of a transform of 256 points: butterflies of 4, `run` of them with the same factors side by side. */
static void stage(const float *xr, const float *xi, float *yr, float *yi, int32_t run)
{
    for (int32_t p = 0; p < 64 / run; p++) {
        for (int32_t q = 0; q < run; q++) {
            const int32_t i = p * run + q, o = 4 * p * run + q, k = 2 * p * run;
            const float sr = xr[i] + xr[i + 128], si = xi[i] + xi[i + 128], tr = xr[i] - xr[i + 128], ti = xi[i] - xi[i + 128];
            const float ur = xr[i + 64] + xr[i + 192], ui = xi[i + 64] + xi[i + 192];
            const float vr = xr[i + 64] - xr[i + 192], vi = xi[i + 64] - xi[i + 192];
            yr[o] = sr + ur;
            yi[o] = si + ui;
            turned(tr + vi, ti - vr, k, yr + o + run, yi + o + run);
            turned(sr - ur, si - ui, 2 * k, yr + o + 2 * run, yi + o + 2 * run);
            turned(tr - vi, ti + vr, 3 * k, yr + o + 3 * run, yi + o + 3 * run);
        }
    }
}

/* A complex transform in place; with re and im swapped, the inverse one times 256. */
static void transform(float *re, float *im, float *work_re, float *work_im)
{
    stage(re, im, work_re, work_im, 1);
    stage(work_re, work_im, re, im, 4);
    stage(re, im, work_re, work_im, 16);
    stage(work_re, work_im, re, im, 64);
}

void stft_analyse(stft_t *s, const int16_t samples[STFT_HOP], float magnitude[STFT_BINS])
{
    float *const re = s->re, *const im = s->im;

    for (int32_t i = 0; i < STFT_DELAY; i++) {
        s->history[i] = s->history[i + STFT_HOP];
    }
    for (int32_t i = 0; i < STFT_HOP; i++) {
        s->history[STFT_DELAY + i] = samples[i];
    }
    for (int32_t i = 0; i < STFT_WINDOW / 2; i++) { /* even samples are real parts, odd ones imaginary */
        re[i] = (float)s->history[2 * i] * stft_hann[2 * i];
        im[i] = (float)s->history[2 * i + 1] * stft_hann[2 * i + 1];
    }
    for (int32_t i = STFT_WINDOW / 2; i < HALF; i++) {
        re[i] = 0.0f;
        im[i] = 0.0f;
    }
    transform(re, im, s->work_re, s->work_im);

    const float first_re = re[0], first_im = im[0];
    re[0] = (first_re + first_im) * 2.0f;
    im[0] = 0.0f;
    re[HALF] = (first_re - first_im) * 2.0f;
    im[HALF] = 0.0f;
    for (int32_t k = 1; k <= HALF / 2; k++) {
        const int32_t m = HALF - k;
        const float er = re[k] + re[m], ei = im[k] - im[m];
        float tr, ti;
        turned(im[k] + im[m], re[m] - re[k], k, &tr, &ti);
        re[k] = er + tr;
        im[k] = ei + ti;
        re[m] = er - tr;
        im[m] = ti - ei;
    }
    for (int32_t k = 0; k < STFT_BINS; k++) {
        magnitude[k] = eq_sqrt(re[k] * re[k] + im[k] * im[k]);
    }
}

void stft_synthesise(stft_t *s, const float mask[STFT_BINS], int16_t samples[STFT_HOP])
{
    float *const re = s->re, *const im = s->im;

    for (int32_t k = 0; k < STFT_BINS; k++) {
        re[k] *= mask[k];
        im[k] *= mask[k];
    }
    const float first = re[0], last = re[HALF];
    re[0] = first + last;
    im[0] = first - last;
    for (int32_t k = 1; k <= HALF / 2; k++) {
        const int32_t m = HALF - k;
        const float er = re[k] + re[m], ei = im[k] - im[m];
        float odd_i, odd_r;
        turned(im[k] + im[m], re[k] - re[m], k, &odd_i, &odd_r);
        re[k] = er - odd_i;
        im[k] = ei + odd_r;
        re[m] = er + odd_i;
        im[m] = odd_r - ei;
    }
    transform(im, re, s->work_im, s->work_re);

    for (int32_t i = 0; i < STFT_DELAY; i++) {
        s->overlap[i] = s->overlap[i + STFT_HOP];
    }
    for (int32_t i = STFT_DELAY; i < STFT_WINDOW; i++) {
        s->overlap[i] = 0.0f;
    }
    for (int32_t i = 0; i < STFT_WINDOW / 2; i++) {
        s->overlap[2 * i] += re[i] * stft_hann[2 * i];
        s->overlap[2 * i + 1] += im[i] * stft_hann[2 * i + 1];
    }
    for (int32_t i = 0; i < STFT_HOP; i++) {
        samples[i] = (int16_t)eq_clamp(eq_round_float(s->overlap[i] * STFT_OUTPUT_SCALE, 1), -32768, 32767);
    }
}
