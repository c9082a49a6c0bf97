/* Timer 2 of an STM32 as the clock, for QEMU, which has no cycle counter. */
#include "eq_board.h"
#include "eq_clock.h"

#define TIM2_CR1 (*(volatile uint32_t *)0x40000000u)
#define TIM2_CNT (*(volatile uint32_t *)0x40000024u)
#define RCC_APB1ENR (*(volatile uint32_t *)0x40023840u)

void eq_clock_init(void)
{
    RCC_APB1ENR |= 1u;
    TIM2_CR1 = 1u;
}

uint32_t eq_board_clock(void)
{
    return TIM2_CNT;
}
