/* eq_boot.h: images and the protocol. What arrives is not trusted: lengths, addresses and checksums are checked before
 * anything is written, and no address outside of the region is read or written. */
#include "eq_boot.h"
#include "eq_board.h"
#include "eq_crc.h"
#include "eq_flash.h"

#define ACK 0x79u
#define NACK 0x1Fu
#define VERSION 0x31u
#define BLOCK 4096u   /* most bytes of one WRITE_BLOCK */
#define NOISE 64u     /* bytes that are dropped between two looks at the clock */
#define PAGES 256u    /* most pages of one EXTENDED_ERASE */

#define COMMAND_TICKS (2000u * EQ_TICKS_PER_MS)
#define PIECE 64u /* bytes that come within PIECE_TICKS, however slow the line: a block of 4096 ends within 32 s */
#define PIECE_TICKS (500u * EQ_TICKS_PER_MS)
#define QUIET_TICKS (20u * EQ_TICKS_PER_MS)
#define NOISE_TICKS (1000u * EQ_TICKS_PER_MS) /* longest wait for quiet */
#define LEAVE_TICKS (2u * EQ_TICKS_PER_MS)    /* until the last acknowledgement has left the UART, from 9600 bits per second on */

enum {
    GET = 0x00, GET_VERSION = 0x01, GET_ID = 0x02, READ = 0x11, GO = 0x21, WRITE = 0x31, EXTENDED_ERASE = 0x44,
    DESCRIBE = 0xE0, WRITE_BLOCK = 0xE1, CHECK = 0xE2, SLOTS = 0xE3 /* our own */
};

static union {
    uint32_t align;
    unsigned char bytes[BLOCK];
} buffer;

static int take(void *to, uint32_t bytes)
{
    unsigned char *const p = (unsigned char *)to;
    uint32_t begin = eq_board_clock();
    for (uint32_t i = 0; i < bytes; i++) {
        begin = i % PIECE == 0 ? eq_board_clock() : begin;
        const uint32_t spent = eq_board_clock() - begin;
        if (spent >= PIECE_TICKS || eq_board_read(p + i, 1, PIECE_TICKS - spent) == 0) {
            return 0;
        }
    }
    return 1;
}

__attribute__((noinline)) void eq_boot_acknowledge(void) /* a fifth of Zig's code for RISC-V, where it is inlined */
{
    static const unsigned char ack = ACK;
    eq_board_write(&ack, 1);
}

/* NACK once the line is quiet, or noise does not end: what is left of a damaged frame is not taken for commands. */
static int refuse(void)
{
    static const unsigned char nack = NACK;
    const uint32_t begin = eq_board_clock();
    while (eq_board_read(buffer.bytes, NOISE, QUIET_TICKS) != 0 && eq_board_clock() - begin < NOISE_TICKS) {
    }
    eq_board_write(&nack, 1);
    return EQ_BOOT_REFUSED;
}

static int answer(uint32_t sent)
{
    eq_board_write(buffer.bytes, sent);
    eq_boot_acknowledge();
    return EQ_BOOT_DONE;
}

static unsigned char folded(const unsigned char *data, uint32_t bytes, unsigned char sum)
{
    for (uint32_t i = 0; i < bytes; i++) {
        sum = (unsigned char)(sum ^ data[i]);
    }
    return sum;
}

/* `bytes` bytes and the byte that makes their sum modulo 2 zero; not more than BLOCK - 1. */
static int take_sealed(unsigned char *to, uint32_t bytes)
{
    return take(to, bytes + 1u) && folded(to, bytes + 1u, 0) == 0;
}

static uint32_t big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void put(unsigned char *p, uint32_t value)
{
    p[0] = (unsigned char)(value >> 24);
    p[1] = (unsigned char)(value >> 16);
    p[2] = (unsigned char)(value >> 8);
    p[3] = (unsigned char)value;
}

/* Whether `bytes` bytes at `address` lie in the region. */
static int inside(uint32_t address, uint32_t bytes)
{
    const uint32_t offset = address - EQ_APP_ORIGIN;
    return offset < EQ_APP_BYTES && bytes <= EQ_APP_BYTES - offset;
}

#if EQ_APP_SLOTS > 1

#define MARKS 64u /* bytes of a header up to the marks, which the bootloader alone makes */

/* Whether these bytes, which lie in the region, may change. */
static int writable(uint32_t address, uint32_t bytes)
{
    static uint32_t known, kept;
    if (!known) { /* a confirmed image stays what it is until the next reset: nothing can write it */
        kept = eq_slot_kept();
        known = kept != EQ_NO_SLOT;
    }
    const uint32_t from = address - EQ_APP_ORIGIN, last = (from + bytes - 1u) / EQ_SLOT_BYTES;
    return kept == EQ_NO_SLOT || (from / EQ_SLOT_BYTES != kept && last != kept);
}

/* Whether what is in the buffer leaves the marks of headers alone. */
static int leaves_marks(uint32_t address, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        const uint32_t at = (address - EQ_APP_ORIGIN + i) % EQ_SLOT_BYTES;
        if (at >= MARKS && at < EQ_IMAGE_HEADER && buffer.bytes[i] != 0xFF) {
            return 0;
        }
    }
    return 1;
}

