/* Counts what a Cortex-M charges cycles for, for the unicorn runner: a callback for every instruction of the guest.
 * A host library that edgeq/run/trace.py loads; its prototype is unicorn's uc_cb_hookcode_t. Addresses of data are
 * computed from the registers before the instruction, since unicorn's own hooks for reads change what some versions compute. */
#include <stdint.h>

enum { LINES_MOST = 64, BANKS_MOST = 8 };
enum { OTHER, LOAD, STORE, LOAD_MANY, STORE_MANY, LOAD_TWO, STORE_TWO, DIVIDE, TABLE };
/* In the order of edgeq.timing.EVENTS. */
enum { INSTRUCTIONS, LDR_ALONE, LDM_WORDS, LDRD, STM_WORDS, STRD, DIVISIONS, MISALIGNED, TAKEN, DATA_MISSES, BANK_SWITCHES, EVENTS };

typedef int (*read_register_t)(void *engine, int id, void *value);

/* One decoded instruction: the address is (index + base << shift) + offset; base 15 is the aligned program counter. */
typedef struct {
    uint8_t known, what, base, index, shift, bytes, words, result; /* 255: none */
    int32_t offset;
} eq_access;

typedef struct {
    uint64_t counts[EVENTS];
    uint64_t origin, size; /* of the code */
    const uint8_t *code;
    eq_access *decoded; /* per half-word of code */
    read_register_t read_register;
    int32_t ids[16];
    uint64_t flash_origin, flash_bytes, ram_origin, ram_bytes;
    uint32_t line_bytes, lines; /* of the data cache before the flash; 0 lines: there is none */
    uint32_t bank_count, bank[BANKS_MOST]; /* where each SRAM begins, in order */
    uint32_t cached[LINES_MOST], cached_count; /* line + 1, the latest first */
    int32_t last_bank, last_result; /* of the load right before; -1: none */
    uint64_t expected;
} eq_trace;

static uint32_t ones(uint32_t v)
{
    uint32_t n = 0;
    for (; v; v &= v - 1u) {
        n++;
    }
    return n;
}

static void single(eq_access *a, int is_load, uint32_t base, uint32_t bytes, int32_t offset, uint32_t result)
{
    a->what = is_load ? LOAD : STORE;
    a->base = (uint8_t)base;
    a->bytes = (uint8_t)bytes;
    a->offset = offset;
    a->result = is_load ? (uint8_t)result : 255;
}

static void narrow(eq_access *a, uint32_t h)
{
    static const uint8_t sizes[8] = { 4, 2, 1, 1, 4, 2, 1, 2 }; /* str strh strb ldrsb ldr ldrh ldrb ldrsh */
    const uint32_t n = h >> 3 & 7u, t = h & 7u, imm = h >> 6 & 31u;
    switch (h >> 12) {
    case 4:
        if (h >> 11 == 9u) {
            single(a, 1, 15, 4, (int32_t)(h & 255u) * 4, h >> 8 & 7u);
        }
        break;
    case 5:
        single(a, (h >> 9 & 7u) >= 3u, n, sizes[h >> 9 & 7u], 0, t);
        a->index = h >> 6 & 7u;
        break;
    case 6: single(a, (h & 0x800u) != 0, n, 4, (int32_t)imm * 4, t); break;
    case 7: single(a, (h & 0x800u) != 0, n, 1, (int32_t)imm, t); break;
    case 8: single(a, (h & 0x800u) != 0, n, 2, (int32_t)imm * 2, t); break;
    case 9: single(a, (h & 0x800u) != 0, 13, 4, (int32_t)(h & 255u) * 4, h >> 8 & 7u); break;
    case 11:
        if ((h & 0xFE00u) == 0xB400u || (h & 0xFE00u) == 0xBC00u) {
            const uint32_t words = ones(h & 0x1FFu);
            single(a, 0, 13, 4, h & 0x800u ? 0 : -4 * (int32_t)words, 0);
            a->what = h & 0x800u ? LOAD_MANY : STORE_MANY;
            a->words = (uint8_t)words;
        }
        break;
    case 12:
        single(a, 0, h >> 8 & 7u, 4, 0, 0);
        a->what = h & 0x800u ? LOAD_MANY : STORE_MANY;
        a->words = (uint8_t)ones(h & 255u);
        break;
    default: break;
    }
}

