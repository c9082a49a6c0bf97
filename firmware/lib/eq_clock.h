/* The clock of boards whose UART driver leaves it to another file. */
#ifndef EQ_CLOCK_H
#define EQ_CLOCK_H

/* eq_board_clock() runs from here on. */
void eq_clock_init(void);

#endif
