/* eq_frame.h. A frame is encoded block by block on its way out: no buffer holds it whole. */
#include "eq_frame.h"

#include "eq_board.h"
#include "eq_bytes.h"
#include "eq_crc.h"

#define LONGEST 254u /* bytes of a COBS block without its length */

static void take(eq_frame_reader *reader, unsigned char byte)
{
    if (reader->length < reader->capacity) {
        reader->data[reader->length] = byte;
        reader->length++;
    } else {
        reader->damaged = 1u;
    }
}

static eq_frame_state finish(eq_frame_reader *reader)
{
    const uint32_t bytes = reader->length, empty = bytes == 0u && reader->zero == 0u && reader->left == 0u;
    const uint32_t damaged = reader->damaged != 0u || reader->left != 0u || bytes < EQ_FRAME_CRC;
    reader->ended = 1u;
    if (empty && reader->damaged == 0u) {
        return EQ_FRAME_MORE;
    }
    if (damaged || eq_crc32(0u, reader->data, bytes - EQ_FRAME_CRC) != eq_word_at(reader->data + bytes - EQ_FRAME_CRC)) {
        return EQ_FRAME_DAMAGED;
    }
    reader->length = bytes - EQ_FRAME_CRC;
    return EQ_FRAME_WHOLE;
}

eq_frame_state eq_frame_push(eq_frame_reader *reader, unsigned char byte)
{
    if (reader->ended != 0u) {
        reader->length = reader->left = reader->zero = reader->ended = reader->damaged = 0u;
    }
    if (byte == 0u) {
        return finish(reader);
    }
    if (reader->left != 0u) {
        take(reader, byte);
        reader->left--;
        return EQ_FRAME_MORE;
    }
    if (reader->zero != 0u) {
        take(reader, 0u);
    }
    reader->left = byte - 1u;
    reader->zero = byte <= LONGEST;
    return EQ_FRAME_MORE;
}

static unsigned char block[1u + LONGEST];
static uint32_t count;
static uint32_t crc;

static void flush(void)
{
    block[0] = (unsigned char)(count + 1u);
    eq_board_write(block, count + 1u);
    count = 0u;
}

static void encode(const unsigned char *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (data[i] != 0u) {
            count++;
            block[count] = data[i];
        }
        if (data[i] == 0u || count == LONGEST) {
            flush();
        }
    }
}

void eq_frame_begin(void)
{
    count = 0u;
    crc = 0u;
}

void eq_frame_part(const void *data, uint32_t bytes)
{
    crc = eq_crc32(crc, data, bytes);
    encode((const unsigned char *)data, bytes);
}

void eq_frame_end(void)
{
    static const unsigned char delimiter = 0u;
    const unsigned char sum[EQ_FRAME_CRC] = {
        (unsigned char)crc, (unsigned char)(crc >> 8), (unsigned char)(crc >> 16), (unsigned char)(crc >> 24),
    };
    encode(sum, EQ_FRAME_CRC);
    flush();
    eq_board_write(&delimiter, 1u);
}
