/* Counts the guest's instructions for the unicorn runner: a callback for every block of code that is executed.
 * A host library that edgeq/run/unicorn.py loads; its prototype is unicorn's uc_cb_hookcode_t. */
#include <stdint.h>

typedef struct {
    uint64_t instructions;  /* so far, whole blocks */
    uint64_t origin, bytes; /* the code's address range */
    const uint8_t *code;
    uint32_t *known;        /* per half-word of code, of the block last seen to begin there: size << 16 | instructions */
    int32_t riscv;
    int32_t strayed;        /* blocks outside of the code */
} eq_counter;

/* Bytes of the instruction that begins with this half-word. */
static uint32_t length(const eq_counter *counter, uint32_t half)
{
    if (counter->riscv) {
        return (half & 3u) == 3u ? 4u : 2u;
    }
    return (half >> 11) >= 0x1Du ? 4u : 2u;
}

void eq_unicorn_block(void *engine, uint64_t address, uint32_t size, void *user)
{
    eq_counter *const counter = (eq_counter *)user;
    const uint64_t at = address - counter->origin;
    (void)engine;
    if (at >= counter->bytes || size > counter->bytes - at || size > 0xFFFFu) {
        counter->strayed++;
        return;
    }
    const uint32_t known = counter->known[at / 2u];
    if (known >> 16 == size) {
        counter->instructions += known & 0xFFFFu;
        return;
    }
    uint32_t count = 0;
    for (uint64_t i = at; i + 1u < at + size; count++) {
        i += length(counter, (uint32_t)counter->code[i] | (uint32_t)counter->code[i + 1u] << 8);
    }
    counter->known[at / 2u] = size << 16 | count;
    counter->instructions += count;
}
