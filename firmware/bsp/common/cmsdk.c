/* UART of Arm's Cortex-M system design kit at EQ_UART; it interrupts at EQ_UART_INTERRUPT when it has received. The clock is the kit's down-counting timer at EQ_TIMER or, where
 * the board has none, a counter at EQ_COUNTER that always runs. */
#include "eq_board.h"
#include "eq_uart.h"

#define UART_DATA (*(volatile uint32_t *)(EQ_UART + 0x0u))
#define UART_STATE (*(volatile uint32_t *)(EQ_UART + 0x4u))
#define UART_CTRL (*(volatile uint32_t *)(EQ_UART + 0x8u))
#define UART_CLEAR (*(volatile uint32_t *)(EQ_UART + 0xCu))
#define UART_BAUDDIV (*(volatile uint32_t *)(EQ_UART + 0x10u))
#define UART_TX_FULL 1u
#define UART_RX_FULL 2u
#define UART_TX_RX_INTERRUPT 0xBu

#ifdef EQ_TIMER
#define TIMER_CTRL (*(volatile uint32_t *)(EQ_TIMER + 0x0u))
#define TIMER_VALUE (*(volatile uint32_t *)(EQ_TIMER + 0x4u))
#define TIMER_RELOAD (*(volatile uint32_t *)(EQ_TIMER + 0x8u))
#endif

void eq_board_init(void)
{
    UART_BAUDDIV = 16u;
    UART_CTRL = UART_TX_RX_INTERRUPT;
    eq_wait_init(EQ_UART_INTERRUPT);
#ifdef EQ_TIMER
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CTRL = 1u;
#endif
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        while (UART_STATE & UART_TX_FULL) {
        }
        UART_DATA = p[i];
    }
    while (UART_STATE & UART_TX_FULL) {
    }
}

int32_t eq_uart_take(void)
{
    if (!(UART_STATE & UART_RX_FULL)) {
        return -1;
    }
    UART_CLEAR = 2u; /* before the byte is taken, so that the next one interrupts again */
    return (int32_t)(UART_DATA & 0xFFu);
}

uint32_t eq_board_clock(void)
{
#ifdef EQ_TIMER
    return 0xFFFFFFFFu - TIMER_VALUE;
#else
    return *(volatile uint32_t *)EQ_COUNTER;
#endif
}
