/* Blocks of decoded instructions: made where execution first arrives, kept until code changes. */
#include "blocks.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST = 4096, SHORT = 16 }; /* instructions of a block; short where other harts want their turns */

uint8_t *eq_memory(const eq_machine *m, uint32_t at, uint32_t bytes)
{
    for (uint32_t i = 0; i < m->regions; i++) {
        const eq_region *const r = &m->region[i];
        if (at - r->origin < r->bytes && r->bytes - (at - r->origin) >= bytes) {
            return r->memory + (at - r->origin);
        }
    }
    return NULL;
}

/* The instruction at `pc`, expanded; its bytes, or 0 where there is no memory. */
uint32_t eq_fetch(const eq_machine *m, uint32_t pc, uint32_t *word)
{
    uint16_t low, high;
    const uint8_t *const p = eq_memory(m, pc, 2);
    if (p == NULL || pc - m->code_origin >= m->code_bytes) {
        return 0;
    }
    memcpy(&low, p, 2);
    if ((low & 3u) != 3u) {
        *word = eq_expand(low);
        return 2;
    }
    const uint8_t *const q = eq_memory(m, pc + 2u, 2);
    if (q == NULL || pc + 2u - m->code_origin >= m->code_bytes) {
        return 0;
    }
    memcpy(&high, q, 2);
    *word = (uint32_t)high << 16 | low;
    return 4;
}

/* Cycles that `c` waits behind `p1`, and that behind `p2`. */
static int stalls(const eq_timing *p2, const eq_timing *p1, eq_timing *c)
{
    const uint32_t base = c->rs1 ? 1u << c->rs1 : 0;
    int n = (p1->load & c->need) != 0;
    c->stalled = (uint8_t)n;
    if (c->jalr) {
        if ((p1->load | p1->alu) & base) {
            n++;
        } else if (p2->load & base && p1->cycles == 1 && !p1->stalled) {
            n++;
        }
        n += c->rd == c->rs1 && base && !p1->multi;
    }
    return n - (c->jump && p1->multi);
}

static int ends_block(uint32_t kind)
{
    return (kind >= EQ_BEQ && kind <= EQ_MRET) || kind == EQ_ILLEGAL || kind == EQ_LOOP || kind == EQ_ELW;
}

static void gather(eq_machine *m, const eq_block *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        uint64_t *const c = m->counted + 2u * ((b->ops[i].pc - m->code_origin) / 2u);
        c[0] += b->count;
        c[1] += b->count * b->ops[i].cycles + b->ops[i].extra;
    }
}

/* Forget all blocks; what they counted is kept. */
void eq_flush(eq_machine *m)
{
    for (eq_block *b = m->blocks; b != NULL;) {
        eq_block *const older = b->older;
        for (uint32_t i = 0; i < b->n; i++) {
            m->marks[(b->ops[i].pc - m->code_origin) / 2u] &= (uint8_t)~EQ_MARK_DECODED;
        }
        m->table[(b->pc - m->code_origin) / 2u] = NULL;
        gather(m, b);
        free(b);
        b = older;
    }
    m->blocks = NULL;
    m->fell = NULL;
    m->crossed = NULL;
    m->stale = 0;
}

/* Cycles that a jump right behind an instruction of several cycles takes less. */
static uint8_t hidden(const eq_timing *t)
{
    return t->jump ? (t->jalr && t->rs1 && t->rd == t->rs1 ? 2 : 1) : 0;
}

static void link_timing(eq_block *b, eq_timing *t)
{
    static const eq_timing none = { 0 };
    for (uint32_t i = 0; i < b->n; i++) {
        const int more = stalls(i > 1u ? &t[i - 2u] : &none, i ? &t[i - 1u] : &none, &t[i]);
        b->ops[i].cycles = (uint8_t)(t[i].cycles + more);
        b->ops[i].jump_next = i + 1u < b->n ? hidden(&t[i + 1u]) : 0;
        b->cycles += b->ops[i].cycles;
    }
    for (uint32_t i = b->n, left = 0; i > 0; i--) {
        b->ops[i - 1u].left = left;
        left += b->ops[i - 1u].cycles;
    }
    for (uint32_t i = 0; i < 2u && i < b->n; i++) {
        b->first[i] = t[i];
        b->last[i] = t[b->n - 1u - i];
    }
    b->jumpy = (uint8_t)(b->first[0].jump || b->first[1].jalr);
}

/* The block that begins at `pc`; NULL where there is no code or no memory on the host (m->why says which). */
eq_block *eq_block_at(eq_machine *m, uint32_t pc, const void *const *handlers)
{
    static _Thread_local eq_timing timing[LONGEST];
    static _Thread_local eq_op ops[LONGEST];
    uint32_t n = 0, at = pc, bytes;
    const uint32_t most = m->cluster ? SHORT : LONGEST;
    while (n < most) {
        uint32_t word;
        bytes = eq_fetch(m, at, &word);
        if (bytes == 0) {
            break;
        }
        eq_decode(word, at, &ops[n], &timing[n]);
        ops[n].bytes = (uint8_t)bytes;
        ops[n].go = handlers[ops[n].kind];
        m->marks[(at - m->code_origin) / 2u] |= EQ_MARK_DECODED;
        at += bytes;
        if (ends_block(ops[n++].kind) || (at - m->code_origin < m->code_bytes && m->marks[(at - m->code_origin) / 2u] & EQ_MARK_BOUNDARY)) {
            break;
        }
    }
    eq_block *const b = n ? malloc(sizeof *b + (n + 1u) * sizeof(eq_op)) : NULL;
    if (b == NULL) {
        m->why = n ? "no memory" : "no code there";
        return NULL;
    }
    memset(b, 0, sizeof *b);
    memcpy(b->ops, ops, n * sizeof(eq_op));
    const eq_op end = { .go = handlers[EQ_END], .pc = at, .kind = EQ_END };
    b->ops[n] = end;
    b->pc = pc;
    b->end = at;
    b->n = n;
    b->late = (uint8_t)(pc & 2u && b->ops[0].bytes == 4u);
    b->boundary = at - m->code_origin < m->code_bytes && m->marks[(at - m->code_origin) / 2u] & EQ_MARK_BOUNDARY;
    link_timing(b, timing);
    b->older = m->blocks;
    m->blocks = b;
    m->table[(pc - m->code_origin) / 2u] = b;
    return b;
}

/* Cycles that the first instructions of `b` take more, because `a` was executed right before; they are noted in its instructions. */
int eq_seam(eq_machine *m, const eq_block *a, eq_block *b)
{
    static const eq_timing none = { 0 };
    eq_timing before = a->last[0], first = b->first[0], second = b->first[1];
    before.multi |= m->crossed == &a->ops[a->n - 1u];
    const int one = stalls(a->n > 1u ? &a->last[1] : &none, &before, &first) - stalls(&none, &none, &b->first[0]);
    int two = 0;
    if (b->n > 1u && second.jalr) {
        two = stalls(&before, &first, &second) - stalls(&none, &b->first[0], &b->first[1]);
    }
    b->ops[0].extra += (uint64_t)(int64_t)one;
    b->ops[1].extra += (uint64_t)(int64_t)two;
    return one + two;
}
