/* Sleep of a RISC-V hart, ended by an interrupt of the PLIC at EQ_PLIC or by the timer of the CLINT at EQ_CLINT, which
 * counts EQ_MTIME_PER_MS a millisecond. Hart 0, machine mode. */
#include "eq_uart.h"

#define PLIC_PRIORITY(n) (*(volatile uint32_t *)(EQ_PLIC + 4u * (n)))
#define PLIC_ENABLE(n) (*(volatile uint32_t *)(EQ_PLIC + 0x2000u + 4u * ((n) / 32u)))
#define PLIC_THRESHOLD (*(volatile uint32_t *)(EQ_PLIC + 0x200000u))
#define PLIC_CLAIM (*(volatile uint32_t *)(EQ_PLIC + 0x200004u))
#define MTIMECMP_LOW (*(volatile uint32_t *)(EQ_CLINT + 0x4000u))
#define MTIMECMP_HIGH (*(volatile uint32_t *)(EQ_CLINT + 0x4004u))
#define MTIME_LOW (*(volatile uint32_t *)(EQ_CLINT + 0xBFF8u))
#define MTIME_HIGH (*(volatile uint32_t *)(EQ_CLINT + 0xBFFCu))
#define MIE_MTIE_MEIE 0x880u
#define WAIT_MS 4u

void eq_wait_init(uint32_t interrupt)
{
    PLIC_PRIORITY(interrupt) = 1u;
    PLIC_ENABLE(interrupt) = 1u << (interrupt % 32u);
    PLIC_THRESHOLD = 0;
}

void eq_wait(void)
{
    const uint32_t high = MTIME_HIGH, low = MTIME_LOW; /* a carry between the two ends this sleep early */
    const uint32_t until = low + WAIT_MS * EQ_MTIME_PER_MS;
    MTIMECMP_HIGH = 0xFFFFFFFFu;
    MTIMECMP_LOW = until;
    MTIMECMP_HIGH = high + (until < low);
    __asm__ volatile("csrs mie, %0\n\twfi\n\tcsrc mie, %0" ::"r"(MIE_MTIE_MEIE) : "memory");
    const uint32_t claimed = PLIC_CLAIM;
    if (claimed) {
        PLIC_CLAIM = claimed;
    }
}
