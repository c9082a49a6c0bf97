/* Single precision as 32 bits in a register. */
#ifndef EQ_ISS_SINGLES_H
#define EQ_ISS_SINGLES_H

#include <stdint.h>
#include <string.h>

#define CANONICAL 0x7FC00000u /* the one not-a-number that is written */

static inline float real(uint32_t v)
{
    float f;
    memcpy(&f, &v, 4);
    return f;
}

static inline uint32_t word(float f)
{
    uint32_t v;
    memcpy(&v, &f, 4);
    return (v & 0x7FFFFFFFu) > 0x7F800000u ? CANONICAL : v;
}

#endif
