/* USART or LPUART of an STM32, 8N1, at the clock that the chip has after reset; its ROM's bootloader leaves another. Settings:
 *   EQ_UART, EQ_UART_INTERRUPT, EQ_UART_DIVISOR   the device; with EQ_UART_MODERN the registers of F0, F3, F7, G, H, L, U
 *   EQ_RCC, EQ_RCC_CONFIG, EQ_RCC_SELECTED        clock control, its register that chooses the clock, and the bits that tell the choice
 *   EQ_RCC_UART, EQ_RCC_UART_BIT, EQ_RCC_GPIO, EQ_RCC_GPIO_BIT   registers that switch on the clocks of UART and pins
 *   EQ_GPIO, EQ_PIN_TX, EQ_PIN_RX, EQ_PIN_FUNCTION               the pins
 *   EQ_PWR_IO2                                                   where the supply of port G must be declared valid (L4+) */
#include "eq_board.h"
#include "eq_clock.h"
#include "eq_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define GPIO_MODE REGISTER(EQ_GPIO + 0x00u)
#define GPIO_FUNCTION(pin) REGISTER(EQ_GPIO + 0x20u + 4u * ((pin) / 8u))

#ifdef EQ_UART_MODERN
#define UART_CR1 REGISTER(EQ_UART + 0x00u)
#define UART_BRR REGISTER(EQ_UART + 0x0Cu)
#define UART_STATE REGISTER(EQ_UART + 0x1Cu)
#define UART_CLEAR REGISTER(EQ_UART + 0x20u)
#define UART_RECEIVED REGISTER(EQ_UART + 0x24u)
#define UART_SENT REGISTER(EQ_UART + 0x28u)
#define UART_ENABLE 0x2Du /* receive interrupt, transmitter, receiver, UART */
#else
#define UART_STATE REGISTER(EQ_UART + 0x00u)
#define UART_RECEIVED REGISTER(EQ_UART + 0x04u)
#define UART_SENT REGISTER(EQ_UART + 0x04u)
#define UART_BRR REGISTER(EQ_UART + 0x08u)
#define UART_CR1 REGISTER(EQ_UART + 0x0Cu)
#define UART_ENABLE 0x202Cu
#endif

#define UART_OVERRUN 0x08u
#define UART_FULL 0x20u
#define UART_COMPLETE 0x40u
#define UART_EMPTY 0x80u

static void connect(uint32_t pin)
{
    GPIO_MODE = (GPIO_MODE & ~(3u << 2u * pin)) | 2u << 2u * pin;
    GPIO_FUNCTION(pin) = (GPIO_FUNCTION(pin) & ~(15u << 4u * (pin % 8u))) | (uint32_t)EQ_PIN_FUNCTION << 4u * (pin % 8u);
}

void eq_board_init(void)
{
    REGISTER(EQ_RCC) |= 1u;
    REGISTER(EQ_RCC_CONFIG) = 0;
    while (REGISTER(EQ_RCC_CONFIG) & EQ_RCC_SELECTED) {
    }
#ifdef EQ_PWR_IO2
    REGISTER(0x40021058u) |= 1u << 28;
    REGISTER(EQ_PWR_IO2) |= 1u << 9;
#endif
    REGISTER(EQ_RCC_GPIO) |= 1u << EQ_RCC_GPIO_BIT;
    REGISTER(EQ_RCC_UART) |= 1u << EQ_RCC_UART_BIT;
    (void)REGISTER(EQ_RCC_UART); /* the clock is there after a few cycles */
    connect(EQ_PIN_TX);
    connect(EQ_PIN_RX);
    UART_BRR = EQ_UART_DIVISOR;
    UART_CR1 = UART_ENABLE;
    eq_clock_init();
    eq_wait_init(EQ_UART_INTERRUPT);
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        while (!(UART_STATE & UART_EMPTY)) {
        }
        UART_SENT = p[i];
    }
    while (!(UART_STATE & UART_COMPLETE)) {
    }
}

int32_t eq_uart_take(void)
{
    const uint32_t state = UART_STATE;
#ifdef EQ_UART_MODERN
    if (state & UART_OVERRUN) {
        UART_CLEAR = UART_OVERRUN; /* else nothing is received any more; older ones forget it when the byte is read */
    }
    return state & UART_FULL ? (int32_t)(UART_RECEIVED & 0xFFu) : -1;
#else
    return state & (UART_FULL | UART_OVERRUN) ? (int32_t)(UART_RECEIVED & 0xFFu) : -1;
#endif
}
