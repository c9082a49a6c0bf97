/* UART of SiFive's FE310 at EQ_UART. */
#include "eq_board.h"

#define UART_TXDATA (*(volatile uint32_t *)(EQ_UART + 0x0u))
#define UART_TXCTRL (*(volatile uint32_t *)(EQ_UART + 0x8u))
#define UART_TX_FULL 0x80000000u

void eq_board_init(void)
{
    UART_TXCTRL = 1u;
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        while (UART_TXDATA & UART_TX_FULL) {
        }
        UART_TXDATA = p[i];
    }
}
