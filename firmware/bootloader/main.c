/* From reset: the application that is to be started is started unless a programmer calls within EQ_BOOT_MS; without one, and
 * after a call, commands are served. A programmer that falls silent, or says nothing but noise, gives up the board: the
 * application is started. */
#include "eq_board.h"
#include "eq_boot.h"

#define EQ_BOOT_MS 500u
#define PATIENCE 5 /* waits without a command, 2 s of silence or at most a second of noise each */

/* Whether a programmer calls: with a SYNC. */
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

/* The slot that may be started: where its trial cannot be noted, that of before. */
static uint32_t noted(uint32_t slot)
{
    return slot == EQ_NO_SLOT || eq_slot_try(slot) == 0 ? slot : eq_slot_kept();
}

static void watch(uint32_t slot)
{
    if (eq_slot_look(slot) != EQ_SLOT_CONFIRMED) {
        eq_boot_watchdog(EQ_TRIAL_MS);
    }
}

#else

static void take_note(void)
{
}

static uint32_t noted(uint32_t slot)
{
    return slot;
}

static void watch(uint32_t slot)
{
    (void)slot;
}

#endif

static void start(uint32_t slot)
{
    watch(slot);
    eq_boot_start(EQ_APP_ORIGIN + slot * EQ_SLOT_BYTES + EQ_IMAGE_HEADER);
}

static void serve(void)
{
    for (int lost = 0; lost < PATIENCE;) {
        const int done = eq_boot_command();
        if (done >= EQ_BOOT_GO) {
            start((uint32_t)(done - EQ_BOOT_GO));
        }
        lost = done == EQ_BOOT_DONE ? 0 : lost + 1;
    }
}

int main(void)
{
    take_note();
    for (int wanted = eq_slot_choose() == EQ_NO_SLOT || called();; wanted = 0) {
        const uint32_t slot = wanted ? EQ_NO_SLOT : noted(eq_slot_choose());
        if (slot != EQ_NO_SLOT) {
            start(slot);
        }
        serve();
    }
}
