/* The computing harts: they sleep until hart 0 sends a software interrupt, which is never taken, do their parts and say so. */
    .section .text.eq_hart, "ax"
    .balign 4
    .global eq_hart
    .type eq_hart, %function
eq_hart:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la t0, eq_hart_trap
    csrw mtvec, t0
    csrr s1, mhartid                /* from 1 on */
    slli t0, s1, 2
    li s2, EQ_CLINT                 /* msip of this hart */
    add s2, s2, t0
    la s8, eq_team_ended
    add s8, s8, t0
    addi s8, s8, -4
    li t0, EQ_HART_STACK
    mul t0, t0, s1
    la sp, eq_hart_stacks
    add sp, sp, t0
    addi s1, s1, -1
    la s0, eq_team_job
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
    mv s7, s1
2:  bge s7, s5, 3f
    mv a0, s4
    mv a1, s7
    jalr s3
    add s7, s7, s6
    j 2b
3:  fence
    lw t0, 12(s0)                   /* the round */
    sw t0, 0(s8)
    fence
    li t1, 1                        /* hart 0 may sleep */
    li t2, EQ_CLINT
    sw t1, 0(t2)
    j 1b
    .size eq_hart, . - eq_hart

    .section .text.eq_hart_trap, "ax"
    .balign 4
    .type eq_hart_trap, %function
eq_hart_trap:
    csrr a0, mepc
    csrr a1, mcause
    mv a2, sp
    call eq_board_fault
1:  j 1b
    .size eq_hart_trap, . - eq_hart_trap
