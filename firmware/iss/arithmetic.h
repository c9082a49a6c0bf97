/* Divisions with the steps that they take, and sums of products. Part of run.c. */
#ifndef EQ_ISS_ARITHMETIC_H
#define EQ_ISS_ARITHMETIC_H

#include <stdint.h>

static int32_t quotient(int32_t a, int32_t b)
{
    return b == 0 ? -1 : a == INT32_MIN && b == -1 ? a : a / b;
}

static int32_t remainder_of(int32_t a, int32_t b)
{
    return b == 0 ? a : a == INT32_MIN && b == -1 ? 0 : a % b;
}

/* Steps of the serial divider beyond three: how far the divisor is shifted up. */
static uint32_t steps(uint32_t divisor, int is_signed)
{
    const uint32_t bits = is_signed && divisor >> 31 ? ~divisor : divisor;
    const uint32_t zeros = bits ? (uint32_t)__builtin_clz(bits) : 32u;
    return is_signed && divisor >> 31 ? zeros - 1u : zeros;
}

static uint32_t dot4(uint32_t a, uint32_t b, uint32_t c)
{
    return c + (uint32_t)((int8_t)a * (int8_t)b + (int8_t)(a >> 8) * (int8_t)(b >> 8) + (int8_t)(a >> 16) * (int8_t)(b >> 16) +
                          (int8_t)(a >> 24) * (int8_t)(b >> 24));
}

#endif
