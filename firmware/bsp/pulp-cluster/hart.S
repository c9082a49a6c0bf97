/* The computing harts: they sleep at the barrier until there is work, do their parts of it, and meet there again. */
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
    li t0, EQ_HART_STACK
    mul t0, t0, s1
    la sp, eq_hart_stacks
    add sp, sp, t0
    addi s1, s1, -1
    la s0, eq_team_job
    li s2, EQ_UNIT
1:  .insn i 0x0b, 3, x0, s2, 4      /* cv.elw: the barrier */
    lw s3, 0(s0)                    /* what to do, its argument, parts, cores */
    lw s4, 4(s0)
    lw s5, 8(s0)
    lw s6, 12(s0)
    mv s7, s1
2:  bge s7, s5, 3f
    mv a0, s4
    mv a1, s7
    jalr s3
    add s7, s7, s6
    j 2b
3:  .insn i 0x0b, 3, x0, s2, 4
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
