/* firmware/bootloader/boot.c on this computer: a flash that wears its limits on its sleeve, a line that is an array, and what
 * must never happen ends the program. Built with sanitizers by tests/boards/test_bootloader.py.
 *
 *   boot_host fuzz SEED FRAMES    mutated frames, in one process
 *   boot_host cut                 power fails at every write to the flash, then the board is flashed again; compiled for
 *                                 two slots, a program is started after every failure */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eq_board.h"
#include "eq_boot.h"
#include "eq_crc.h"
#include "eq_flash.h"

#define LINE 65536u

static unsigned char *flash;             /* exactly the region: the sanitizer guards both ends */
static unsigned char line[LINE];         /* what the bootloader receives */
static uint32_t line_bytes, line_at;
static unsigned char said[LINE];         /* and what it answers */
static uint32_t said_bytes;
static long operations, cut_at = -1;     /* of the flash: words written and sectors erased */
static jmp_buf power_failed;
static uint32_t ticks;

static void must(int what, const char *name)
{
    if (!what) {
        fprintf(stderr, "violated: %s\n", name);
        abort();
    }
}

/* The line: silence when the array is used up. */
uint32_t eq_board_read(void *data, uint32_t bytes, uint32_t patience)
{
    const uint32_t rest = line_bytes - line_at, now = bytes < rest ? bytes : rest;
    memcpy(data, line + line_at, now);
    line_at += now;
    ticks += now < bytes ? patience : now;
    return now;
}

void eq_board_write(const void *data, uint32_t bytes)
{
    must(bytes <= 257, "no answer is longer than 257 bytes");
    if (bytes <= LINE - said_bytes) {
        memcpy(said + said_bytes, data, bytes);
        said_bytes += bytes;
    }
}

uint32_t eq_board_clock(void)
{
    return ++ticks;
}

void eq_boot_start(uint32_t address)
{
    (void)address;
}

/* For this computer's programs: the first byte is not zero. */
int eq_boot_startable(const void *program, uint32_t address, uint32_t bytes)
{
    (void)address;
    return bytes > 0 && *(const unsigned char *)program != 0;
}

volatile uint32_t eq_boot_note[2];

static void power(void)
{
    if (operations++ == cut_at) {
        longjmp(power_failed, 1);
    }
}

const unsigned char *eq_flash_data(void)
{
    return flash;
}

int32_t eq_flash_erase(uint32_t offset)
{
    must(offset % EQ_APP_SECTOR == 0 && offset < EQ_APP_BYTES, "a sector of the region is erased");
    for (uint32_t i = 0; i < EQ_APP_SECTOR; i += 64) { /* cut short, a sector is left half erased */
        power();
        memset(flash + offset + i, 0xFF, 64);
    }
    return 0;
}

int32_t eq_flash_write(uint32_t offset, const void *data, uint32_t bytes)
{
    const unsigned char *const from = (const unsigned char *)data;
    must(offset % 4 == 0 && bytes % 4 == 0 && (uintptr_t)data % 4 == 0, "whole words are written");
    must(offset < EQ_APP_BYTES && bytes <= EQ_APP_BYTES - offset, "only the region is written");
    for (uint32_t i = 0; i < bytes; i += 4) {
        flash[offset + i] &= from[i]; /* cut short, a word is left half written */
        power();
        for (uint32_t k = 0; k < 4; k++) {
            flash[offset + i + k] &= from[i + k];
        }
    }
    return memcmp(flash + offset, from, bytes);
}

/* --- what a programmer sends --- */

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % sides;
}

static void send(const unsigned char *data, uint32_t bytes)
{
    must(bytes <= LINE - line_bytes, "the line is long enough");
    memcpy(line + line_bytes, data, bytes);
    line_bytes += bytes;
}

static void send_command(unsigned char code)
{
    const unsigned char frame[2] = { code, (unsigned char)~code };
    send(frame, 2);
}