/* As GET: bytes of a slot; the slot that is kept; of each slot its state, version and sequence number. */
static int slots(void)
{
    unsigned char *p = buffer.bytes;
    *p++ = 4u + 1u + 9u * EQ_APP_SLOTS - 1u;
    put(p, EQ_SLOT_BYTES);
    p[4] = (unsigned char)eq_slot_kept();
    p += 5;
    for (uint32_t slot = 0; slot < EQ_APP_SLOTS; slot++, p += 9) {
        p[0] = (unsigned char)eq_slot_look(slot);
        put(p + 1, eq_slot_image(slot)->version);
        put(p + 5, eq_slot_image(slot)->sequence);
    }
    return answer(1u + 4u + 1u + 9u * EQ_APP_SLOTS);
}

#else

static int writable(uint32_t address, uint32_t bytes)
{
    (void)address;
    (void)bytes;
    return 1;
}

static int leaves_marks(uint32_t address, uint32_t bytes)
{
    (void)address;
    (void)bytes;
    return 1;
}

#endif

static int get(void)
{
    static const unsigned char commands[] = {
        VERSION, GET, GET_VERSION, GET_ID, READ, GO, WRITE, EXTENDED_ERASE, DESCRIBE, WRITE_BLOCK, CHECK,
#if EQ_APP_SLOTS > 1
        SLOTS,
#endif
    };
    buffer.bytes[0] = (unsigned char)(sizeof commands - 1u);
    for (uint32_t i = 0; i < sizeof commands; i++) {
        buffer.bytes[1u + i] = commands[i];
    }
    return answer(1u + (uint32_t)sizeof commands);
}

static int get_version(void)
{
    buffer.bytes[0] = VERSION;
    buffer.bytes[1] = 0;
    buffer.bytes[2] = 0;
    return answer(3);
}

static int get_id(void)
{
    buffer.bytes[0] = 1;
    buffer.bytes[1] = (unsigned char)(EQ_APP_CORE >> 8);
    buffer.bytes[2] = (unsigned char)EQ_APP_CORE;
    return answer(3);
}

/* As GET: number of bytes less one, then words: the region's origin, its bytes, those of a sector, of the longest block. */
static int describe(void)
{
    buffer.bytes[0] = 15;
    put(buffer.bytes + 1, EQ_APP_ORIGIN);
    put(buffer.bytes + 5, EQ_APP_BYTES);
    put(buffer.bytes + 9, EQ_APP_SECTOR);
    put(buffer.bytes + 13, BLOCK);
    return answer(17);
}

static int read_memory(void)
{
    unsigned char n[2];
    if (!take_sealed(buffer.bytes, 4)) {
        return EQ_BOOT_REFUSED;
    }
    const uint32_t address = big(buffer.bytes);
    if (!inside(address, 1)) {
        return EQ_BOOT_REFUSED;
    }
    eq_boot_acknowledge();
    if (!take(n, 2) || (n[0] ^ n[1]) != 0xFF || !inside(address, n[0] + 1u)) {
        return EQ_BOOT_REFUSED;
    }
    eq_boot_acknowledge();
    eq_board_write(eq_flash_data() + (address - EQ_APP_ORIGIN), n[0] + 1u);
    return EQ_BOOT_DONE;
}

static int store(uint32_t address, uint32_t bytes)
{
    if (!writable(address, bytes) || !leaves_marks(address, bytes) || eq_flash_write(address - EQ_APP_ORIGIN, buffer.bytes, bytes) != 0) {
        return EQ_BOOT_REFUSED;
    }
    eq_boot_acknowledge();
    return EQ_BOOT_DONE;
}

static int write_memory(void)
{
    unsigned char n, sum;
    if (!take_sealed(buffer.bytes, 4)) {
        return EQ_BOOT_REFUSED;
    }
    const uint32_t address = big(buffer.bytes);
    if (!inside(address, 4) || (address & 3u) != 0) {
        return EQ_BOOT_REFUSED;
    }
    eq_boot_acknowledge();
    if (!take(&n, 1) || !take(buffer.bytes, n + 1u) || !take(&sum, 1) || folded(buffer.bytes, n + 1u, n) != sum) {
        return EQ_BOOT_REFUSED;
    }
    if ((n & 3u) != 3u || !inside(address, n + 1u)) {
        return EQ_BOOT_REFUSED;
    }
    return store(address, n + 1u);
}

/* Address, bytes (2), checksum; ACK; the bytes and their CRC-32; ACK. */
static int write_block(void)
{
    unsigned char crc[4];
    if (!take_sealed(buffer.bytes, 6)) {
        return EQ_BOOT_REFUSED;
    }
    const uint32_t address = big(buffer.bytes), bytes = (uint32_t)buffer.bytes[4] << 8 | (uint32_t)buffer.bytes[5];
    if (bytes == 0 || bytes > BLOCK || ((address | bytes) & 3u) != 0 || !inside(address, bytes)) {
        return EQ_BOOT_REFUSED;
    }
    eq_boot_acknowledge();
    if (!take(buffer.bytes, bytes) || !take(crc, 4) || eq_crc32(0, buffer.bytes, bytes) != big(crc)) {
        return EQ_BOOT_REFUSED;
    }
    return store(address, bytes);
}

