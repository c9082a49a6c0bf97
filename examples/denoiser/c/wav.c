/* See wav.h. Bytes are put together by hand: any byte order will do. */
#include "wav.h"

#include <string.h>

#define RATE 16000

static uint32_t number(const unsigned char *bytes, int32_t count)
{
    uint32_t n = 0;
    for (int32_t i = count - 1; i >= 0; i--) {
        n = (n << 8) | bytes[i];
    }
    return n;
}

static void put(unsigned char *bytes, uint32_t n, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        bytes[i] = (unsigned char)(n >> (8 * i));
    }
}

int32_t wav_read_header(FILE *file, const char **reason)
{
    unsigned char head[12], format[16];
    int known = 0;

    *reason = "it is no RIFF WAVE file";
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) {
        return -1;
    }
    while (fread(head, 1, 8, file) == 8) {
        const uint32_t bytes = number(head + 4, 4);
        uint32_t rest = bytes + (bytes & 1);
        if (memcmp(head, "data", 4) == 0) {
            if (!known) {
                *reason = "its samples are not described";
                return -1;
            }
            return bytes / 2 > INT32_MAX / 2 ? INT32_MAX / 2 : (int32_t)(bytes / 2);
        }
        if (memcmp(head, "fmt ", 4) == 0 && bytes >= 16 && fread(format, 1, 16, file) == 16) {
            rest -= 16;
            known = number(format, 2) == 1 && number(format + 2, 2) == 1 && number(format + 4, 4) == RATE && number(format + 14, 2) == 16;
            if (!known) {
                *reason = "it is not 16 kHz mono with 16 bit integers";
                return -1;
            }
        }
        for (; rest > 0; rest--) {
            if (fgetc(file) == EOF) {
                *reason = "it ends early";
                return -1;
            }
        }
    }
    *reason = "it holds no samples";
    return -1;
}

int32_t wav_read(FILE *file, int16_t *samples, int32_t count)
{
    unsigned char bytes[2];
    int32_t i = 0;

    for (; i < count && fread(bytes, 1, 2, file) == 2; i++) {
        const int32_t n = (int32_t)number(bytes, 2);
        samples[i] = (int16_t)(n >= 32768 ? n - 65536 : n);
    }
    return i;
}

int wav_write_header(FILE *file, int32_t samples)
{
    unsigned char head[44] = "RIFF....WAVEfmt ";
    const uint32_t bytes = 2 * (uint32_t)samples;

    put(head + 4, 36 + bytes, 4);
    put(head + 16, 16, 4);
    put(head + 20, 1, 2);
    put(head + 22, 1, 2);
    put(head + 24, RATE, 4);
    put(head + 28, 2 * RATE, 4);
    put(head + 32, 2, 2);
    put(head + 34, 16, 2);
    memcpy(head + 36, "data", 4);
    put(head + 40, bytes, 4);
    return fwrite(head, 1, sizeof head, file) == sizeof head;
}

int wav_write(FILE *file, const int16_t *samples, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        unsigned char bytes[2];
        put(bytes, (uint32_t)(uint16_t)samples[i], 2);
        if (fwrite(bytes, 1, 2, file) != 2) {
            return 0;
        }
    }
    return 1;
}
