/* eq_team.h on harts that wake each other by the CLINT's software interrupts. */
#include <stdint.h>

#include "eq_team.h"

#define MSIP(hart) (*(volatile uint32_t *)(EQ_CLINT + 4u * (hart)))

typedef struct {
    eq_work work;
    const void *what;
    int32_t parts;
    uint32_t round;
} job;

extern job eq_team_job;
extern volatile uint32_t eq_team_ended[EQ_CORES];
extern unsigned char eq_hart_stacks[EQ_CORES * EQ_HART_STACK];

job eq_team_job;
volatile uint32_t eq_team_ended[EQ_CORES]; /* the last round of each */
unsigned char eq_hart_stacks[EQ_CORES * EQ_HART_STACK] __attribute__((aligned(16)));

void eq_fork(eq_work work, const void *what, int32_t parts)
{
    eq_team_job.work = work;
    eq_team_job.what = what;
    eq_team_job.parts = parts;
    eq_team_job.round++;
    __asm__ volatile("fence" ::: "memory");
    for (uint32_t i = 1; i <= EQ_CORES; i++) {
        MSIP(i) = 1u;
    }
    for (uint32_t i = 0; i < EQ_CORES; i++) {
        while (eq_team_ended[i] != eq_team_job.round) {
            __asm__ volatile("csrs mie, %0\n\twfi\n\tcsrc mie, %0" ::"r"(8u) : "memory"); /* until some hart has ended */
            MSIP(0) = 0;
        }
    }
    __asm__ volatile("fence" ::: "memory");
}
