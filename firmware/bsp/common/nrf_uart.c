/* The UART without DMA of Nordic's nRF51 and nRF52 at EQ_UART, 115200 8N1, on pins EQ_PIN_TX and EQ_PIN_RX of port 0. */
#include "eq_board.h"
#include "eq_clock.h"
#include "eq_uart.h"

#define REGISTER(offset) (*(volatile uint32_t *)(EQ_UART + (offset)))
#define START_RX REGISTER(0x000u)
#define START_TX REGISTER(0x008u)
#define RECEIVED REGISTER(0x108u)
#define SENT REGISTER(0x11Cu)
#define INTERRUPT_SET REGISTER(0x304u)
#define ENABLE REGISTER(0x500u)
#define PIN_TX REGISTER(0x50Cu)
#define PIN_RX REGISTER(0x514u)
#define RXD REGISTER(0x518u)
#define TXD REGISTER(0x51Cu)
#define BAUDRATE REGISTER(0x524u)
#define BAUD_115200 0x01D7E000u

void eq_board_init(void)
{
    PIN_TX = EQ_PIN_TX;
    PIN_RX = EQ_PIN_RX;
    BAUDRATE = BAUD_115200;
    ENABLE = 4u;
    INTERRUPT_SET = 4u;
    START_RX = 1u;
    START_TX = 1u;
    eq_clock_init();
    eq_wait_init(EQ_UART_INTERRUPT);
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        SENT = 0;
        TXD = p[i];
        while (!SENT) {
        }
    }
}

int32_t eq_uart_take(void)
{
    if (!RECEIVED) {
        return -1;
    }
    RECEIVED = 0;
    return (int32_t)(RXD & 0xFFu);
}
