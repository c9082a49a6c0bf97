/* A board that is a process: the UART is standard input and output. For serve.c built with sanitizers, fuzzed or behind a pseudo-terminal. */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "eq_board.h"
#include "eq_stack.h"

#define BUFFER 65536

unsigned char _stack_limit[1], _stack_top[1]; /* no stack of its own */

unsigned char _weights_load[1u << 20]; /* the flash */
extern unsigned char _weights_start[], _weights_end[];

__attribute__((constructor)) static void keep_weights(void)
{
    memcpy(_weights_load, _weights_start, (size_t)(_weights_end - _weights_start));
}

static unsigned char received[BUFFER], sent[BUFFER];
static size_t at, end, waiting;

static void flush(void)
{
    for (size_t i = 0; i < waiting;) {
        const ssize_t n = write(1, sent + i, waiting - i);
        if (n <= 0) {
            exit(0);
        }
        i += (size_t)n;
    }
    waiting = 0;
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *const p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        if (waiting == BUFFER) {
            flush();
        }
        sent[waiting++] = p[i];
    }
}

uint32_t eq_board_read(void *data, uint32_t bytes, uint32_t ticks)
{
    unsigned char *const p = (unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        if (at == end) {
            struct pollfd line = { .fd = 0, .events = POLLIN };
            flush();
            if (poll(&line, 1, (int)(ticks / EQ_TICKS_PER_MS)) == 0) {
                return i;
            }
            const ssize_t n = read(0, received, BUFFER);
            if (n <= 0) {
                exit(0); /* the plug is out */
            }
            at = 0;
            end = (size_t)n;
        }
        p[i] = received[at++];
    }
    return bytes;
}

uint32_t eq_board_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec * 1000000u + (uint32_t)(now.tv_nsec / 1000);
}

uint32_t eq_stack_paint(void)
{
    return 0u;
}

uint32_t eq_stack_used(uint32_t pointer)
{
    return pointer;
}
