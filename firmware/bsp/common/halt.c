/* The end of a program on a board without a host. */
#include "eq_board.h"

void eq_board_exit(int32_t code)
{
    (void)code;
    for (;;) {
        __asm__ volatile("wfi");
    }
}
