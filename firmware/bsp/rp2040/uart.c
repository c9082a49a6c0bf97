/* UART 0 of the RP2040 (PL011) on pins 0 and 1, 115200 8N1. The ROM may leave the ring oscillator, whose speed is not known:
 * everything is switched to the crystal's 12 MHz. The clock is the chip's timer, a microsecond a tick. */
#include "eq_board.h"
#include "eq_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define RESETS_CLEAR REGISTER(0x4000F000u)
#define RESETS_DONE REGISTER(0x4000C008u)
#define RESETS 0x00600120u /* UART 0, timer, pads, pins */
#define CLOCK_PERIPHERALS REGISTER(0x40008048u)
#define CLOCK_REFERENCE REGISTER(0x40008030u)
#define CLOCK_REFERENCE_SELECTED REGISTER(0x40008038u)
#define CLOCK_SYSTEM REGISTER(0x4000803Cu)
#define CLOCK_SYSTEM_SELECTED REGISTER(0x40008044u)
#define CRYSTAL_CONTROL REGISTER(0x40024000u)
#define CRYSTAL_STATUS REGISTER(0x40024004u)
#define CRYSTAL_STARTUP REGISTER(0x4002400Cu)
#define CRYSTAL_STABLE 0x80000000u
#define WATCHDOG_TICK REGISTER(0x4005802Cu)
#define TIMER_RAW REGISTER(0x40054028u)
#define PIN_FUNCTION(pin) REGISTER(0x40014004u + 8u * (pin))
#define UART(offset) REGISTER(0x40034000u + (offset))
#define UART_DATA UART(0x00u)
#define UART_FLAGS UART(0x18u)
#define UART_RX_EMPTY 0x10u
#define UART_TX_FULL 0x20u
#define UART_INTERRUPT 20u

static void use_crystal(void)
{
    CRYSTAL_STARTUP = 47u;          /* times 256 cycles: a millisecond */
    CRYSTAL_CONTROL = 0x00FABAA0u; /* on, 1 to 15 MHz */
    while (!(CRYSTAL_STATUS & CRYSTAL_STABLE)) {
    }
    CLOCK_REFERENCE = 2u;
    while (CLOCK_REFERENCE_SELECTED != 1u << 2) {
    }
    CLOCK_SYSTEM = 0; /* the reference */
    while (CLOCK_SYSTEM_SELECTED != 1u) {
    }
}

void eq_board_init(void)
{
    use_crystal();
    RESETS_CLEAR = RESETS;
    while ((RESETS_DONE & RESETS) != RESETS) {
    }
    CLOCK_PERIPHERALS = 0x800u;
    WATCHDOG_TICK = 0x200u | 12u; /* cycles of the reference */
    PIN_FUNCTION(0u) = 2u;
    PIN_FUNCTION(1u) = 2u;
    UART(0x24u) = 6u;
    UART(0x28u) = 33u;
    UART(0x2Cu) = 0x70u;
    UART(0x38u) = 0x50u; /* received, or received and then silent */
    UART(0x30u) = 0x301u;
    eq_wait_init(UART_INTERRUPT);
}

void eq_board_write(const void *data, uint32_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (uint32_t i = 0; i < bytes; i++) {
        while (UART_FLAGS & UART_TX_FULL) {
        }
        UART_DATA = p[i];
    }
}

int32_t eq_uart_take(void)
{
    return UART_FLAGS & UART_RX_EMPTY ? -1 : (int32_t)(UART_DATA & 0xFFu);
}

uint32_t eq_board_clock(void)
{
    return TIMER_RAW;
}
