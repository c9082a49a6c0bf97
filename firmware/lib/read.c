/* Reception over any board's UART. */
#include "eq_board.h"
#include "eq_uart.h"

#define LOOKS 100u /* before it sleeps: bytes that follow each other cost no waking up */

uint32_t eq_board_read(void *data, uint32_t bytes, uint32_t ticks)
{
    unsigned char *p = (unsigned char *)data;
    uint32_t last = eq_board_clock(), looks = 0;
    for (uint32_t i = 0; i < bytes;) {
        const int32_t byte = eq_uart_take();
        if (byte >= 0) {
            p[i++] = (unsigned char)byte;
            last = eq_board_clock();
            looks = 0;
        } else if (eq_board_clock() - last >= ticks) {
            return i;
        } else if (looks < LOOKS) {
            looks++;
        } else {
            eq_wait();
        }
    }
    return bytes;
}
