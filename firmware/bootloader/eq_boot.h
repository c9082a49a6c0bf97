/* The bootloader: the part of ST's AN3155 that writes, reads and starts an application, and three commands of its own
 * for larger blocks and quicker checks (docs/boards.md). Everything that it does to memory goes through eq_flash.h.
 *
 * Settings, from the board's bsp.toml: EQ_APP_ORIGIN, EQ_APP_BYTES, EQ_APP_SECTOR: the application's region;
 * EQ_APP_CORE: what runs there. */
#ifndef EQ_BOOT_H
#define EQ_BOOT_H

#include <stdint.h>

/* The region begins with the image's header; the program begins EQ_IMAGE_HEADER bytes later. */
#define EQ_IMAGE_HEADER 256u
#define EQ_IMAGE_MAGIC 0x31495145u /* "EQI1" */

typedef struct {
    uint32_t magic;
    uint32_t core;  /* EQ_APP_CORE of the board that it was made for */
    uint32_t bytes; /* of the program */
    uint32_t crc;   /* CRC-32 of core, bytes and program */
} eq_image_t;

#define EQ_BOOT_SYNC 0x7Fu

enum { EQ_BOOT_SILENT, EQ_BOOT_DONE, EQ_BOOT_GO };

/* Whether the region holds a complete image for this core. */
int eq_boot_valid(void);

/* Wait for a command and execute it. EQ_BOOT_SILENT: none came; EQ_BOOT_GO: the application, which is valid, is to be started. */
int eq_boot_command(void);

/* Say that what was asked is done. */
void eq_boot_acknowledge(void);

/* Leave for the program whose vectors or first instruction lie at `address`. Does not return. */
void eq_boot_start(uint32_t address);

#endif
