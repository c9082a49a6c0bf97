/* UART of type 16550 at EQ_UART, registers one byte apart; it interrupts at EQ_UART_INTERRUPT when it has received. */
#include "eq_board.h"
#include "eq_uart.h"

#define UART_THR (*(volatile uint8_t *)(EQ_UART + 0u))
#define UART_RBR (*(volatile uint8_t *)(EQ_UART + 0u))
#define UART_DLL UART_THR
#define UART_DLM UART_IER
#define UART_IER (*(volatile uint8_t *)(EQ_UART + 1u))
#define UART_FCR (*(volatile uint8_t *)(EQ_UART + 2u))
#define UART_LCR (*(volatile uint8_t *)(EQ_UART + 3u))
#define UART_LSR (*(volatile uint8_t *)(EQ_UART + 5u))
#define UART_DATA_READY 0x01u
#define UART_THR_EMPTY 0x20u

void eq_board_init(void)
{
    UART_LCR = 0x83u;
    UART_DLL = 1u;
    UART_DLM = 0;
    UART_LCR = 3u;    /* 8N1 */
    UART_FCR = 0xC7u; /* FIFOs on, and empty; it interrupts at 14 bytes, or when no more come */
    UART_IER = 1u;
    eq_wait_init(EQ_UART_INTERRUPT);
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

int32_t eq_uart_take(void)
{
    return UART_LSR & UART_DATA_READY ? (int32_t)UART_RBR : -1;
}