static void send_big(uint32_t value, uint32_t bytes)
{
    for (uint32_t i = bytes; i-- > 0;) {
        const unsigned char byte = (unsigned char)(value >> 8 * i);
        send(&byte, 1);
    }
}

/* The modulo-2 sum of what was sent since `from`. */
static void send_sum(uint32_t from)
{
    unsigned char sum = 0;
    for (uint32_t i = from; i < line_bytes; i++) {
        sum ^= line[i];
    }
    send(&sum, 1);
}

static void send_block(unsigned char code, uint32_t address, const unsigned char *data, uint32_t bytes)
{
    send_command(code);
    const uint32_t from = line_bytes;
    send_big(address, 4);
    if (code == 0xE1) {
        send_big(bytes, 2);
        send_sum(from);
        send(data, bytes);
        send_big(eq_crc32(0, data, bytes), 4);
    } else {
        send_sum(from);
        const uint32_t content = line_bytes;
        send_big(bytes - 1, 1);
        send(data, bytes);
        send_sum(content);
    }
}

static void send_addressed(unsigned char code, uint32_t address, uint32_t more, uint32_t more_bytes)
{
    send_command(code);
    const uint32_t from = line_bytes;
    send_big(address, 4);
    send_big(more, more_bytes);
    send_sum(from);
}

static void send_erase(uint32_t first, uint32_t pages)
{
    send_command(0x44);
    const uint32_t from = line_bytes;
    send_big(pages == 0 ? 0xFFFF : pages - 1, 2);
    for (uint32_t i = 0; i < pages; i++) {
        send_big(first + i, 2);
    }
    send_sum(from);
}

static uint32_t started_slot; /* by GO */

/* Commands until the line is silent. */
static int serve(void)
{
    int done;
    do {
        done = eq_boot_command();
        must(line_at <= line_bytes, "the line ends");
    } while (done == EQ_BOOT_DONE || done == EQ_BOOT_REFUSED);
    if (done >= EQ_BOOT_GO) {
        started_slot = (uint32_t)(done - EQ_BOOT_GO);
        must(started_slot < EQ_APP_SLOTS && eq_slot_look(started_slot) >= EQ_SLOT_TRIED, "what is started is whole, can run and bears the mark of a trial");
        must(*((const unsigned char *)eq_slot_image(started_slot) + EQ_IMAGE_HEADER) != 0, "what is started can run");
        must(said[said_bytes - 1] == 0x79, "the programmer knows that it is started");
    }
    return done > EQ_BOOT_GO ? EQ_BOOT_GO : done;
}

/* --- fuzzing --- */

/* An address near the region's limits, in it, or anywhere. */
static uint32_t some_address(void)
{
    switch (dice(5)) {
    case 0: return EQ_APP_ORIGIN + dice(EQ_APP_BYTES);
    case 1: return EQ_APP_ORIGIN + 4 * dice(EQ_APP_BYTES / 4);
    case 2: return EQ_APP_ORIGIN + EQ_APP_BYTES - dice(600);
    case 3: return EQ_APP_ORIGIN - dice(600);
    default: return dice(0xFFFFFFFFu);
    }
}

static void send_image(unsigned char fill, uint32_t bytes);
static uint32_t kept_sum(void);

static void some_frame(void)
{
    static unsigned char data[4096];
    if (dice(500) == 0) {
        send_image((unsigned char)dice(256), 4 * (1 + dice(700)));
        return;
    }
    for (uint32_t i = 0; i < 64; i++) {
        data[dice(sizeof data)] = (unsigned char)dice(256);
    }
    switch (dice(10)) {
    case 0: send_block(0x31, some_address(), data, 1 + dice(256)); break;
    case 1: send_block(0x31, some_address() & ~3u, data, 4 * (1 + dice(64))); break;
    case 2: send_block(0xE1, some_address() & ~3u, data, dice(8) ? 4 * (1 + dice(64)) : 4 * dice(1025)); break;
    case 3: send_addressed(0x11, some_address(), 0, 0); send_command((unsigned char)dice(256)); break;
    case 4: send_addressed(0xE2, some_address(), dice(2) ? dice(9000) : dice(0xFFFFFFFFu), 4); break;
    case 5: send_addressed(0x21, dice(2) ? EQ_APP_ORIGIN : some_address(), 0, 0); break;
    case 6: send_erase(dice(4), dice(16) ? 1 + dice(8) : dice(300)); break;
    case 7: send_command((unsigned char)dice(256)); break;
    case 8: data[0] = 0x7F; send(data, 1 + dice(3)); break;
    default: send_command((unsigned char[]){ 0x00, 0x01, 0x02, 0xE0 }[dice(4)]); break;
    }
}

