/* UART of type 16550 at EQ_UART, registers one byte apart. */
#include "eq_board.h"

#define UART_THR (*(volatile uint8_t *)(EQ_UART + 0u))
#define UART_LSR (*(volatile uint8_t *)(EQ_UART + 5u))
#define UART_THR_EMPTY 0x20u

void eq_board_init(void)
{
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        while (!(UART_LSR & UART_THR_EMPTY)) {
        }
        UART_THR = p[i];
    }
}
