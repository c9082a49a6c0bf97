/* eq_team.h and eq_copy.h on the cluster: one event unit with a barrier of all harts, one engine that copies between L2 and L1. */
#include <stdint.h>

#include "eq_copy.h"
#include "eq_team.h"

#define UNIT(at) (*(volatile uint32_t *)(EQ_UNIT + (at)))
#define UNIT_CORES UNIT(0u)
#define UNIT_FROM UNIT(16u)
#define UNIT_TO UNIT(20u)
#define UNIT_COPY UNIT(24u)

typedef struct {
    eq_work work;
    const void *what;
    int32_t parts, cores;
} job;

extern job eq_team_job;
extern unsigned char eq_hart_stacks[EQ_CORES * EQ_HART_STACK];

job eq_team_job;
unsigned char eq_hart_stacks[EQ_CORES * EQ_HART_STACK] __attribute__((aligned(16)));

/* cv.elw from the event unit: sleeps until all harts have come (4), or all copies have been made (8). */
#define SLEEP(at) __asm__ volatile(".insn i 0x0b, 3, x0, %0, " #at ::"r"(EQ_UNIT) : "memory")

void eq_fork(eq_work work, const void *what, int32_t parts)
{
    eq_team_job.work = work;
    eq_team_job.what = what;
    eq_team_job.parts = parts;
    if (eq_team_job.cores == 0) {
        eq_team_job.cores = (int32_t)UNIT_CORES;
    }
    SLEEP(4); /* they begin */
    SLEEP(4); /* they have ended */
}

void eq_copy_start(void *to, const void *from, uint32_t bytes)
{
    UNIT_FROM = (uint32_t)(uintptr_t)from;
    UNIT_TO = (uint32_t)(uintptr_t)to;
    UNIT_COPY = bytes;
}

void eq_copy_wait(void)
{
    SLEEP(8);
}
