/* Start-up of Cortex-M, Armv6-M instructions only. */
    .syntax unified
    .thumb

    .section .vectors, "a"
    .balign 4
    .word _stack_top
    .word eq_reset
    .rept 14
    .word eq_fault
    .endr

    .section .text.eq_reset, "ax"
    .balign 4
    .global eq_reset
    .type eq_reset, %function
    .thumb_func
eq_reset:
    ldr r0, =_stack_top
    mov sp, r0
#ifdef __ARM_FP
    ldr r0, =0xE000ED88             /* CPACR: coprocessors 10 and 11, before code that may use them */
    ldr r1, [r0]
    ldr r2, =0x00F00000
    orrs r1, r2
    str r1, [r0]
    dsb
    isb
#endif
    ldr r0, =_data_start
    ldr r1, =_data_end
    ldr r2, =_data_load
1:  cmp r0, r1
    bhs 2f
    ldr r3, [r2]
    str r3, [r0]
    adds r0, #4
    adds r2, #4
    b 1b
2:  ldr r0, =_bss_start
    ldr r1, =_bss_end
    movs r2, #0
3:  cmp r0, r1
    bhs 4f
    str r2, [r0]
    adds r0, #4
    b 3b
4:  bl eq_board_init
    bl main
    bl eq_board_exit
5:  b 5b
    .ltorg
    .size eq_reset, . - eq_reset

    .section .text.eq_fault, "ax"
    .balign 4
    .type eq_fault, %function
    .thumb_func
eq_fault:
    mov r2, sp
    movs r0, #0
    ldr r3, =_stack_limit
    cmp r2, r3
    blo 1f                          /* an overflow: nothing was stacked */
    ldr r0, [r2, #24]               /* the stacked program counter */
1:  mrs r1, ipsr
    ldr r3, =_stack_top
    mov sp, r3
    bl eq_board_fault
2:  b 2b
    .ltorg
    .size eq_fault, . - eq_fault

    .section .text.eq_stack, "ax"
    .balign 4
    .global eq_stack_paint
    .type eq_stack_paint, %function
    .thumb_func
eq_stack_paint:
    mov r0, sp
    ldr r1, =_stack_limit
    ldr r2, =0xA5A5A5A5
1:  cmp r1, r0
    bhs 2f
    str r2, [r1]
    adds r1, #4
    b 1b
2:  bx lr
    .size eq_stack_paint, . - eq_stack_paint

    .global eq_stack_used
    .type eq_stack_used, %function
    .thumb_func
eq_stack_used:
    ldr r1, =_stack_limit
    ldr r2, =0xA5A5A5A5
1:  cmp r1, r0
    bhs 2f
    ldr r3, [r1]
    cmp r3, r2
    bne 2f
    adds r1, #4
    b 1b
2:  subs r0, r0, r1
    bx lr
    .ltorg
    .size eq_stack_used, . - eq_stack_used
