/* Leaves for an application on a Cortex-M that has a vector table offset register. */
#include "eq_boot.h"

#define VTOR (*(volatile uint32_t *)0xE000ED08u)
#define NVIC_ICER ((volatile uint32_t *)0xE000E180u)
#define NVIC_ICPR ((volatile uint32_t *)0xE000E280u)

int eq_boot_startable(const void *program, uint32_t address, uint32_t bytes)
{
    const uint32_t *const vectors = (const uint32_t *)program; /* the stack pointer; where it begins, bit 0 set for Thumb */
    if (bytes < 8) {
        return 0;
    }
    const uint32_t stack = vectors[0] - EQ_RAM_ORIGIN, entry = vectors[1] - address;
    return stack != 0 && stack <= EQ_RAM_BYTES && (stack & 3u) == 0 && (entry & 1u) != 0 && entry > 8 && entry < bytes;
}

void eq_boot_start(uint32_t address)
{
    const uint32_t *const vectors = (const uint32_t *)address;
    for (int i = 0; i < 8; i++) {
        NVIC_ICER[i] = 0xFFFFFFFFu;
        NVIC_ICPR[i] = 0xFFFFFFFFu;
    }
    VTOR = address;
    __asm__ volatile("dsb\n\tisb\n\tcpsie i\n\tmsr msp, %0\n\tbx %1" ::"r"(vectors[0]), "r"(vectors[1]) : "memory");
    for (;;) {
    }
}
