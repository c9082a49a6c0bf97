/* What lib/read.c needs from a board: its UART's driver, and sleep. Interrupts stay masked: one that is pending ends the
 * sleep and is never taken, so that there are no handlers, and nothing runs beside the model. */
#ifndef EQ_UART_H
#define EQ_UART_H

#include <stdint.h>

/* The next byte received, -1 if there is none. */
int32_t eq_uart_take(void);

/* Let this interrupt end the sleep; the board's eq_board_init calls it. */
void eq_wait_init(uint32_t interrupt);

/* Sleep until the interrupt is pending, some milliseconds at most. */
void eq_wait(void);

#endif
