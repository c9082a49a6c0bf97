/* Leaves for an application on RISC-V. */
#include "eq_boot.h"

void eq_boot_start(uint32_t address)
{
    __asm__ volatile("csrw mie, zero\n\t.word 0x0000100f\n\tjr %0" ::"r"(address) : "memory"); /* the word: fence.i */
    for (;;) {
    }
}
