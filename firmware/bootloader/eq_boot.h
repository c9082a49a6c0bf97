/* The bootloader: the part of ST's AN3155 that writes, reads and starts an application, and commands of its own for larger
 * blocks, quicker checks and slots (docs/boards.md). Everything that it does to memory goes through eq_flash.h.
 *
 * Settings, from the board's bsp.toml: EQ_APP_ORIGIN, EQ_APP_BYTES, EQ_APP_SECTOR: the application's region;
 * EQ_APP_CORE: what runs there; EQ_APP_SLOTS: 1, or 2 where an update leaves the program of before in place;
 * EQ_RAM_ORIGIN, EQ_RAM_BYTES: where an application's stack lies; EQ_TRIAL_MS: what the watchdog gives a new program until it confirms itself. */
#ifndef EQ_BOOT_H
#define EQ_BOOT_H

#include <stdint.h>

#include "eq_image.h"

#define EQ_SLOT_BYTES (EQ_APP_BYTES / EQ_APP_SLOTS)
#define EQ_NO_SLOT 0xFFu
#define EQ_BOOT_SYNC 0x7Fu

enum { EQ_BOOT_SILENT, EQ_BOOT_DONE, EQ_BOOT_REFUSED, EQ_BOOT_GO };

/* What a slot holds: no image, a damaged one or one that cannot be started; one that was never started; one that was started and has not confirmed
 * itself; one that has. With one slot an image that is complete counts as confirmed. */
typedef enum { EQ_SLOT_EMPTY, EQ_SLOT_NEW, EQ_SLOT_TRIED, EQ_SLOT_CONFIRMED } eq_slot_state;

/* The image's header in a slot, whatever it says. */
const eq_image_t *eq_slot_image(uint32_t slot);

/* Computes the checksum of the whole image, and looks at how it begins. */
eq_slot_state eq_slot_look(uint32_t slot);

/* The slot whose image is to be started, EQ_NO_SLOT if there is none. */
uint32_t eq_slot_choose(void);

/* The slot that nothing may write: the newest confirmed image. EQ_NO_SLOT if none is, and where there is one slot. */
uint32_t eq_slot_kept(void);

/* Note that the image of a slot is about to be started, where it has not confirmed itself. Returns 0 if it may be: without the
 * mark a program that fails would be tried for ever. */
int32_t eq_slot_try(uint32_t slot);

/* Note that the image that was tried under this sequence number has confirmed itself. */
void eq_slot_confirm(uint32_t sequence);

/* Wait for a command and execute it. EQ_BOOT_SILENT: none came; EQ_BOOT_REFUSED: what came was none, or was not to be done;
 * EQ_BOOT_GO + slot: its image is to be started: it is valid, its trial is noted, and the programmer knows. */
int eq_boot_command(void);

/* Say that what was asked is done. */
void eq_boot_acknowledge(void);

/* Whether a program whose first bytes are at `program` can run from `address` on: its stack pointer lies in RAM and its first
 * instruction in itself. What fails here would hang the core before a programmer could be served. */
int eq_boot_startable(const void *program, uint32_t address, uint32_t bytes);

/* Leave for the program whose vectors or first instruction lie at `address`. Does not return. */
void eq_boot_start(uint32_t address);

/* Let the watchdog reset the board after this many milliseconds. A board without a watchdog leaves it out. */
void eq_boot_watchdog(uint32_t milliseconds);

#endif
