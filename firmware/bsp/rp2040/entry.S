/* The chip's ROM starts an image in RAM at its lowest address. */
    .syntax unified
    .thumb
    .section .entry, "ax"
    .global eq_entry
    .type eq_entry, %function
    .thumb_func
eq_entry:
    ldr r0, =eq_entry_end           /* the vectors follow */
    ldr r1, =0xE000ED08
    str r0, [r1]
    ldr r0, =eq_reset
    bx r0
    .ltorg
    .balign 256
    .size eq_entry, . - eq_entry
    .global eq_entry_end
eq_entry_end:
