/* Denoises a 16 kHz mono .wav file through a model that edgeq emitted, frame by frame as a chip would.
 *
 *     denoise in.wav out.wav [masks.f32]
 *
 * The result is aligned with the input and as long. The third file receives the masks, 257 floats per frame.
 * denoise_model.h, made by deploy.py, puts magnitudes into the model's input and reads its output. */
#include <stdio.h>
#include <string.h>

#include "denoise_model.h"
#include "stft.h"
#include "wav.h"

static union {
    uint64_t align;
    unsigned char bytes[EQ_MODEL_ARENA_BYTES];
} arena;

static union {
    uint64_t align;
    unsigned char bytes[EQ_MODEL_INPUT_BYTES];
} input;

static union {
    uint64_t align;
    unsigned char bytes[EQ_MODEL_OUTPUT_BYTES];
} output;

static stft_t stft;

/* One frame, in place. */
static void frame(int16_t samples[STFT_HOP], float mask[STFT_BINS])
{
    float magnitude[STFT_BINS];

    stft_analyse(&stft, samples, magnitude);
    denoise_put(input.bytes, magnitude);
    eq_model_invoke(arena.bytes, input.bytes, output.bytes);
    denoise_get(output.bytes, mask);
    stft_synthesise(&stft, mask, samples);
}

/* All frames; 0 where a file cannot be written. */
static int run(FILE *in, FILE *out, FILE *masks, int32_t count)
{
    int32_t skip = STFT_DELAY;

    for (int32_t left = count; left > 0;) {
        int16_t samples[STFT_HOP] = { 0 };
        float mask[STFT_BINS];
        (void)wav_read(in, samples, STFT_HOP); /* zeros after the end */
        frame(samples, mask);
        if (masks && fwrite(mask, sizeof(float), STFT_BINS, masks) != STFT_BINS) {
            return 0;
        }
        if (skip > 0) { /* silence from before the beginning */
            skip -= STFT_HOP;
            continue;
        }
        const int32_t ready = left < STFT_HOP ? left : STFT_HOP;
        if (!wav_write(out, samples, ready)) {
            return 0;
        }
        left -= ready;
    }
    return 1;
}

static int fail(const char *what, const char *file, const char *why)
{
    fprintf(stderr, "%s %s: %s\n", what, file, why);
    return 1;
}

int main(int argc, char **argv)
{
    const char *reason;

    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s in.wav out.wav [masks.f32]\n", argv[0]);
        return 2;
    }
    FILE *const in = fopen(argv[1], "rb");
    if (!in) {
        return fail("cannot read", argv[1], "it does not open");
    }
    const int32_t count = wav_read_header(in, &reason);
    if (count < 0) {
        return fail("cannot read", argv[1], reason);
    }
    FILE *const out = fopen(argv[2], "wb");
    if (!out || !wav_write_header(out, count)) {
        return fail("cannot write", argv[2], "it does not open");
    }
    FILE *const masks = argc == 4 ? fopen(argv[3], "wb") : NULL;
    if (argc == 4 && !masks) {
        return fail("cannot write", argv[3], "it does not open");
    }
    stft_reset(&stft);
    eq_model_reset(arena.bytes);
    const int fine = run(in, out, masks, count);
    fclose(in);
    return fclose(out) == 0 && (!masks || fclose(masks) == 0) && fine ? 0 : fail("cannot write", argv[2], "no space is left");
}