/* LDM, STM, LDRD, STRD, table branches, exclusive accesses: 1110 100x. */
static void wide_many(eq_access *a, uint32_t h, uint32_t l)
{
    const uint32_t n = h & 15u, is_load = h >> 4 & 1u;
    if (!(h & 0x40u)) {
        const uint32_t words = ones(l & 0xDFFFu);
        single(a, 0, n, 4, (h & 0x180u) == 0x100u ? -4 * (int32_t)words : 0, 0);
        a->what = is_load ? LOAD_MANY : STORE_MANY;
        a->words = (uint8_t)words;
    } else if ((h & 0xFFF0u) == 0xE8D0u && (l & 0xFFE0u) == 0xF000u) {
        a->what = TABLE; /* its two cycles are those of the branch */
    } else if (h & 0x120u) {
        const int32_t offset = (int32_t)(l & 255u) * (h & 0x80u ? 4 : -4);
        single(a, 0, n, 4, h & 0x100u ? offset : 0, 0);
        a->what = is_load ? LOAD_TWO : STORE_TWO;
        a->words = 2;
    } else {
        single(a, (int)is_load, n, 4, 0, l >> 12 & 15u);
    }
}

/* Single loads and stores: 1111 100x. */
static void wide_single(eq_access *a, uint32_t h, uint32_t l)
{
    const uint32_t n = h & 15u, size = h >> 5 & 3u, is_load = h >> 4 & 1u;
    if (size == 3u || ((l >> 12) == 15u && is_load && size < 2u)) { /* undefined; preloads */
        return;
    }
    int32_t offset;
    if (n == 15u) {
        offset = (int32_t)(l & 0xFFFu) * (h & 0x80u ? 1 : -1);
    } else if (h & 0x80u) {
        offset = (int32_t)(l & 0xFFFu);
    } else if (l & 0x800u) { /* with an index, after it, or before */
        offset = l & 0x400u ? (int32_t)(l & 255u) * (l & 0x200u ? 1 : -1) : 0;
    } else {
        offset = 0;
    }
    single(a, (int)is_load, n, 1u << size, offset, l >> 12 & 15u);
    if (n != 15u && !(h & 0x80u) && !(l & 0xFC0u)) {
        a->index = l & 15u;
        a->shift = l >> 4 & 3u;
    }
}

/* VLDR, VSTR, VLDM, VSTM, VPUSH, VPOP: 1110 110x, coprocessors 10 and 11. */
static void wide_float(eq_access *a, uint32_t h, uint32_t l)
{
    const uint32_t n = h & 15u, is_load = h >> 4 & 1u, count = l & 255u;
    if ((l >> 9 & 7u) != 5u || ((h & 0x1E0u) == 0x40u)) {
        return;
    }
    if ((h & 0x120u) == 0x100u) {
        single(a, (int)is_load, n, 4, (int32_t)count * (h & 0x80u ? 4 : -4), 255);
    } else {
        single(a, 0, n, 4, (h & 0x180u) == 0x100u ? -4 * (int32_t)count : 0, 0);
        a->what = is_load ? LOAD_MANY : STORE_MANY;
        a->words = (uint8_t)count;
    }
}

