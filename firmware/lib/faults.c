#include "faults.h"

enum { MAGIC = 0x314D5145, HEADER = 6, ENTRY = 3 };
enum { CELLS, COLUMNS, STUCK, LIST }; /* the forms of a map */
enum { BANK_COLUMNS = 128, BANK_ROWS = 256 };

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

static uint32_t faulty(const uint32_t *map, uint32_t cells, uint32_t columns, uint32_t number, uint32_t one)
{
    const uint32_t form = map[1], first = map[3], second = map[4];
    const uint32_t u = uniform(cells, number);
    if (form == COLUMNS) {
        const uint32_t column = number / (BANK_COLUMNS * BANK_ROWS) * BANK_COLUMNS + number % BANK_COLUMNS;
        return uniform(columns, column) < first && u < second;
    }
    if (form == STUCK) {
        return u < first && (mix(u + 0x632be5abu) >= second) != one;
    }
    return u < (one ? second : first);
}

static void flip(const uint32_t *map, const eq_table_t *table)
{
    const uint32_t cells = key(map[2], table->place), columns = key(map[2], table->place + 0x80000000u);
    for (uint32_t i = 0; i < table->bytes; i++) {
        const uint32_t byte = table->data[i];
        uint32_t x = 0;
        for (uint32_t bit = 0; bit < 8u; bit++) {
            x |= faulty(map, cells, columns, 8u * i + bit, (byte >> bit) & 1u) << bit;
        }
        table->data[i] = (unsigned char)(byte ^ x);
    }
}

static int32_t flip_listed(const uint32_t *entry)
{
    for (uint32_t t = 0; t < eq_table_count; t++) {
        if (eq_tables[t].place == entry[0] && entry[1] < eq_tables[t].bytes && entry[2] < 256u) {
            eq_tables[t].data[entry[1]] = (unsigned char)(eq_tables[t].data[entry[1]] ^ entry[2]);
            return 0;
        }
    }
    return 1;
}

int32_t eq_faults_apply(const uint32_t *map, uint32_t words)
{
    if (words < HEADER || map[0] != MAGIC || map[1] > LIST || (words - HEADER) % ENTRY != 0u || map[5] != (words - HEADER) / ENTRY) {
        return 1;
    }
    if (map[1] != LIST) {
        for (uint32_t t = 0; t < eq_table_count; t++) {
            flip(map, &eq_tables[t]);
        }
    }
    for (uint32_t i = 0; i < map[5]; i++) {
        if (flip_listed(map + HEADER + ENTRY * i)) {
            return 1;
        }
    }
    return 0;
}
