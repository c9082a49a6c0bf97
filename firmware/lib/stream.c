/* eq_stream.h, and the fault record, which is a stream of its own. */
#include "eq_board.h"
#include "eq_stream.h"

static uint32_t crc;

static const uint32_t crc_of_nibble[16] = {
    0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
    0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
};

static void send(const unsigned char *data, uint32_t bytes)
{
    uint32_t c = ~crc;
    for (uint32_t i = 0; i < bytes; i++) {
        c ^= data[i];
        c = (c >> 4) ^ crc_of_nibble[c & 15u];
        c = (c >> 4) ^ crc_of_nibble[c & 15u];
    }
    crc = ~c;
    eq_board_write(data, bytes);
}

void eq_stream_words(const uint32_t *words, uint32_t count)
{
    send((const unsigned char *)words, count * 4u);
}

void eq_stream_block(const void *data, uint32_t bytes)
{
    static const unsigned char zeros[4];
    send((const unsigned char *)data, bytes);
    send(zeros, (0u - bytes) & 3u);
}

void eq_stream_end(void)
{
    const uint32_t end[2] = { EQ_TAG('E', 'Q', 'E', '1'), crc };
    eq_board_write(end, sizeof end);
}

void eq_board_fault(uint32_t pc, uint32_t cause, uint32_t stack)
{
    const uint32_t record[4] = { EQ_TAG('E', 'Q', 'F', '1'), pc, cause, stack };
    eq_board_write(record, sizeof record);
    eq_board_exit(4);
}
