/* USART 0 of the GD32VF103 on pins A9 and A10, 115200 8N1 at the 8 MHz that the chip has after reset;
 * its ROM's bootloader may leave another clock. */
#include "eq_board.h"
#include "eq_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define RCU_CONTROL REGISTER(0x40021000u)
#define RCU_CONFIG REGISTER(0x40021004u)
#define RCU_SELECTED 0xCu
#define RCU_APB2EN REGISTER(0x40021018u)
#define GPIOA_HIGH REGISTER(0x40010804u)
#define UART_STATE REGISTER(0x40013800u)
#define UART_DATA REGISTER(0x40013804u)
#define UART_BAUD REGISTER(0x40013808u)
#define UART_CTL0 REGISTER(0x4001380Cu)
#define UART_RECEIVED 0x28u /* or overrun */
#define UART_COMPLETE 0x40u
#define UART_EMPTY 0x80u

void eq_board_init(void)
{
    RCU_CONTROL |= 1u;
    RCU_CONFIG = 0;
    while (RCU_CONFIG & RCU_SELECTED) {
    }
    RCU_APB2EN |= 0x4005u; /* USART 0, port A, alternate functions */
    GPIOA_HIGH = (GPIOA_HIGH & ~0xFF0u) | 0x4B0u;
    UART_BAUD = 69u;
    UART_CTL0 = 0x200Cu;
    eq_wait_init(0);
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        while (!(UART_STATE & UART_EMPTY)) {
        }
        UART_DATA = p[i];
    }
    while (!(UART_STATE & UART_COMPLETE)) {
    }
}

int32_t eq_uart_take(void)
{
    return UART_STATE & UART_RECEIVED ? (int32_t)(UART_DATA & 0xFFu) : -1;
}