/* Address, bytes (4), checksum; ACK; the CRC-32 of the memory there; ACK. */
static int check(void)
{
    if (!take_sealed(buffer.bytes, 8)) {
        return EQ_BOOT_REFUSED;
    }
    const uint32_t address = big(buffer.bytes), bytes = big(buffer.bytes + 4);
    if (!inside(address, bytes)) {
        return EQ_BOOT_REFUSED;
    }
    eq_boot_acknowledge();
    put(buffer.bytes, eq_crc32(0, eq_flash_data() + (address - EQ_APP_ORIGIN), bytes));
    return answer(4);
}

/* All sectors, the one with the header first: from then on there is no image that might be started. */
static int erase_all(void)
{
    if (!writable(EQ_APP_ORIGIN, EQ_APP_BYTES)) {
        return EQ_BOOT_REFUSED;
    }
    for (uint32_t offset = 0; offset < EQ_APP_BYTES; offset += EQ_APP_SECTOR) {
        if (eq_flash_erase(offset) != 0) {
            return EQ_BOOT_REFUSED;
        }
    }
    eq_boot_acknowledge();
    return EQ_BOOT_DONE;
}

static int erase_pages(uint32_t pages)
{
    for (uint32_t i = 0; i < pages; i++) {
        const uint32_t page = (uint32_t)buffer.bytes[2u + 2u * i] << 8 | (uint32_t)buffer.bytes[3u + 2u * i];
        if (page >= EQ_APP_BYTES / EQ_APP_SECTOR || !writable(EQ_APP_ORIGIN + page * EQ_APP_SECTOR, EQ_APP_SECTOR)) {
            return EQ_BOOT_REFUSED;
        }
    }
    for (uint32_t i = 0; i < pages; i++) {
        const uint32_t page = (uint32_t)buffer.bytes[2u + 2u * i] << 8 | (uint32_t)buffer.bytes[3u + 2u * i];
        if (eq_flash_erase(page * EQ_APP_SECTOR) != 0) {
            return EQ_BOOT_REFUSED;
        }
    }
    eq_boot_acknowledge();
    return EQ_BOOT_DONE;
}

static int extended_erase(void)
{
    if (!take(buffer.bytes, 2)) {
        return EQ_BOOT_REFUSED;
    }
    const uint32_t n = (uint32_t)buffer.bytes[0] << 8 | (uint32_t)buffer.bytes[1];
    const uint32_t pages = n == 0xFFFFu ? 0 : n + 1u;
    if (pages > PAGES || !take(buffer.bytes + 2, 2u * pages + 1u) || folded(buffer.bytes, 2u * pages + 3u, 0) != 0) {
        return EQ_BOOT_REFUSED;
    }
    return pages == 0 ? erase_all() : erase_pages(pages);
}

/* The acknowledgement says that the program is started: it comes when nothing can keep it from that any more. */
static int go(void)
{
    if (!take_sealed(buffer.bytes, 4) || (big(buffer.bytes) - EQ_APP_ORIGIN) % EQ_SLOT_BYTES != 0 || !inside(big(buffer.bytes), 1)) {
        return EQ_BOOT_REFUSED;
    }
    const uint32_t slot = eq_slot_choose();
    if (slot == EQ_NO_SLOT || eq_slot_try(slot) != 0) {
        return EQ_BOOT_REFUSED;
    }
    eq_boot_acknowledge();
    for (const uint32_t begin = eq_board_clock(); eq_board_clock() - begin < LEAVE_TICKS;) {
    }
    return EQ_BOOT_GO + (int)slot;
}

int eq_boot_command(void)
{
    static const struct {
        unsigned char code;
        int (*execute)(void);
    } commands[] = {
        { GET, get }, { GET_VERSION, get_version }, { GET_ID, get_id }, { READ, read_memory }, { GO, go }, { WRITE, write_memory },
        { EXTENDED_ERASE, extended_erase }, { DESCRIBE, describe }, { WRITE_BLOCK, write_block }, { CHECK, check },
#if EQ_APP_SLOTS > 1
        { SLOTS, slots },
#endif
    };
    unsigned char code[2];
    if (eq_board_read(code, 1, COMMAND_TICKS) == 0) {
        return EQ_BOOT_SILENT;
    }
    if (code[0] == EQ_BOOT_SYNC) {
        eq_boot_acknowledge();
        return EQ_BOOT_DONE;
    }
    if (!take(code + 1, 1) || (code[0] ^ code[1]) != 0xFF) {
        return refuse();
    }
    for (uint32_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i].code == code[0]) {
            eq_boot_acknowledge();
            const int done = commands[i].execute();
            return done == EQ_BOOT_REFUSED ? refuse() : done;
        }
    }
    return refuse();
}
