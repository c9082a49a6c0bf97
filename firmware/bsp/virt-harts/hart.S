/* The computing harts: they sleep until hart 0 sends a software interrupt, which is never taken, do their parts and say so. */
#include "hart.inc"

    hart_begin
    slli t0, s1, 2
    la s8, eq_team_ended
    add s8, s8, t0
    addi t0, t0, 4                  /* msip of this hart */
    li s2, EQ_CLINT
    add s2, s2, t0
    li s6, EQ_CORES
    li t0, 8                        /* mie.MSIE ends the sleep */
    csrw mie, t0
1:  wfi
    lw t0, 0(s2)
    beqz t0, 1b
    sw zero, 0(s2)
    fence
    lw s3, 0(s0)                    /* what to do, its argument, parts */
    lw s4, 4(s0)
    lw s5, 8(s0)
    hart_work
    fence
    lw t0, 12(s0)                   /* the round */
    sw t0, 0(s8)
    fence
    li t1, 1                        /* hart 0 may sleep */
    li t2, EQ_CLINT
    sw t1, 0(t2)
    j 1b
    hart_end
