/* RAM in place of flash: writing clears bits, as it does there. */
#include "eq_flash.h"
#include "string.h"

static unsigned char *region(void)
{
    return (unsigned char *)EQ_APP_ORIGIN;
}

const unsigned char *eq_flash_data(void)
{
    return region();
}

int32_t eq_flash_erase(uint32_t offset)
{
    memset(region() + offset, 0xFF, EQ_APP_SECTOR);
    return 0;
}

int32_t eq_flash_write(uint32_t offset, const void *data, uint32_t bytes)
{
    const unsigned char *const from = (const unsigned char *)data;
    unsigned char *const to = region() + offset;
    for (uint32_t i = 0; i < bytes; i++) {
        to[i] = (unsigned char)(to[i] & from[i]);
    }
    return memcmp(to, from, bytes);
}
