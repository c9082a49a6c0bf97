/* eq_boot.h: which image is started. With two slots an image is tried once; unless it confirms itself, the one of before is
 * started from then on. Every step is one mark in erased memory, so that a power failure leaves the state before or after it. */
#include "eq_boot.h"
#include "eq_crc.h"
#include "eq_flash.h"

const eq_image_t *eq_slot_image(uint32_t slot)
{
    return (const eq_image_t *)(const void *)(eq_flash_data() + slot * EQ_SLOT_BYTES);
}

static int valid(uint32_t slot)
{
    const eq_image_t *const image = eq_slot_image(slot);
    const unsigned char *const program = (const unsigned char *)image + EQ_IMAGE_HEADER;
    if (image->magic != EQ_IMAGE_MAGIC || image->core != EQ_APP_CORE) {
        return 0;
    }
    if (image->bytes == 0 || image->bytes > EQ_SLOT_BYTES - EQ_IMAGE_HEADER) {
        return 0;
    }
    uint32_t crc = eq_crc32(0, &image->core, 8);
#if EQ_APP_SLOTS > 1
    crc = eq_crc32(crc, &image->version, 12);
#endif
    return eq_crc32(crc, program, image->bytes) == image->crc &&
           eq_boot_startable(program, EQ_APP_ORIGIN + slot * EQ_SLOT_BYTES + EQ_IMAGE_HEADER, image->bytes);
}

#if EQ_APP_SLOTS > 1

#define TRIED 64u
#define CONFIRMED 128u

eq_slot_state eq_slot_look(uint32_t slot)
{
    const eq_image_t *const image = eq_slot_image(slot);
    if (!valid(slot)) {
        return EQ_SLOT_EMPTY;
    }
    if (image->confirmed == 0) { /* a mark that was made by half does not count */
        return EQ_SLOT_CONFIRMED;
    }
    return image->tried == EQ_IMAGE_UNSET ? EQ_SLOT_NEW : EQ_SLOT_TRIED;
}

/* The slot whose header came later. */
static uint32_t later(void)
{
    const eq_image_t *const a = eq_slot_image(0), *const b = eq_slot_image(1);
    if (b->magic != EQ_IMAGE_MAGIC) {
        return 0;
    }
    return a->magic != EQ_IMAGE_MAGIC || (int32_t)(b->sequence - a->sequence) > 0;
}

uint32_t eq_slot_choose(void)
{
    const uint32_t first = later(), second = 1u - first;
    const eq_slot_state now = eq_slot_look(first);
    if (now == EQ_SLOT_CONFIRMED) {
        return first;
    }
    const eq_slot_state before = eq_slot_look(second);
    if (before == EQ_SLOT_EMPTY) {
        return now == EQ_SLOT_EMPTY ? EQ_NO_SLOT : first;
    }
    const eq_image_t *const image = eq_slot_image(first);
    const int older = before == EQ_SLOT_CONFIRMED && image->version < eq_slot_image(second)->version;
    return now == EQ_SLOT_NEW && (!older || (image->flags & EQ_IMAGE_DOWNGRADE) != 0) ? first : second;
}

uint32_t eq_slot_kept(void)
{
    const uint32_t first = later();
    if (eq_slot_look(first) == EQ_SLOT_CONFIRMED) {
        return first;
    }
    return eq_slot_look(1u - first) == EQ_SLOT_CONFIRMED ? 1u - first : EQ_NO_SLOT;
}

static int32_t mark(uint32_t slot, uint32_t offset)
{
    static const uint32_t made = 0;
    return eq_flash_write(slot * EQ_SLOT_BYTES + offset, &made, sizeof made);
}

int32_t eq_slot_try(uint32_t slot)
{
    return eq_slot_look(slot) == EQ_SLOT_NEW ? mark(slot, TRIED) : 0;
}

void eq_slot_confirm(uint32_t sequence)
{
    for (uint32_t slot = 0; slot < EQ_APP_SLOTS; slot++) {
        if (eq_slot_image(slot)->sequence == sequence && eq_slot_look(slot) == EQ_SLOT_TRIED) {
            (void)mark(slot, CONFIRMED);
        }
    }
}

#else

eq_slot_state eq_slot_look(uint32_t slot)
{
    return valid(slot) ? EQ_SLOT_CONFIRMED : EQ_SLOT_EMPTY;
}

uint32_t eq_slot_choose(void)
{
    return valid(0) ? 0 : EQ_NO_SLOT;
}

int32_t eq_slot_try(uint32_t slot)
{
    (void)slot;
    return 0;
}

#endif
