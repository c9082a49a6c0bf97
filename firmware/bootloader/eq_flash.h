/* The memory of the application's region. Offsets count from its beginning; callers stay within EQ_APP_BYTES. Functions
 * return 0 if all is well. */
#ifndef EQ_FLASH_H
#define EQ_FLASH_H

#include <stdint.h>

/* The region as it can be read. */
const unsigned char *eq_flash_data(void);

/* Erase the sector at `offset`, a multiple of EQ_APP_SECTOR, to 0xFF. */
int32_t eq_flash_erase(uint32_t offset);

/* Write erased bytes; `offset` and `bytes` are multiples of 4, `data` is aligned to 4. */
int32_t eq_flash_write(uint32_t offset, const void *data, uint32_t bytes);

#endif