static void mutate(uint32_t from)
{
    for (uint32_t n = dice(4); n > 0 && line_bytes > from; n--) {
        const uint32_t at = from + dice(line_bytes - from), rest = line_bytes - at;
        switch (dice(5)) {
        case 0: line[at] ^= (unsigned char)(1u << dice(8)); break;
        case 1: line[at] = (unsigned char)dice(256); break;
        case 2: line_bytes = at; break; /* truncated */
        case 3: memmove(line + at, line + at + 1, rest - 1); line_bytes--; break;
        default:
            if (line_bytes < LINE / 2) { /* one byte too many */
                memmove(line + at + 1, line + at, rest);
                line[at] = (unsigned char)dice(256);
                line_bytes++;
            }
        }
    }
}

static int fuzz(uint64_t first, long frames)
{
    long started = 0, answered = 0;
    seed = first * 2 + 1;
    const uint32_t kept = kept_sum();
    for (long n = 0; n < frames;) {
        line_bytes = line_at = said_bytes = 0;
        for (uint32_t k = 1 + dice(4); k > 0 && line_bytes < LINE / 4; k--, n++) {
            const uint32_t from = line_bytes;
            some_frame();
            if (dice(2)) {
                mutate(from);
            }
        }
        for (int done = serve(); done == EQ_BOOT_GO; done = serve()) {
            must(eq_slot_choose() != EQ_NO_SLOT, "what is started is valid");
            started++;
        }
        must(kept == 0 || n % 16 != 0 || kept_sum() == kept, "nothing writes the program that is kept");
        answered += said_bytes;
        line_bytes = line_at = said_bytes = 0; /* and then it still serves */
        line[line_bytes++] = 0x7F;
        must(serve() == EQ_BOOT_SILENT && said_bytes == 1 && said[0] == 0x79, "it answers to a call");
    }
    printf("%ld frames, %ld bytes of answers, %ld started\n", frames, answered, started);
    return 0;
}

/* --- power failures --- */

static unsigned char program[3000];

#if EQ_APP_SLOTS > 1

/* The header of an image whose program is in `program`. */
static void make_header(unsigned char *header, uint32_t bytes, uint32_t version, uint32_t sequence, uint32_t flags)
{
    eq_image_t image;
    memset(&image, 0xFF, sizeof image);
    image.magic = EQ_IMAGE_MAGIC;
    image.core = EQ_APP_CORE;
    image.bytes = bytes;
    image.version = version;
    image.sequence = sequence;
    image.flags = flags;
    image.crc = eq_crc32(eq_crc32(eq_crc32(0, &image.core, 8), &image.version, 12), program, bytes);
    memset(header, 0xFF, EQ_IMAGE_HEADER);
    memcpy(header, &image, sizeof image);
}

static void fill_program(unsigned char fill, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        program[i] = (unsigned char)(i * 7u + fill);
    }
}

static void send_to_slot(uint32_t slot, unsigned char fill, uint32_t bytes, uint32_t version, uint32_t sequence, uint32_t flags)
{
    unsigned char header[EQ_IMAGE_HEADER];
    const uint32_t origin = EQ_APP_ORIGIN + slot * EQ_SLOT_BYTES, sectors = EQ_SLOT_BYTES / EQ_APP_SECTOR;
    fill_program(fill, bytes);
    make_header(header, bytes, version, sequence, flags);
    send_erase(slot * sectors, sectors);
    for (uint32_t at = 0; at < bytes; at += 1024) {
        send_block(0xE1, origin + EQ_IMAGE_HEADER + at, program + at, bytes - at < 1024 ? bytes - at : 1024);
    }
    send_block(0x31, origin, header, sizeof header);
    send_addressed(0x21, origin, 0, 0);
}

