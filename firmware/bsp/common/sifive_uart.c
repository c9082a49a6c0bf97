/* UART of SiFive's FE310 at EQ_UART; it interrupts at EQ_UART_INTERRUPT when it has received. */
#include "eq_board.h"
#include "eq_uart.h"

#define UART_TXDATA (*(volatile uint32_t *)(EQ_UART + 0x0u))
#define UART_RXDATA (*(volatile uint32_t *)(EQ_UART + 0x4u))
#define UART_RXCTRL (*(volatile uint32_t *)(EQ_UART + 0xCu))
#define UART_IE (*(volatile uint32_t *)(EQ_UART + 0x10u))
#define UART_TXCTRL (*(volatile uint32_t *)(EQ_UART + 0x8u))
#define UART_DIV (*(volatile uint32_t *)(EQ_UART + 0x18u))
#define GPIO_IOF_ENABLE (*(volatile uint32_t *)(EQ_GPIO + 0x38u))
#define GPIO_IOF_SELECT (*(volatile uint32_t *)(EQ_GPIO + 0x3Cu))
#define GPIO_UART_PINS 0x30000u
#define UART_TX_FULL 0x80000000u
#define UART_RX_EMPTY 0x80000000u

void eq_board_init(void)
{
#ifdef EQ_GPIO /* silicon: pins and speed; an emulator has neither */
    GPIO_IOF_SELECT &= ~GPIO_UART_PINS;
    GPIO_IOF_ENABLE |= GPIO_UART_PINS;
    UART_DIV = EQ_UART_DIVISOR;
#endif
    UART_TXCTRL = 1u;
    UART_RXCTRL = 1u;
    UART_IE = 2u; /* received: more than 0 bytes */
    eq_wait_init(EQ_UART_INTERRUPT);
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

int32_t eq_uart_take(void)
{
    const uint32_t data = UART_RXDATA;
    return data & UART_RX_EMPTY ? -1 : (int32_t)(data & 0xFFu);
}
