/* eq_stream.h, and the fault record, which is a stream of its own. */
#include "eq_board.h"
#include "eq_crc.h"
#include "eq_stream.h"

static uint32_t crc;

static void send(const unsigned char *data, uint32_t bytes)
{
    crc = eq_crc32(crc, data, bytes);
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
