/* Parallel NOR flash with Intel's command set (CFI 1): two chips of 16 bits beside each other, as on QEMU's virt. The
 * bootloader must not run from it. */
#include "eq_flash.h"
#include "string.h"

#define BOTH(command) ((uint32_t)(command) << 16 | (uint32_t)(command))
#define READ_ARRAY BOTH(0xFFu)
#define CLEAR_STATUS BOTH(0x50u)
#define ERASE BOTH(0x20u)
#define BUFFERED_WRITE BOTH(0xE8u)
#define CONFIRM BOTH(0xD0u)
#define READY BOTH(0x80u)
#define FAILED BOTH(0x3Au) /* erase, program, voltage or lock error */
#define BUFFER 1024u       /* bytes of the chips' write buffers that are used */
#define TRIES 100000000u

static volatile uint32_t *word_at(uint32_t offset)
{
    return (volatile uint32_t *)(EQ_APP_ORIGIN + offset);
}

const unsigned char *eq_flash_data(void)
{
    return (const unsigned char *)EQ_APP_ORIGIN;
}

static int32_t wait_until_ready(volatile uint32_t *at)
{
    for (uint32_t i = 0; i < TRIES; i++) {
        const uint32_t status = *at;
        if ((status & READY) == READY) {
            return (status & FAILED) != 0;
        }
    }
    return 1;
}

int32_t eq_flash_erase(uint32_t offset)
{
    volatile uint32_t *const at = word_at(offset);
    *at = CLEAR_STATUS;
    *at = ERASE;
    *at = CONFIRM;
    const int32_t failed = wait_until_ready(at);
    *at = READ_ARRAY;
    return failed;
}

/* Not across a boundary of BUFFER bytes. */
static int32_t write_buffer(uint32_t offset, const unsigned char *from, uint32_t words)
{
    volatile uint32_t *const at = word_at(offset);
    *at = CLEAR_STATUS;
    *at = BUFFERED_WRITE;
    int32_t failed = wait_until_ready(at);
    if (!failed) {
        *at = BOTH(words - 1u);
        for (uint32_t i = 0; i < words; i++) {
            uint32_t word;
            memcpy(&word, from + 4u * i, 4);
            at[i] = word;
        }
        *at = CONFIRM;
        failed = wait_until_ready(at);
    }
    *at = READ_ARRAY;
    return failed;
}

int32_t eq_flash_write(uint32_t offset, const void *data, uint32_t bytes)
{
    const unsigned char *const from = (const unsigned char *)data;
    for (uint32_t done = 0; done < bytes;) {
        const uint32_t room = BUFFER - (offset + done) % BUFFER, rest = bytes - done;
        const uint32_t now = rest < room ? rest : room;
        if (write_buffer(offset + done, from + done, now / 4u) != 0) {
            return 1;
        }
        done += now;
    }
    return memcmp(eq_flash_data() + offset, from, bytes);
}
