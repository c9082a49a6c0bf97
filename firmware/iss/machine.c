/* A machine: made, given memory, asked what was counted, and freed. */
#include "blocks.h"
#include "cluster.h"

#include <stdlib.h>

/* A machine with nothing in it; NULL where the host has no memory for tables of `code_bytes` bytes of code. */
EQ_API eq_machine *eq_iss_new(uint32_t code_origin, uint32_t code_bytes)
{
    const size_t halves = code_bytes / 2u + 1u;
    eq_machine *const m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    m->code_origin = code_origin;
    m->code_bytes = code_bytes;
    m->table = calloc(halves, sizeof *m->table);
    m->marks = calloc(halves, 1);
    m->counted = calloc(2u * halves, sizeof *m->counted);
    m->sent = malloc(EQ_SENT);
    m->lead = m;
    eq_float_set_flags(0);
    return m;
}

EQ_API int eq_iss_ready(const eq_machine *m)
{
    return m->table && m->marks && m->counted && m->sent;
}

/* Memory that the machine owns: zeros. Returns where it lies on the host, NULL where there is none. */
EQ_API uint8_t *eq_iss_map(eq_machine *m, uint32_t origin, uint32_t bytes, int writable_)
{
    uint8_t *const memory = m->regions < EQ_REGIONS && bytes >= 16u ? calloc(bytes, 1) : NULL;
    if (memory != NULL) {
        const eq_region r = { origin, bytes, memory, writable_ };
        m->region[m->regions++] = r;
    }
    return memory;
}

/* Instructions and cycles per half-word of code so far, interleaved. */
EQ_API const uint64_t *eq_iss_counted(eq_machine *m)
{
    eq_flush(m);
    return m->counted;
}

EQ_API void eq_iss_free(eq_machine *m)
{
    if (m->table && m->marks && m->counted) {
        eq_flush(m);
    }
    for (uint32_t i = 0; i < m->regions; i++) {
        free(m->region[i].memory);
    }
    free(m->table);
    free(m->marks);
    free(m->counted);
    free(m->sent);
    free(m->reads);
    free(m);
}
