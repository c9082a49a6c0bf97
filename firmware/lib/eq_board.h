/* What an application needs from a board. Each bsp supplies it, except eq_board_read (lib/read.c), eq_board_fault
 * (lib/stream.c) and eq_board_confirm (lib/confirm.c). The unicorn runner intercepts init, write, clock and exit by name, so they must stay functions of their own. */
#ifndef EQ_BOARD_H
#define EQ_BOARD_H

#include <stdint.h>

/* UART and timer ready. */
void eq_board_init(void);

/* Send bytes over the UART; returns when the last one is on its way. */
void eq_board_write(const void *data, uint32_t bytes);

/* Receive `bytes` bytes over the UART. Returns how many have come: all, or fewer when none came for `ticks` of
 * eq_board_clock(); with 0 ticks, those that are there. EQ_TICKS_PER_MS ticks are a millisecond. The core sleeps meanwhile. */
uint32_t eq_board_read(void *data, uint32_t bytes, uint32_t ticks);

/* Ticks since some moment, modulo 2^32; bsp.toml says how many instructions a tick is. */
uint32_t eq_board_clock(void);

/* End the program: 0 is success. Does not return. */
void eq_board_exit(int32_t code);

/* This program works. A bootloader with two slots keeps it from now on instead of the one of before: where it has not yet, the
 * board is restarted for that. Does nothing elsewhere (lib/confirm.c). */
void eq_board_confirm(void);

/* Start-up code calls it for an exception that nothing expects: sends a fault record and exits. */
void eq_board_fault(uint32_t pc, uint32_t cause, uint32_t stack);

#endif
