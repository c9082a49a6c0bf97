/* 16 kHz mono int16 .wav files, a block of samples at a time. For the computer, not for the chip: it uses stdio. */
#ifndef WAV_H
#define WAV_H

#include <stdint.h>
#include <stdio.h>

/* Skip to the samples of an open file; their number, or -1 with a reason. */
int32_t wav_read_header(FILE *file, const char **reason);

/* Up to `count` samples; how many there were. */
int32_t wav_read(FILE *file, int16_t *samples, int32_t count);

/* Both return 0 where the file could not be written. */
int wav_write_header(FILE *file, int32_t samples);
int wav_write(FILE *file, const int16_t *samples, int32_t count);

#endif
