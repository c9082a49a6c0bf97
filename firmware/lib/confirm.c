/* eq_board_confirm: a note for the bootloader, and a restart. */
#include "eq_board.h"
#include "eq_image.h"

#if EQ_APP_SLOTS > 1 && defined EQ_RESTART

extern const volatile eq_image_t eq_boot_image; /* the header before this program */

void eq_board_confirm(void)
{
    if (eq_boot_image.magic == EQ_IMAGE_MAGIC && eq_boot_image.confirmed != 0) {
        eq_boot_note[0] = EQ_NOTE_CONFIRM;
        eq_boot_note[1] = eq_boot_image.sequence;
        *(volatile uint32_t *)EQ_RESTART = EQ_RESTART_VALUE;
        for (;;) {
        }
    }
}

#else

void eq_board_confirm(void)
{
}

#endif
