/* What an application needs from a board: four functions, which each bsp supplies. The unicorn runner intercepts
 * them by name, so they must stay functions of their own. */
#ifndef EQ_BOARD_H
#define EQ_BOARD_H

#include <stdint.h>

/* UART and timer ready. */
void eq_board_init(void);

/* Send bytes over the UART; returns when the last one is on its way. */
void eq_board_write(const void *data, uint32_t bytes);

/* Ticks since some moment, modulo 2^32; bsp.toml says how many instructions a tick is. */
uint32_t eq_board_clock(void);

/* End the program: 0 is success. Does not return. */
void eq_board_exit(int32_t code);

/* Start-up code calls it for an exception that nothing expects: sends a fault record and exits. */
void eq_board_fault(uint32_t pc, uint32_t cause, uint32_t stack);

#endif
