/* Sleep of a Cortex-M, ended by an interrupt of the NVIC or by SysTick. */
#include "eq_uart.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define NVIC_ISER ((volatile uint32_t *)0xE000E100u)
#define NVIC_ICPR ((volatile uint32_t *)0xE000E280u)
#define ICSR (*(volatile uint32_t *)0xE000ED04u)
#define ICSR_PENDSTCLR 0x02000000u
#define WAIT_TICKS 100000u /* 4 ms at 25 MHz */

static uint32_t line;

void eq_wait_init(uint32_t interrupt)
{
    __asm__ volatile("cpsid i" ::: "memory");
    line = interrupt;
    NVIC_ISER[line / 32u] = 1u << (line % 32u);
}

void eq_wait(void)
{
    SYST_RVR = WAIT_TICKS;
    SYST_CVR = 0;
    SYST_CSR = 7u;
    __asm__ volatile("dsb\n\twfi" ::: "memory");
    SYST_CSR = 0;
    ICSR = ICSR_PENDSTCLR;
    NVIC_ICPR[line / 32u] = 1u << (line % 32u); /* pends again if there still is something to read */
}
