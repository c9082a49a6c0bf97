#include "faults.h"

#include <string.h>

#include "eq_bytes.h"
#include "eq_description.h"

enum { CELLS, COLUMNS, STUCK, LIST }; /* the forms of a map */
enum { BANK_COLUMNS = 128, BANK_ROWS = 256 };

#define MAGIC 0x314D5145u
#define HEADER 24u /* bytes */
#define ENTRY 12u

typedef struct {
    uint32_t magic, form, seed, first, second, entries;
} map_t;

typedef struct {
    uint32_t place, byte, xor;
} entry_t;

const eq_table_t eq_tables[EQ_TABLE_COUNT + 1u] = EQ_TABLES;
const uint32_t eq_table_count = EQ_TABLE_COUNT;

extern unsigned char _weights_start[], _weights_end[];
extern const unsigned char _weights_load[];

void eq_faults_clear(void)
{
    memcpy(_weights_start, _weights_load, (size_t)(_weights_end - _weights_start));
}

/* The bytes of a table where they may be written. */
static unsigned char *bytes_of(uint32_t place)
{
    return _weights_start + ((uintptr_t)eq_tables[place].data - (uintptr_t)_weights_start);
}

static map_t header(const unsigned char *p)
{
    const map_t map = { eq_word_at(p), eq_word_at(p + 4), eq_word_at(p + 8), eq_word_at(p + 12), eq_word_at(p + 16), eq_word_at(p + 20) };
    return map;
}

static entry_t entry(const unsigned char *p, uint32_t index)
{
    const unsigned char *const at = p + HEADER + ENTRY * index;
    const entry_t found = { eq_word_at(at), eq_word_at(at + 4), eq_word_at(at + 8) };
    return found;
}

static uint32_t mix(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

static uint32_t key(uint32_t seed, uint32_t place)
{
    return mix(mix(seed + 0x9e3779b9u) ^ place);
}

static uint32_t uniform(uint32_t k, uint32_t number)
{
    return mix(mix(number ^ k) + k);
}

static uint32_t faulty(const map_t *map, uint32_t cells, uint32_t columns, uint32_t number, uint32_t one)
{
    const uint32_t u = uniform(cells, number);
    if (map->form == COLUMNS) {
        const uint32_t column = number / (BANK_COLUMNS * BANK_ROWS) * BANK_COLUMNS + number % BANK_COLUMNS;
        return uniform(columns, column) < map->first && u < map->second;
    }
    if (map->form == STUCK) {
        return u < map->first && (mix(u + 0x632be5abu) >= map->second) != one;
    }
    return u < (one ? map->second : map->first);
}

static void flip(const map_t *map, uint32_t place)
{
    const uint32_t cells = key(map->seed, place), columns = key(map->seed, place + 0x80000000u);
    unsigned char *const data = bytes_of(place);
    for (uint32_t i = 0; i < eq_tables[place].bytes; i++) {
        const uint32_t byte = data[i];
        uint32_t x = 0;
        for (uint32_t bit = 0; bit < 8u; bit++) {
            x |= faulty(map, cells, columns, 8u * i + bit, (byte >> bit) & 1u) << bit;
        }
        data[i] = (unsigned char)(byte ^ x);
    }
}

eq_faults_fit eq_faults_check(const unsigned char *p, uint32_t bytes)
{
    if (bytes < HEADER || (bytes - HEADER) % ENTRY != 0u) {
        return EQ_FAULTS_NO_MAP;
    }
    const map_t map = header(p);
    if (map.magic != MAGIC || map.form > LIST || map.entries != (bytes - HEADER) / ENTRY || (map.form != LIST && map.entries != 0u)) {
        return EQ_FAULTS_NO_MAP;
    }
    for (uint32_t i = 0; i < map.entries; i++) {
        const entry_t e = entry(p, i);
        if (e.place >= eq_table_count || eq_tables[e.place].hit == 0u || e.byte >= eq_tables[e.place].bytes || e.xor > 255u) {
            return EQ_FAULTS_OUTSIDE;
        }
    }
    return EQ_FAULTS_FIT;
}

void eq_faults_apply(const unsigned char *p)
{
    const map_t map = header(p);
    for (uint32_t place = 0; map.form != LIST && place < eq_table_count; place++) {
        if (eq_tables[place].hit != 0u) {
            flip(&map, place);
        }
    }
    for (uint32_t i = 0; i < map.entries; i++) {
        const entry_t e = entry(p, i);
        unsigned char *const byte = bytes_of(e.place) + e.byte;
        *byte = (unsigned char)(*byte ^ e.xor);
    }
}
