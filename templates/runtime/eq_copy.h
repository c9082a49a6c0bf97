/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Copies from slow memory to fast memory. With -DEQ_COPY the program that contains the model defines both functions: eq_copy_start() begins a
 * copy, some of which may be under way at a time, and eq_copy_wait() returns when all have been made; else the core copies at once. */
#ifndef EQ_COPY_H
#define EQ_COPY_H

#include <stdint.h>

#ifdef EQ_COPY
#ifdef __cplusplus
extern "C" {
#endif
void eq_copy_start(void *to, const void *from, uint32_t bytes);
void eq_copy_wait(void);
#ifdef __cplusplus
}
#endif
#else
static inline void eq_copy_start(void *to, const void *from, uint32_t bytes)
{
    unsigned char *y = (unsigned char *)to;
    const unsigned char *x = (const unsigned char *)from;
    for (; bytes >= 4u; bytes -= 4u, y += 4, x += 4) { /* byte by byte: nothing is said of alignment */
        y[0] = x[0];
        y[1] = x[1];
        y[2] = x[2];
        y[3] = x[3];
    }
    for (uint32_t i = 0; i < bytes; i++) {
        y[i] = x[i];
    }
}

static inline void eq_copy_wait(void)
{
}
#endif

#endif
