/* The cycle counter of Cortex-M3 and above. No emulator counts with it. */
#include "eq_board.h"
#include "eq_clock.h"

#define DEMCR (*(volatile uint32_t *)0xE000EDFCu)
#define DWT_CTRL (*(volatile uint32_t *)0xE0001000u)
#define DWT_CYCCNT (*(volatile uint32_t *)0xE0001004u)
#define DWT_LAR (*(volatile uint32_t *)0xE0001FB0u)

void eq_clock_init(void)
{
    DEMCR |= 0x01000000u;
    DWT_LAR = 0xC5ACCE55u; /* Cortex-M7 is locked; others ignore it */
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u;
}

uint32_t eq_board_clock(void)
{
    return DWT_CYCCNT;
}
