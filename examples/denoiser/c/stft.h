/* A short-time Fourier transform and back, frame by frame, in float32: 400 samples under a Hann window, 100 new ones per
 * frame, 512 points, 257 bins. 16 kHz mono in, 16 kHz mono out, 300 samples later.
 *
 *     stft_reset(&s);
 *     for each 100 samples:
 *         stft_analyse(&s, samples, magnitude);
 *         ... a network makes a mask of the magnitude ...
 *         stft_synthesise(&s, mask, samples);
 *
 * Freestanding ISO C99 on edgeq's eq_float.h, no libm, no static data that changes. Compile with
 * -ffp-contract=off: the bytes are those of stft.py. */
#ifndef STFT_H
#define STFT_H

#include <stdint.h>

#define STFT_HOP 100
#define STFT_WINDOW 400
#define STFT_BINS 257
#define STFT_DELAY 300

/* Owned by the caller. */
typedef struct {
    int16_t history[STFT_WINDOW];              /* the latest samples */
    float overlap[STFT_WINDOW];                /* sums of frames that are not complete yet */
    float re[STFT_BINS], im[STFT_BINS];        /* the spectrum from analysis to synthesis */
    float work_re[256], work_im[256];          /* scratch of the transform */
} stft_t;

/* Silence before the first sample. */
void stft_reset(stft_t *s);

/* 100 new samples -> magnitudes, of samples in -1...1. */
void stft_analyse(stft_t *s, const int16_t samples[STFT_HOP], float magnitude[STFT_BINS]);

/* The spectrum that stft_analyse left, times the mask -> 100 samples. Call it once per stft_analyse. */
void stft_synthesise(stft_t *s, const float mask[STFT_BINS], int16_t samples[STFT_HOP]);

#endif
