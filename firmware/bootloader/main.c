/* From reset: an application that is complete is started unless a programmer calls within EQ_BOOT_MS; without one, and
 * after a call, commands are served. A programmer that falls silent gives up the board: the application is started. */
#include "eq_board.h"
#include "eq_boot.h"

#define EQ_BOOT_MS 500u
#define PATIENCE 5 /* silent waits for a command, 2 s each */

/* Whether a programmer calls: the first command must be a SYNC. */
static int called(void)
{
    const uint32_t begin = eq_board_clock();
    while (eq_board_clock() - begin < EQ_BOOT_MS * EQ_TICKS_PER_MS) {
        unsigned char byte = 0;
        if (eq_board_read(&byte, 1, EQ_BOOT_MS * EQ_TICKS_PER_MS) && byte == EQ_BOOT_SYNC) {
            eq_boot_acknowledge();
            return 1;
        }
    }
    return 0;
}

int main(void)
{
    for (;;) {
        if (eq_boot_valid() && !called()) {
            eq_boot_start(EQ_APP_ORIGIN + EQ_IMAGE_HEADER);
        }
        for (int silent = 0; silent < PATIENCE;) {
            const int done = eq_boot_command();
            if (done == EQ_BOOT_GO) {
                eq_boot_start(EQ_APP_ORIGIN + EQ_IMAGE_HEADER);
            }
            silent = done == EQ_BOOT_SILENT ? silent + 1 : 0;
        }
    }
}