static void decode(const eq_trace *t, uint64_t at, eq_access *a)
{
    const uint32_t h = (uint32_t)t->code[at] | (uint32_t)t->code[at + 1u] << 8;
    const eq_access none = { 1, OTHER, 255, 255, 0, 4, 1, 255, 0 };
    *a = none;
    if (h >> 11 < 0x1Du) {
        narrow(a, h);
        return;
    }
    if (at + 4u > t->size) {
        return;
    }
    const uint32_t l = (uint32_t)t->code[at + 2u] | (uint32_t)t->code[at + 3u] << 8;
    if ((h & 0xFE00u) == 0xE800u) {
        wide_many(a, h, l);
    } else if ((h & 0xFE00u) == 0xF800u) {
        wide_single(a, h, l);
    } else if ((h & 0xFE00u) == 0xEC00u) {
        wide_float(a, h, l);
    } else if ((h & 0xFFD0u) == 0xFB90u && (l & 0xF0u) == 0xF0u) {
        a->what = DIVIDE;
    }
}

static uint32_t value(const eq_trace *t, void *engine, uint32_t r)
{
    uint32_t v = 0;
    t->read_register(engine, t->ids[r], &v);
    return v;
}

/* Whether a line of flash lies in the cache, as it does from now on. */
static int cached(eq_trace *t, uint32_t line)
{
    uint32_t i = 0;
    while (i < t->cached_count && t->cached[i] != line + 1u) {
        i++;
    }
    const int found = i < t->cached_count;
    if (!found && t->cached_count < t->lines) {
        t->cached_count++;
    }
    for (i = i < t->lines ? i : t->lines - 1u; i > 0; i--) {
        t->cached[i] = t->cached[i - 1u];
    }
    t->cached[0] = line + 1u;
    return found;
}

static void access_at(eq_trace *t, const eq_access *a, uint32_t at)
{
    const uint32_t bytes = a->words > 1u ? 4u * a->words : a->bytes;
    if (a->bytes > 1u && at % a->bytes != 0) {
        t->counts[MISALIGNED]++;
    }
    if (at - t->flash_origin < t->flash_bytes) {
        for (uint32_t line = at / t->line_bytes; t->lines && line <= (at + bytes - 1u) / t->line_bytes; line++) {
            t->counts[DATA_MISSES] += !cached(t, line);
        }
        return;
    }
    if (at - t->ram_origin >= t->ram_bytes) {
        return;
    }
    int32_t bank = -1;
    while ((uint32_t)(bank + 1) < t->bank_count && at >= t->bank[bank + 1]) {
        bank++;
    }
    t->counts[BANK_SWITCHES] += bank >= 0 && t->last_bank >= 0 && bank != t->last_bank;
    t->last_bank = bank;
}

static void count(eq_trace *t, const eq_access *a)
{
    switch (a->what) {
    case LOAD:
        /* alone: not right behind a load that it does not depend on */
        t->counts[LDR_ALONE] += t->last_result < 0 || t->last_result == a->base || t->last_result == a->index;
        break;
    case LOAD_MANY: t->counts[LDM_WORDS] += a->words; break;
    case STORE_MANY: t->counts[STM_WORDS] += a->words; break;
    case LOAD_TWO: t->counts[LDRD]++; break;
    case STORE_TWO: t->counts[STRD]++; break;
    case DIVIDE: t->counts[DIVISIONS]++; break;
    default: break;
    }
    t->last_result = a->what == LOAD ? (a->result == 255 ? 16 : a->result) : -1;
}

void eq_unicorn_instruction(void *engine, uint64_t address, uint32_t size, void *user)
{
    eq_trace *const t = (eq_trace *)user;
    const uint64_t at = address - t->origin;
    t->counts[INSTRUCTIONS]++;
    t->counts[TAKEN] += address != t->expected;
    t->expected = address + size;
    if (at + 1u >= t->size) {
        return;
    }
    eq_access *const a = &t->decoded[at / 2u];
    if (!a->known) {
        decode(t, at, a);
    }
    if (a->base != 255) {
        uint32_t where = a->base == 15 ? ((uint32_t)address + 4u) & ~3u : value(t, engine, a->base);
        if (a->index != 255) {
            where += value(t, engine, a->index) << a->shift;
        }
        access_at(t, a, where + (uint32_t)a->offset);
    }
    count(t, a);
}