static void send_image(unsigned char fill, uint32_t bytes)
{
    send_to_slot(dice(2), fill, bytes, dice(4), dice(8), dice(2));
}

static int holds(uint32_t slot, unsigned char fill, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (flash[slot * EQ_SLOT_BYTES + EQ_IMAGE_HEADER + i] != (unsigned char)(i * 7u + fill)) {
            return 0;
        }
    }
    return eq_slot_image(slot)->bytes == bytes;
}

/* What main.c does when nobody calls: the slot that is started. */
static uint32_t reset(void)
{
    if (eq_boot_note[0] == EQ_NOTE_CONFIRM) {
        eq_slot_confirm(eq_boot_note[1]);
    }
    eq_boot_note[0] = 0;
    const uint32_t slot = eq_slot_choose();
    if (slot != EQ_NO_SLOT && eq_slot_look(slot) != EQ_SLOT_CONFIRMED) {
        must(eq_slot_try(slot) == 0, "the mark is made");
    }
    return slot;
}

static void confirm(uint32_t slot)
{
    eq_boot_note[1] = eq_slot_image(slot)->sequence;
    eq_boot_note[0] = EQ_NOTE_CONFIRM;
}

/* Slot 0 holds a confirmed program, version 2, and the rest what an older update left there. */
static void prepare(void)
{
    unsigned char header[EQ_IMAGE_HEADER];
    memset(flash, 0x5A, EQ_APP_BYTES);
    fill_program(1, 2000);
    make_header(header, 2000, 2, 7, 0);
    memset(header + 64, 0, 4);
    memset(header + 128, 0, 4);
    memcpy(flash, header, sizeof header);
    memcpy(flash + EQ_IMAGE_HEADER, program, 2000);
    line_bytes = line_at = said_bytes = 0;
    eq_boot_note[0] = 0;
    operations = 0;
}

enum { GOOD, SILENT, OLDER, CASES };

/* An update to slot 1, from the first erased sector to the mark that confirms it. */
static void update(int what)
{
    send_to_slot(1, 2, 1900, what == OLDER ? 1 : 3, 8, 0);
    must(serve() == EQ_BOOT_GO, "the update is written");
    must(started_slot == (what == OLDER ? 0u : 1u), "the new program is tried unless it is older");
    if (what == GOOD) {
        confirm(1);
    }
    must(reset() == (what == GOOD ? 1u : 0u), "a program that confirms itself stays, one that does not goes");
}

static int cut(void)
{
    static const char *const names[CASES] = { "good", "silent", "older" };
    for (volatile int what = GOOD; what < CASES; what++) {
        volatile long failures = 0, old = 0, new = 0;
        for (volatile long at = 0;; at++) {
            prepare();
            cut_at = at;
            if (setjmp(power_failed) == 0) {
                update(what);
                break;
            }
            failures++;
            cut_at = -1;
            eq_boot_note[0] = 0; /* RAM is lost with the power */
            const uint32_t first = reset(), then = reset(), later = reset();
            must(first != EQ_NO_SLOT && holds(first, first == 0 ? 1 : 2, first == 0 ? 2000 : 1900), "a whole program is started");
            must(then == later, "what stays is decided");
            must(holds(0, 1, 2000), "the old program is there");
            must(then == 0 || eq_slot_look(1) == EQ_SLOT_CONFIRMED, "only a confirmed program stays");
            must(what == GOOD || then == 0, "a program that never confirmed itself goes");
            must(what != OLDER || first == 0, "an older program is not tried");
            old += then == 0;
            new += then == 1;
            line_bytes = line_at = said_bytes = 0;
            if (then == 0) { /* and it can be updated again */
                update(GOOD);
            }
        }
        printf("%s: %ld failures: old %ld, new %ld\n", names[what], (long)failures, (long)old, (long)new);
        must(eq_slot_kept() == (what == GOOD ? 1u : 0u), "what runs is kept");
    }
    return 0;
}

