/* After reset the core runs in an alias of the flash at address 0; from here on it runs where the program was linked. */
    .section .entry, "ax"
    .global eq_entry
    .type eq_entry, @function
eq_entry:
    .option push
    .option norelax
    lui t0, %hi(eq_reset)
    addi t0, t0, %lo(eq_reset)
    jr t0
    .option pop
    .size eq_entry, . - eq_entry
