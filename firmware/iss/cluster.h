/* Harts that share memory: banks of L1, a slower L2, an engine that copies, and an event unit. docs/cluster.md says what is modelled. */
#ifndef EQ_ISS_CLUSTER_H
#define EQ_ISS_CLUSTER_H

#include "iss.h"

enum {
    EQ_HARTS = 17,
    EQ_BANKS = 64,      /* at most; a power of two */
    EQ_WINDOW = 1024,   /* cycles of which the banks' turns are known; a power of two */
    EQ_QUANTUM = 16,    /* cycles that a hart may be ahead of another */
    EQ_COPIES = 16,     /* in the engine's queue */
    EQ_UNIT_BYTES = 64,
    EQ_UNIT_CORES = 0,   /* read: computing harts */
    EQ_UNIT_BARRIER = 4, /* cv.elw: sleep until all harts have come here */
    EQ_UNIT_COPIED = 8,  /* cv.elw: sleep until all copies have been made */
    EQ_UNIT_FROM = 16,   /* write: of the next copy */
    EQ_UNIT_TO = 20,
    EQ_UNIT_COPY = 24,   /* write: its bytes; it starts */
};

/* Why a hart sleeps. */
enum { EQ_AWAKE, EQ_AT_BARRIER, EQ_FOR_COPIES };

typedef struct {
    uint32_t from, to, bytes;
    uint64_t start, end; /* cycles */
} eq_copy;

typedef struct eq_cluster {
    /* What edgeq/run/iss/machine.py sets. */
    uint32_t harts;      /* the first one orchestrates */
    uint32_t unit;       /* address of the event unit */
    uint32_t l1, l1_bytes, l1_banks;
    uint32_t l2, l2_bytes, l2_wait; /* cycles that an access takes more */
    uint32_t copy_start, copy_width; /* cycles before the first byte, bytes a cycle */
    uint32_t wake;       /* cycles from an event to the next instruction */
    /* What it reads. */
    uint64_t waited[EQ_HARTS];   /* cycles for a bank */
    uint64_t far[EQ_HARTS];      /* cycles for L2 */
    uint64_t barrier[EQ_HARTS];  /* cycles asleep at barriers */
    uint64_t copying;            /* cycles that the orchestrating hart slept for copies */
    uint64_t copied, copies;     /* bytes, and how many copies */
    eq_machine *hart[EQ_HARTS];
    uint32_t faulty;             /* the hart that a fault belongs to */
    eq_copy copy[EQ_COPIES];
    uint32_t first_copy, queued, arrived, turn;
    uint32_t from, to;
    uint64_t engine_free, reserved;
    uint32_t taken[EQ_BANKS][EQ_WINDOW]; /* the cycle, and one, at which each bank was last taken */
} eq_cluster;

uint32_t eq_unit_read(const eq_machine *m, uint32_t at);
int eq_unit_write(eq_machine *m, uint32_t at, uint32_t v);
int eq_unit_wait(eq_machine *m, uint32_t at);
uint64_t eq_others_instructions(const eq_cluster *c);
int eq_hart_run(eq_machine *m);

/* Cycles that an access at a cycle waits: in L1 until its bank is free. */
static inline uint32_t eq_wait_of(eq_machine *m, uint32_t at, uint64_t cycle)
{
    eq_cluster *const c = m->cluster;
    if (at - c->l1 < c->l1_bytes) {
        uint32_t *const bank = c->taken[(at - c->l1) / 4u & (c->l1_banks - 1u)];
        uint32_t now = (uint32_t)cycle, wait = 0;
        while (bank[now & (EQ_WINDOW - 1u)] == now + 1u) {
            now++;
            wait++;
        }
        bank[now & (EQ_WINDOW - 1u)] = now + 1u;
        c->waited[m->hart] += wait;
        return wait;
    }
    if (at - c->l2 < c->l2_bytes) {
        c->far[m->hart] += c->l2_wait;
        return c->l2_wait;
    }
    return 0;
}

#endif