/* The image that is kept, whole, before and after frames. */
static uint32_t kept_sum(void)
{
    const uint32_t slot = eq_slot_kept();
    return slot == EQ_NO_SLOT ? 0 : eq_crc32(slot, flash + slot * EQ_SLOT_BYTES, EQ_SLOT_BYTES);
}

#else

static uint32_t kept_sum(void)
{
    return 0;
}

static void send_image(unsigned char fill, uint32_t bytes)
{
    unsigned char header[EQ_IMAGE_HEADER];
    eq_image_t image = { EQ_IMAGE_MAGIC, EQ_APP_CORE, bytes, 0 };
    for (uint32_t i = 0; i < bytes; i++) {
        program[i] = (unsigned char)(i * 7u + fill);
    }
    image.crc = eq_crc32(eq_crc32(0, &image.core, 8), program, bytes);
    memset(header, 0xFF, sizeof header);
    memcpy(header, &image, sizeof image);
    send_erase(0, EQ_APP_BYTES / EQ_APP_SECTOR);
    for (uint32_t at = 0; at < bytes; at += 1024) {
        send_block(0xE1, EQ_APP_ORIGIN + EQ_IMAGE_HEADER + at, program + at, bytes - at < 1024 ? bytes - at : 1024);
    }
    send_block(0x31, EQ_APP_ORIGIN, header, sizeof header);
    send_addressed(0x21, EQ_APP_ORIGIN, 0, 0);
}

/* Whether the region holds the image that was made of `fill`, whole. */
static int holds(unsigned char fill, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (flash[EQ_IMAGE_HEADER + i] != (unsigned char)(i * 7u + fill)) {
            return 0;
        }
    }
    return ((const eq_image_t *)(const void *)flash)->bytes == bytes;
}

static int cut(void)
{
    volatile long failures = 0, old = 0, none = 0, new = 0;
    for (volatile long at = 0;; at++) {
        cut_at = -1;
        line_bytes = line_at = said_bytes = 0;
        send_image(1, 2000);
        must(serve() == EQ_BOOT_GO && holds(1, 2000), "the first image is written");
        operations = 0;
        cut_at = at;
        line_bytes = line_at = said_bytes = 0;
        if (setjmp(power_failed) == 0) {
            send_image(2, 3000);
            must(serve() == EQ_BOOT_GO && holds(2, 3000), "the second image is written");
            break; /* no write was left to be cut */
        }
        failures++;
        if (eq_slot_choose() != EQ_NO_SLOT) { /* after the failure: one image or the other, whole, or none */
            must(holds(1, 2000) || holds(2, 3000), "what is started is whole");
            old += holds(1, 2000);
            new += holds(2, 3000);
        } else {
            none++;
        }
        cut_at = -1;
        line_bytes = line_at = said_bytes = 0;
        send_image(2, 3000);
        must(serve() == EQ_BOOT_GO && holds(2, 3000), "after a failure it is flashed again");
    }
    printf("%ld failures: old %ld, none %ld, new %ld\n", (long)failures, (long)old, (long)none, (long)new);
    return 0;
}

#endif

int main(int argc, char **argv)
{
    flash = malloc(EQ_APP_BYTES);
    must(flash != 0, "there is memory");
    memset(flash, 0, EQ_APP_BYTES);
#if EQ_APP_SLOTS > 1
    prepare();
#endif
    if (argc == 4 && strcmp(argv[1], "fuzz") == 0) {
        return fuzz(strtoull(argv[2], 0, 10), strtol(argv[3], 0, 10));
    }
    return argc == 2 && strcmp(argv[1], "cut") == 0 ? cut() : 2;
}
