/* Start-up of RV32, one hart in machine mode; others sleep, or go to the board's eq_hart where it has such. */
#if defined(__clang__) && __clang_major__ >= 17
    .option arch, +zicsr            /* older Clang has it in the base ISA; GCC gets it by -march */
#endif

    .section .vectors, "ax"
    .balign 4
    .global eq_reset
    .type eq_reset, %function
eq_reset:
    csrr t0, mhartid
1:  beqz t0, 2f
#ifdef EQ_HART_STACK
    tail eq_hart                    /* weights of a megabyte and more may lie in between */
#else
    wfi
    j 1b
#endif
2:  .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, _stack_top
    la t0, eq_trap
    csrw mtvec, t0
#ifdef __riscv_flen
    li t0, 0x2000                   /* mstatus.FS: initial, before code that may use it */
    csrs mstatus, t0
    csrw fcsr, zero
#endif
#ifdef __riscv_vector
    li t0, 0x200                    /* mstatus.VS: initial, likewise */
    csrs mstatus, t0
    csrw vxrm, zero                 /* round to nearest, ties up */
#endif
    la t0, _data_start
    la t1, _data_end
    la t2, _data_load
1:  bgeu t0, t1, 2f
    lw t3, 0(t2)
    sw t3, 0(t0)
    addi t0, t0, 4
    addi t2, t2, 4
    j 1b
2:  la t0, _bss_start
    la t1, _bss_end
3:  bgeu t0, t1, 4f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 3b
4:  call eq_board_init
    call main
    call eq_board_exit
5:  j 5b
    .size eq_reset, . - eq_reset

    .section .text.eq_trap, "ax"
    .balign 4
    .type eq_trap, %function
eq_trap:
    csrr a0, mepc
    csrr a1, mcause
    mv a2, sp
    la sp, _stack_top
    call eq_board_fault
1:  j 1b
    .size eq_trap, . - eq_trap

    .section .text.eq_board_clock, "ax"
    .balign 4
    .global eq_board_clock
    .type eq_board_clock, %function
eq_board_clock:
    csrr a0, mcycle
    ret
    .size eq_board_clock, . - eq_board_clock

    .section .text.eq_stack, "ax"
    .balign 4
    .global eq_stack_paint
    .type eq_stack_paint, %function
eq_stack_paint:
    la t0, _stack_limit
    li t1, 0xA5A5A5A5
1:  bgeu t0, sp, 2f
    sw t1, 0(t0)
    addi t0, t0, 4
    j 1b
2:  mv a0, sp
    ret
    .size eq_stack_paint, . - eq_stack_paint

    .global eq_stack_used
    .type eq_stack_used, %function
eq_stack_used:
    la t0, _stack_limit
    li t1, 0xA5A5A5A5
1:  bgeu t0, a0, 2f
    lw t2, 0(t0)
    bne t2, t1, 2f
    addi t0, t0, 4
    j 1b
2:  sub a0, a0, t0
    ret
    .size eq_stack_used, . - eq_stack_used
