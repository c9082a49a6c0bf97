/* Where an access finds its bytes. Part of run.c. */
#ifndef EQ_ISS_MEMORY_H
#define EQ_ISS_MEMORY_H

#include "blocks.h"

#include <string.h>

static inline uint8_t *place(const eq_machine *m, uint32_t at, uint32_t bytes)
{
    const eq_region *const r = m->region;
    if (__builtin_expect(at - r->origin <= r->bytes - bytes, 1)) {
        return r->memory + (at - r->origin);
    }
    return eq_memory(m, at, bytes);
}

static inline uint8_t *writable(eq_machine *m, uint32_t at, uint32_t bytes)
{
    const eq_region *const r = m->region;
    const uint32_t code = at - m->code_origin;
    if (__builtin_expect(code < m->code_bytes, 0)) {
        const uint32_t last = (code + bytes - 1u < m->code_bytes ? code + bytes - 1u : code) / 2u;
        m->stale |= ((m->marks[code / 2u] | m->marks[last]) & EQ_MARK_DECODED) != 0;
    }
    if (__builtin_expect(r->writable && at - r->origin <= r->bytes - bytes, 1)) {
        return r->memory + (at - r->origin);
    }
    for (uint32_t i = 0; i < m->regions; i++) {
        const eq_region *const q = &m->region[i];
        if (q->writable && at - q->origin < q->bytes && q->bytes - (at - q->origin) >= bytes) {
            return q->memory + (at - q->origin);
        }
    }
    return NULL;
}

static uint32_t loaded(const uint8_t *p, uint32_t f3)
{
    uint16_t h;
    uint32_t w;
    switch (f3) {
    case 0: return (uint32_t)(int32_t)(int8_t)*p;
    case 4: return *p;
    case 1: memcpy(&h, p, 2); return (uint32_t)(int32_t)(int16_t)h;
    case 5: memcpy(&h, p, 2); return h;
    default: memcpy(&w, p, 4); return w;
    }
}

#endif
