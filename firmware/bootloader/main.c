/* From reset: the application that is to be started is started unless a programmer calls within EQ_BOOT_MS; without one, and
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

#if EQ_APP_SLOTS > 1

__attribute__((weak)) void eq_boot_watchdog(uint32_t milliseconds)
{
    (void)milliseconds;
}

/* What the program that ran before the restart has noted. It is taken once. */
static void take_note(void)
{
    if (eq_boot_note[0] == EQ_NOTE_CONFIRM) {
        eq_slot_confirm(eq_boot_note[1]);
    }
    eq_boot_note[0] = 0;
}

/* Without the mark a program that fails would be tried for ever: where it cannot be made, nothing is started. */
static void start(uint32_t slot)
{
    if (eq_slot_look(slot) != EQ_SLOT_CONFIRMED) {
        if (eq_slot_try(slot) != 0) {
            return;
        }
        eq_boot_watchdog(EQ_TRIAL_MS);
    }
    eq_boot_start(EQ_APP_ORIGIN + slot * EQ_SLOT_BYTES + EQ_IMAGE_HEADER);
}

#else

static void take_note(void)
{
}

static void start(uint32_t slot)
{
    eq_boot_start(EQ_APP_ORIGIN + slot * EQ_SLOT_BYTES + EQ_IMAGE_HEADER);
}

#endif

int main(void)
{
    take_note();
    for (;;) {
        const uint32_t slot = eq_slot_choose();
        if (slot != EQ_NO_SLOT && !called()) {
            start(slot);
        }
        for (int silent = 0; silent < PATIENCE;) {
            const int done = eq_boot_command();
            if (done == EQ_BOOT_GO) {
                start(eq_slot_choose());
            }
            silent = done == EQ_BOOT_SILENT ? silent + 1 : 0;
        }
    }
}
