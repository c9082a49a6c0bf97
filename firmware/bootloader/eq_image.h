/* Images: a slot begins with a header of EQ_IMAGE_HEADER bytes, then comes the program. */
#ifndef EQ_IMAGE_H
#define EQ_IMAGE_H

#include <stdint.h>

#ifndef EQ_APP_SLOTS
#define EQ_APP_SLOTS 1u
#endif

#define EQ_IMAGE_HEADER 256u

#if EQ_APP_SLOTS > 1
#define EQ_IMAGE_MAGIC 0x32495145u /* "EQI2" */
#else
#define EQ_IMAGE_MAGIC 0x31495145u /* "EQI1" */
#endif
#define EQ_IMAGE_DOWNGRADE 1u     /* flag: may replace a newer version */
#define EQ_IMAGE_UNSET 0xFFFFFFFFu /* a mark that was not made: erased */

typedef struct {
    uint32_t magic;
    uint32_t core;  /* EQ_APP_CORE of the board that it was made for */
    uint32_t bytes; /* of the program */
    uint32_t crc;   /* CRC-32 of core, bytes, with two slots of version, sequence and flags, and of the program */
#if EQ_APP_SLOTS > 1
    uint32_t version;  /* major, minor: 8 bits each; revision: 16 */
    uint32_t sequence; /* of two images that with the larger number, modulo 2^32, came later */
    uint32_t flags;
    uint32_t rest[9];
    uint32_t tried; /* marks, which the bootloader alone makes, each in 64 bytes of its own */
    uint32_t more[15];
    uint32_t confirmed;
#endif
} eq_image_t;

/* How a program asks the bootloader to confirm it: two words at the end of RAM, which a restart leaves as they are:
 * EQ_NOTE_CONFIRM, and the image's sequence number. */
#define EQ_NOTE_CONFIRM 0x464E4F43u /* "CONF" */
extern volatile uint32_t eq_boot_note[2];

#endif
