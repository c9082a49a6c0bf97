/* The watchdog of Arm's Cortex-M system design kit at EQ_WATCHDOG, which counts the core's clock: it resets the board when it
 * reaches zero twice. */
#include "eq_boot.h"

#define LOAD (*(volatile uint32_t *)(EQ_WATCHDOG + 0x0u))
#define CONTROL (*(volatile uint32_t *)(EQ_WATCHDOG + 0x8u))
#define LOCK (*(volatile uint32_t *)(EQ_WATCHDOG + 0xC00u))
#define INTERRUPT_AND_RESET 3u

void eq_boot_watchdog(uint32_t milliseconds)
{
    LOCK = 0x1ACCE551u;
    LOAD = milliseconds / 2u * EQ_TICKS_PER_MS;
    CONTROL = INTERRUPT_AND_RESET;
    LOCK = 0;
}
