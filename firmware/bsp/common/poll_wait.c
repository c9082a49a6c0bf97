/* No sleep: for boards whose interrupt controller has no driver here. */
#include "eq_uart.h"

void eq_wait_init(uint32_t interrupt)
{
    (void)interrupt;
}

void eq_wait(void)
{
}
