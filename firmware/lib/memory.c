/* The four functions that compilers call on their own; there is no C library. Built with -ffreestanding. */
#include "string.h"

#include <stdint.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns") /* else these loops become calls of themselves */
#endif

typedef uint32_t __attribute__((may_alias)) word_t;

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    unsigned char *d = (unsigned char *)to;
    const unsigned char *s = (const unsigned char *)from;
    if (n >= 8 && ((((uintptr_t)d) ^ ((uintptr_t)s)) & 3u) == 0) {
        for (; ((uintptr_t)d & 3u) != 0; n--) {
            *d++ = *s++;
        }
        for (; n >= 16; n -= 16, d += 16, s += 16) {
            const word_t a = ((const word_t *)(const void *)s)[0], b = ((const word_t *)(const void *)s)[1];
            const word_t c = ((const word_t *)(const void *)s)[2], e = ((const word_t *)(const void *)s)[3];
            ((word_t *)(void *)d)[0] = a;
            ((word_t *)(void *)d)[1] = b;
            ((word_t *)(void *)d)[2] = c;
            ((word_t *)(void *)d)[3] = e;
        }
        for (; n >= 4; n -= 4, d += 4, s += 4) {
            *(word_t *)(void *)d = *(const word_t *)(const void *)s;
        }
    }
    while (n-- > 0) {
        *d++ = *s++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    unsigned char *d = (unsigned char *)to;
    const unsigned char *s = (const unsigned char *)from;
    if ((uintptr_t)d - (uintptr_t)s >= n) {
        return memcpy(to, from, n); /* copying upward overwrites nothing that is still to be read */
    }
    while (n-- > 0) {
        d[n] = s[n];
    }
    return to;
}

void *memset(void *to, int value, size_t n)
{
    unsigned char *d = (unsigned char *)to;
    if (n >= 8) {
        const word_t w = (word_t)(unsigned char)value * 0x01010101u;
        for (; ((uintptr_t)d & 3u) != 0; n--) {
            *d++ = (unsigned char)value;
        }
        for (; n >= 4; n -= 4, d += 4) {
            *(word_t *)(void *)d = w;
        }
    }
    while (n-- > 0) {
        *d++ = (unsigned char)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = (const unsigned char *)a, *q = (const unsigned char *)b;
    for (size_t i = 0; i < n; i++) {
        if (p[i] != q[i]) {
            return p[i] < q[i] ? -1 : 1;
        }
    }
    return 0;
}

#if defined(__arm__) && defined(__clang__)
/* What Clang calls instead where the target is bare-metal Arm: the same, with the order of memset's arguments changed. */
#define COPY(name, function) \
    void name(void *to, const void *from, size_t n); \
    void name(void *to, const void *from, size_t n) { function(to, from, n); }
#define CLEAR(name) \
    void name(void *to, size_t n); \
    void name(void *to, size_t n) { memset(to, 0, n); }
#define FILL(name) \
    void name(void *to, size_t n, int value); \
    void name(void *to, size_t n, int value) { memset(to, value, n); }

COPY(__aeabi_memcpy, memcpy)
COPY(__aeabi_memcpy4, memcpy)
COPY(__aeabi_memcpy8, memcpy)
COPY(__aeabi_memmove, memmove)
COPY(__aeabi_memmove4, memmove)
COPY(__aeabi_memmove8, memmove)
CLEAR(__aeabi_memclr)
CLEAR(__aeabi_memclr4)
CLEAR(__aeabi_memclr8)
FILL(__aeabi_memset)
FILL(__aeabi_memset4)
FILL(__aeabi_memset8)
#endif
