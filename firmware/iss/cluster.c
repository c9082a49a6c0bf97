/* Harts in turn, the one that is behind first; the event unit; the engine that copies. */
#include "blocks.h"
#include "cluster.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE = 4000000 }; /* cycles between two looks at the clock */

uint32_t eq_unit_read(const eq_machine *m, uint32_t at)
{
    return at == EQ_UNIT_CORES ? m->cluster->harts - 1u : 0;
}

static void copied(eq_cluster *c, uint64_t cycle)
{
    while (c->queued && c->copy[c->first_copy].end <= cycle) {
        const eq_copy *const q = &c->copy[c->first_copy];
        memmove(eq_memory(c->hart[0], q->to, q->bytes), eq_memory(c->hart[0], q->from, q->bytes), q->bytes);
        c->first_copy = (c->first_copy + 1u) % EQ_COPIES;
        c->queued--;
    }
}

static int start_copy(eq_machine *m, uint32_t bytes)
{
    eq_cluster *const c = m->cluster;
    const uint64_t soonest = m->cycles + c->copy_start;
    if (bytes == 0) {
        return -1;
    }
    if (c->queued == EQ_COPIES || !eq_memory(m, c->from, bytes) || !eq_memory(m, c->to, bytes)) {
        m->fault_pc = m->pc;
        m->fault_cause = 7;
        m->fault_address = c->to;
        return EQ_TRAPPED;
    }
    const uint32_t width = c->copy_width, uneven = (c->from % width != 0) | (c->to % width != 0);
    const uint64_t start = soonest > c->engine_free ? soonest : c->engine_free;
    const eq_copy made = { c->from, c->to, bytes, start, start + (bytes + width - 1u) / width + uneven };
    c->copy[(c->first_copy + c->queued++) % EQ_COPIES] = made;
    c->engine_free = made.end;
    c->copied += bytes;
    c->copies++;
    return -1;
}

/* Returns why the machine stops, or -1. */
int eq_unit_write(eq_machine *m, uint32_t at, uint32_t v)
{
    switch (at) {
    case EQ_UNIT_FROM: m->cluster->from = v; return -1;
    case EQ_UNIT_TO: m->cluster->to = v; return -1;
    case EQ_UNIT_COPY: return start_copy(m, v);
    default: return -1;
    }
}

/* Whether the hart sleeps for what it loads from here. */
int eq_unit_wait(eq_machine *m, uint32_t at)
{
    m->waits_for = at == EQ_UNIT_BARRIER ? EQ_AT_BARRIER : at == EQ_UNIT_COPIED ? EQ_FOR_COPIES : EQ_AWAKE;
    m->cluster->arrived += m->waits_for == EQ_AT_BARRIER;
    return m->waits_for != EQ_AWAKE;
}

/* Wake those for whom what they wait for has happened; somebody is awake then. */
static void wake(eq_cluster *c)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < c->harts; i++) {
        eq_machine *const m = c->hart[i];
        if (m->waits_for == EQ_FOR_COPIES) {
            const uint64_t until = c->engine_free > m->cycles ? c->engine_free + c->wake : m->cycles;
            copied(c, c->engine_free);
            c->copying += i == 0 ? until - m->cycles : 0;
            m->cycles = until;
            m->waits_for = EQ_AWAKE;
        }
        last = m->cycles > last ? m->cycles : last;
    }
    if (c->arrived == c->harts) {
        for (uint32_t i = 0; i < c->harts; i++) {
            c->barrier[i] += last + c->wake - c->hart[i]->cycles;
            c->hart[i]->cycles = last + c->wake;
            c->hart[i]->waits_for = EQ_AWAKE;
        }
        c->arrived = 0;
    }
}

/* The engine's turns at the banks before a cycle: it comes first. */
static void reserve(eq_cluster *c, uint64_t horizon)
{
    for (uint32_t k = 0; k < c->queued; k++) {
        const eq_copy *const q = &c->copy[(c->first_copy + k) % EQ_COPIES];
        const uint64_t from = q->start > c->reserved ? q->start : c->reserved, end = q->end < horizon ? q->end : horizon;
        const uint32_t at = (q->to - c->l1 < c->l1_bytes ? q->to : q->from) - c->l1;
        for (uint64_t cycle = from; at < c->l1_bytes && cycle < end; cycle++) {
            const uint32_t first = (at + (uint32_t)(cycle - q->start) * c->copy_width) / 4u;
            for (uint32_t i = 0; i < (c->copy_width + 3u) / 4u; i++) {
                c->taken[(first + i) & (c->l1_banks - 1u)][cycle & (EQ_WINDOW - 1u)] = (uint32_t)cycle + 1u;
            }
        }
    }
    c->reserved = horizon;
}

uint64_t eq_others_instructions(const eq_cluster *c)
{
    uint64_t sum = 0;
    for (uint32_t i = 1; i < c->harts; i++) {
        sum += c->hart[i]->instructions;
    }
    return sum;
}

/* Run until something stops a hart, or for some millions of cycles; returns why. c->faulty is the hart that a fault belongs to. */
EQ_API int eq_cluster_run(eq_cluster *c)
{
    const uint64_t limit = c->hart[0]->cycles + SLICE;
    for (;;) {
        uint64_t behind = UINT64_MAX;
        wake(c);
        for (uint32_t i = 0; i < c->harts; i++) {
            if (c->hart[i]->waits_for == EQ_AWAKE && c->hart[i]->cycles < behind) {
                behind = c->hart[i]->cycles;
            }
        }
        if (behind >= limit) {
            return EQ_LIMIT;
        }
        copied(c, behind);
        const uint64_t horizon = behind - behind % EQ_QUANTUM + EQ_QUANTUM;
        reserve(c, horizon);
        c->turn++;
        for (uint32_t k = 0; k < c->harts; k++) {
            eq_machine *const m = c->hart[(k + c->turn) % c->harts];
            if (m->waits_for != EQ_AWAKE || m->cycles >= horizon) {
                continue;
            }
            m->until = horizon;
            const int stopped = eq_hart_run(m);
            if (stopped != EQ_LIMIT && stopped != EQ_ASLEEP) {
                c->faulty = m->hart;
                return stopped;
            }
        }
    }
}

/* A cluster whose first hart is a machine that has its memory and its program; NULL where the host has no memory for it. */
EQ_API eq_cluster *eq_cluster_new(void)
{
    return calloc(1, sizeof(eq_cluster));
}

EQ_API int eq_cluster_join(eq_cluster *c, eq_machine *m)
{
    if (c->harts >= EQ_HARTS) {
        return 0;
    }
    m->hart = c->harts;
    m->cluster = c;
    c->hart[c->harts++] = m;
    m->lead = c->hart[0];
    if (m->hart) { /* memory and devices are the first one's */
        memcpy(m->region, m->lead->region, sizeof m->region);
        m->regions = m->lead->regions;
        m->uart = m->lead->uart;
        m->test = m->lead->test;
        m->pc = m->lead->pc;
    }
    return 1;
}

/* Forget the harts; they are freed one by one, and what they share by the first one. */
EQ_API void eq_cluster_free(eq_cluster *c)
{
    for (uint32_t i = 1; i < c->harts; i++) {
        c->hart[i]->regions = 0;
    }
    free(c);
}
